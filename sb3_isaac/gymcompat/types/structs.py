"""What clients fill in and pass along: parameters of simulation, assets, terrain, shapes, bodies and viewers.

Defaults are those of Isaac Gym's documentation. Fields that only PhysX understands are kept, for clients read them
back, and have no effect: ``docs/isaacgym.md`` lists them.
"""

from __future__ import annotations

import math
from typing import Any, Tuple

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.types.enums import ContactCollection, MeshNormalMode, UpAxis
from sb3_isaac.gymcompat.types.values import Closed, Quat, Transform, Vec3, number


class PhysXParams(Closed):
    """PhysX's own settings. ``num_threads`` and the others have no effect here."""

    _defaults = {
        "always_use_articulations": False, "bounce_threshold_velocity": 0.2,
        "contact_collection": ContactCollection.CC_ALL_SUBSTEPS, "contact_offset": 0.02,
        "default_buffer_size_multiplier": 2.0, "friction_correlation_distance": 0.025,
        "friction_offset_threshold": 0.04, "max_depenetration_velocity": 100.0, "max_gpu_contact_pairs": 1048576,
        "num_position_iterations": 4, "num_subscenes": 0, "num_threads": 0, "num_velocity_iterations": 1,
        "rest_offset": 0.001, "solver_type": 1, "use_gpu": False,
    }


class FlexParams(Closed):
    """Flex's own settings: kept, without effect."""

    _defaults = {
        "contact_regularization": 1e-6, "deterministic_mode": False, "dynamic_friction": 0.5, "friction_mode": 2,
        "geometric_stiffness": 1.0, "max_rigid_contacts": 65536, "max_soft_contacts": 65536, "num_inner_iterations": 20,
        "num_outer_iterations": 10, "particle_friction": 0.0, "relaxation": 0.75, "return_contacts": False,
        "shape_collision_distance": 0.0, "shape_collision_margin": 0.0, "solver_type": 5, "static_friction": 0.5,
        "warm_start": 0.4,
    }


class SimParams(Closed):
    """Parameters of a simulation. `dt` seconds, made of `substeps` physics steps; `gravity` m/s²."""

    _defaults = {
        "dt": 1.0 / 60.0, "substeps": 2, "gravity": Vec3(0.0, -9.8, 0.0), "up_axis": UpAxis.UP_AXIS_Y,
        "use_gpu_pipeline": False, "num_client_threads": 0, "enable_actor_creation_warning": True,
        "stress_visualization": False, "stress_visualization_max": 0.0, "stress_visualization_min": 0.0,
        "physx": PhysXParams(), "flex": FlexParams(),
    }
    dt: float
    substeps: int
    gravity: Vec3
    up_axis: UpAxis
    use_gpu_pipeline: bool
    physx: PhysXParams


class VhacdParams(Closed):
    """Settings of PhysX's convex decomposition: kept, without effect."""

    _defaults = {
        "alpha": 0.05, "beta": 0.05, "concavity": 0.0, "convex_hull_approximation": True, "convex_hull_downsampling": 4,
        "max_convex_hulls": 64, "max_num_vertices_per_ch": 64, "min_volume_per_ch": 0.0001, "mode": 0,
        "ocl_acceleration": True, "pca": 0, "plane_downsampling": 4, "project_hull_vertices": True,
        "resolution": 100000,
    }


