"""Isaac Gym's enumerations. They are whole numbers, so they stand in structured arrays and compare with plain ints."""

from __future__ import annotations

from enum import IntEnum
from typing import List

DofDriveMode = IntEnum("DofDriveMode", "DOF_MODE_NONE DOF_MODE_POS DOF_MODE_VEL DOF_MODE_EFFORT", start=0)
DofType = IntEnum("DofType", "DOF_INVALID DOF_ROTATION DOF_TRANSLATION", start=0)
JointType = IntEnum("JointType", "JOINT_INVALID JOINT_FIXED JOINT_REVOLUTE JOINT_PRISMATIC JOINT_BALL JOINT_PLANAR "
                                 "JOINT_FLOATING", start=0)
SimType = IntEnum("SimType", "SIM_PHYSX SIM_FLEX", start=0)
UpAxis = IntEnum("UpAxis", "UP_AXIS_Y UP_AXIS_Z", start=0)
IndexDomain = IntEnum("IndexDomain", "DOMAIN_ACTOR DOMAIN_ENV DOMAIN_SIM", start=0)
CoordinateSpace = IntEnum("CoordinateSpace", "ENV_SPACE LOCAL_SPACE GLOBAL_SPACE", start=0)
ContactCollection = IntEnum("ContactCollection", "CC_NEVER CC_LAST_SUBSTEP CC_ALL_SUBSTEPS", start=0)
MeshType = IntEnum("MeshType", "MESH_NONE MESH_VISUAL MESH_COLLISION MESH_VISUAL_AND_COLLISION", start=0)
MeshNormalMode = IntEnum("MeshNormalMode", "FROM_ASSET COMPUTE_PER_VERTEX COMPUTE_PER_FACE", start=0)
ImageType = IntEnum("ImageType", "IMAGE_COLOR IMAGE_DEPTH IMAGE_SEGMENTATION IMAGE_OPTICAL_FLOW", start=0)
CameraFollowMode = IntEnum("CameraFollowMode", "FOLLOW_POSITION FOLLOW_TRANSFORM", start=0)
TendonType = IntEnum("TendonType", "TENDON_FIXED TENDON_SPATIAL", start=0)
TensorDataType = IntEnum("TensorDataType", "DTYPE_FLOAT32 DTYPE_UINT32 DTYPE_UINT64 DTYPE_UINT8 DTYPE_INT16", start=0)
MouseInput = IntEnum("MouseInput", [f"MOUSE_{name}" for name in (
    "LEFT_BUTTON RIGHT_BUTTON MIDDLE_BUTTON FORWARD_BUTTON BACK_BUTTON SCROLL_RIGHT SCROLL_LEFT SCROLL_UP SCROLL_DOWN "
    "MOVE_RIGHT MOVE_LEFT MOVE_UP MOVE_DOWN").split()], start=0)
KeyboardInput = IntEnum("KeyboardInput", [f"KEY_{name}" for name in (
    "SPACE APOSTROPHE COMMA MINUS PERIOD SLASH 0 1 2 3 4 5 6 7 8 9 SEMICOLON EQUAL "
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z LEFT_BRACKET BACKSLASH RIGHT_BRACKET "
    "ESCAPE TAB ENTER BACKSPACE INSERT DEL RIGHT LEFT DOWN UP PAGE_UP PAGE_DOWN HOME END CAPS_LOCK SCROLL_LOCK "
    "NUM_LOCK PRINT_SCREEN PAUSE F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 "
    "NUMPAD_0 NUMPAD_1 NUMPAD_2 NUMPAD_3 NUMPAD_4 NUMPAD_5 NUMPAD_6 NUMPAD_7 NUMPAD_8 NUMPAD_9 "
    "NUMPAD_DEL NUMPAD_DIVIDE NUMPAD_MULTIPLY NUMPAD_SUBTRACT NUMPAD_ADD NUMPAD_ENTER NUMPAD_EQUAL "
    "LEFT_SHIFT LEFT_CONTROL LEFT_ALT LEFT_SUPER RIGHT_SHIFT RIGHT_CONTROL RIGHT_ALT RIGHT_SUPER").split()], start=0)

AXIS_X, AXIS_Y, AXIS_Z, AXIS_TRANSLATION = 1, 2, 4, 7
AXIS_TWIST, AXIS_SWING_1, AXIS_SWING_2, AXIS_ROTATION = 8, 16, 32, 56
AXIS_NONE, AXIS_ALL = 0, 63
STATE_NONE, STATE_POS, STATE_VEL, STATE_ALL = 0, 1, 2, 3
RIGID_BODY_NONE, RIGID_BODY_DISABLE_GRAVITY, RIGID_BODY_DISABLE_SIMULATION = 0, 1, 2
RIGID_BODY_ENABLE_GYROSCOPIC_FORCES = 4
INVALID_HANDLE = -1
DEFAULT_VIEWER_WIDTH, DEFAULT_VIEWER_HEIGHT = 1600, 900

ENUMS = (DofDriveMode, DofType, JointType, SimType, UpAxis, IndexDomain, CoordinateSpace, ContactCollection, MeshType,
         MeshNormalMode, ImageType, CameraFollowMode, TendonType, TensorDataType, MouseInput, KeyboardInput)


def members() -> "dict[str, int]":
    """All members by their name, for ``gymapi`` has them at its top level too."""
    return {name: member for kind in ENUMS for name, member in kind.__members__.items()}


def constants() -> List[str]:
    """Names of the plain numbers above."""
    return [name for name, value in globals().items() if name.isupper() and isinstance(value, int)]
