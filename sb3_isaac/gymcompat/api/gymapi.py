"""``isaacgym.gymapi``: the names that clients import."""

# ruff: noqa: F401 - all imports are names of this module

from __future__ import annotations

from typing import Any

from sb3_isaac.gymcompat.api.gym import Gym
from sb3_isaac.gymcompat.api.unsupported import not_emulated
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.asset import Asset
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.runtime.viewer import Viewer
from sb3_isaac.gymcompat.types import enums as _enums
from sb3_isaac.gymcompat.types.enums import *  # noqa: F403 - the enumerations and plain numbers, all public
from sb3_isaac.gymcompat.types.structs import (
    ActionEvent,
    ActuatorProperties,
    AssetOptions,
    AttractorProperties,
    CameraProperties,
    FlexParams,
    ForceSensorProperties,
    HeightFieldParams,
    IndexRange,
    Mat33,
    Mat44,
    PhysXParams,
    PlaneParams,
    RigidBodyProperties,
    RigidShapeProperties,
    SimParams,
    TendonProperties,
    Tensor,
    TriangleMeshParams,
    Version,
    VhacdParams,
)
from sb3_isaac.gymcompat.types.values import DofState, Quat, RigidBodyState, Transform, Vec2, Vec3, Velocity

globals().update(_enums.members())  # gymapi.DOF_MODE_POS is gymapi.DofDriveMode.DOF_MODE_POS


def acquire_gym(*args: Any, **kwargs: Any) -> Gym:
    """The object that all calls go through. It keeps nothing: simulations do."""
    return Gym()


def __getattr__(name: str) -> Any:
    """Names of the original that are not emulated."""
    raise not_emulated(name)