class AssetOptions(Closed):
    """How a robot file is read. `density` kg/m³ for links that state no mass; `armature` kg·m²."""

    _defaults = {
        "angular_damping": 0.5, "armature": 0.0, "collapse_fixed_joints": False,
        "convex_decomposition_from_submeshes": False, "default_dof_drive_mode": 0, "density": 1000.0,
        "disable_gravity": False, "enable_gyroscopic_forces": True, "fix_base_link": False,
        "flip_visual_attachments": False, "linear_damping": 0.0, "max_angular_velocity": 64.0,
        "max_linear_velocity": 1000.0, "mesh_normal_mode": MeshNormalMode.FROM_ASSET, "min_particle_mass": 1e-12,
        "override_com": False, "override_inertia": False, "replace_cylinder_with_capsule": False,
        "slices_per_cylinder": 20, "tendon_limit_stiffness": 1.0, "thickness": 0.02, "use_mesh_materials": False,
        "use_physx_armature": True, "vhacd_enabled": False, "vhacd_params": VhacdParams(),
    }
    armature: float
    angular_damping: float
    linear_damping: float
    max_linear_velocity: float
    max_angular_velocity: float
    vhacd_enabled: bool
    collapse_fixed_joints: bool
    default_dof_drive_mode: int
    density: float
    tendon_limit_stiffness: float
    disable_gravity: bool
    fix_base_link: bool
    replace_cylinder_with_capsule: bool
    use_physx_armature: bool


class PlaneParams(Closed):
    """The ground plane: points p with normal · p + distance = 0."""

    _defaults = {"distance": 0.0, "normal": Vec3(0.0, 1.0, 0.0), "static_friction": 1.0, "dynamic_friction": 1.0,
                 "restitution": 0.0, "segmentation_id": 0}
    distance: float
    normal: Vec3
    dynamic_friction: float
    restitution: float


class HeightFieldParams(Closed):
    """A heightfield of `nbColumns` × `nbRows` int16 samples along x and y (m: samples × `vertical_scale`)."""

    _defaults = {"row_scale": 1.0, "column_scale": 1.0, "vertical_scale": 1.0, "nbRows": 0, "nbColumns": 0,
                 "static_friction": 1.0, "dynamic_friction": 1.0, "restitution": 0.0, "segmentation_id": 0,
                 "transform": Transform()}
    row_scale: float
    column_scale: float
    vertical_scale: float
    nbRows: int
    nbColumns: int
    dynamic_friction: float
    restitution: float
    transform: Transform


class TriangleMeshParams(Closed):
    """A triangle mesh of the ground."""

    _defaults = {"nb_vertices": 0, "nb_triangles": 0, "static_friction": 1.0, "dynamic_friction": 1.0,
                 "restitution": 0.0, "segmentation_id": 0, "transform": Transform()}
    nb_vertices: int
    nb_triangles: int
    dynamic_friction: float
    restitution: float
    transform: Transform


class RigidShapeProperties(Closed):
    """Of one collision shape. Of these, `friction`, `restitution` and `filter` have an effect."""

    _defaults = {"friction": 1.0, "restitution": 0.0, "filter": 0, "compliance": 0.0, "contact_offset": 0.02,
                 "rest_offset": 0.0, "rolling_friction": 0.0, "thickness": 0.0, "torsion_friction": 0.0}
    friction: float
    restitution: float
    filter: int


class Mat33(Closed):
    """A matrix of three rows."""

    _defaults = {"x": Vec3(), "y": Vec3(), "z": Vec3()}
    x: Vec3
    y: Vec3
    z: Vec3


class Mat44(Closed):
    """A matrix of four rows."""

    _defaults = {"x": Quat(), "y": Quat(), "z": Quat(), "w": Quat()}


class RigidBodyProperties(Closed):
    """Of one body: `mass` kg, `com` m and `inertia` kg·m² about it, both in the body's frame, `flags`.

    `invMass` and `invInertia` are the inverses of the others. Programs set `invMass` beside the mass, which is what
    counts: one that disagrees with it is refused.
    """

    _defaults = {"mass": 0.0, "com": Vec3(), "inertia": Mat33(), "flags": 0}
    mass: float
    com: Vec3
    inertia: Mat33
    flags: int

    @property
    def invMass(self) -> float:
        """1 / mass."""
        return 1.0 / self.mass if self.mass else 0.0

    @invMass.setter
    def invMass(self, value: Any) -> None:
        if not math.isclose(number(value), self.invMass, rel_tol=1e-4):
            raise UserError(f"invMass is {number(value):g} and mass is {self.mass:g}: set the mass, which is what "
                            "counts, before its inverse.")

    @property
    def invInertia(self) -> Mat33:
        """The inverse of `inertia`."""
        import numpy as np

        rows = np.linalg.inv(np.array([list(self.inertia.x), list(self.inertia.y), list(self.inertia.z)]))
        return mat33(rows)


def mat33(rows: Any) -> Mat33:
    """(3, 3) numbers as a Mat33."""
    made = Mat33()
    made.x, made.y, made.z = (Vec3(*row) for row in rows)
    return made


class CameraProperties(Closed):
    """A camera or a viewer's window."""

    _defaults = {"enable_tensors": False, "far_plane": 2000000.0, "height": 900, "horizontal_fov": 90.0,
                 "near_plane": 0.001, "supersampling_horizontal": 1, "supersampling_vertical": 1,
                 "use_collision_geometry": False, "width": 1600}
    far_plane: float
    height: int
    horizontal_fov: float
    near_plane: float
    width: int


class ForceSensorProperties(Closed):
    """Of a force sensor."""

    _defaults = {"enable_constraint_solver_forces": True, "enable_forward_dynamics_forces": True,
                 "use_world_frame": False}
    enable_constraint_solver_forces: bool
    enable_forward_dynamics_forces: bool
    use_world_frame: bool


class AttractorProperties(Closed):
    """Of a spring that pulls a body."""

    _defaults = {"axes": 0, "damping": 0.0, "offset": Transform(), "rigid_handle": 0, "stiffness": 0.0,
                 "target": Transform()}
    axes: int
    damping: float
    offset: Transform
    rigid_handle: int
    stiffness: float
    target: Transform


class ActuatorProperties(Closed):
    """Of an MJCF file's actuator. `motor_effort` is its gear, as N·m at a control of 1."""

    _defaults = {"control_limited": False, "force_limited": False, "kp": 0.0, "kv": 0.0, "lower_control_limit": 0.0,
                 "lower_force_limit": 0.0, "motor_effort": 0.0, "upper_control_limit": 0.0, "upper_force_limit": 0.0,
                 "type": 0}
    motor_effort: float


class TendonProperties(Closed):
    """Of an MJCF file's tendon. `stiffness`, `damping` and the limits of fixed tendons have an effect."""

    _defaults = {"type": 0, "num_joints": 0, "num_attachments": 0, "stiffness": 0.0, "damping": 0.0,
                 "limit_stiffness": 0.0, "is_fixed_limited": False, "fixed_lower_limit": 0.0,
                 "fixed_upper_limit": 0.0, "fixed_spring_rest_length": 0.0}
    num_joints: int
    stiffness: float
    damping: float
    limit_stiffness: float
    is_fixed_limited: bool
    fixed_lower_limit: float
    fixed_upper_limit: float
    fixed_spring_rest_length: float


class IndexRange(Closed):
    """A run of `count` indices from `start`."""

    _defaults = {"start": 0, "count": 0}
    start: int
    count: int


class Version(Closed):
    """Of the API: 1.0 is Preview 4's."""

    _defaults = {"major": 1, "minor": 0}


class ActionEvent(Closed):
    """A key or button press that a viewer reports."""

    _defaults = {"action": "", "value": 0.0}
    action: str
    value: float


class Tensor:
    """The handle that ``gymtorch`` wraps and unwraps; `torch` is the tensor itself."""

    def __init__(self, torch_tensor: Any = None) -> None:
        self.torch = torch_tensor

    @property
    def shape(self) -> Tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.torch.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def data_address(self) -> int:
        """Address of the first number."""
        return int(self.torch.data_ptr())

    @property
    def device(self) -> int:
        """-1 for the CPU, as in the original."""
        return -1 if self.torch.device.type == "cpu" else int(self.torch.device.index or 0)

    @property
    def dtype(self) -> Any:
        """Of the torch tensor."""
        return self.torch.dtype
