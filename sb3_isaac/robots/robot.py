"""What a task and a simulator must know of a robot that its model file does not say, and the shipped robots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sb3_isaac.contract.errors import UserError, unknown

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Robot:
    """A legged robot: its model file, joint order, gains and the roles of its bodies.

    J is the number of actuated joints. A joint's target is `default_joint_pos + action_scale_rad * action` for an
    action in [-1, 1], and its torque `kp * (target - q) - kd * dq`, clipped to `torque_limit_nm`.

    | field              | shape | unit      | what                                                                   |
    |--------------------|-------|-----------|------------------------------------------------------------------------|
    | name               |       |           | what the registry and error messages call it                           |
    | mjcf               |       |           | path of an MJCF file with the robot alone: no floor, no actuators      |
    | joints             | (J,)  |           | joint names, in the order of actions and observations                  |
    | default_joint_pos  | (J,)  | rad       | the standing pose                                                      |
    | base_height_m      |       | m         | trunk frame above the ground, default pose, level, feet just touching  |
    | kp                 |       | N·m/rad   | proportional gain, all joints                                          |
    | kd                 |       | N·m·s/rad | derivative gain, all joints                                            |
    | torque_limit_nm    | (J,)  | N·m       | largest torque either way                                              |
    | trunk              |       |           | body with the free joint                                               |
    | feet               | (F,)  |           | bodies meant to touch the ground: front left, front right, rear left, … |
    | penalised_bodies   | (P,)  |           | bodies whose contact is a "knee contact": costly, not fatal            |
    | terminal_bodies    | (T,)  |           | bodies whose contact is a fall                                         |
    | action_scale_rad   |       | rad       | joint displacement of an action of 1                                   |

    Lists become tuples. Raises UserError when a field is empty, not positive, not finite,
    repeated, or of the wrong length. That the names exist in the MJCF is checked by whoever loads it.
    """

    name: str
    mjcf: str
    joints: tuple[str, ...]
    default_joint_pos: tuple[float, ...]
    base_height_m: float
    kp: float
    kd: float
    torque_limit_nm: tuple[float, ...]
    trunk: str
    feet: tuple[str, ...]
    penalised_bodies: tuple[str, ...]
    terminal_bodies: tuple[str, ...]
    action_scale_rad: float = 1.0

    def __post_init__(self) -> None:
        for field in ("name", "mjcf", "trunk"):
            self._check_name(field)
        for field in ("joints", "feet", "penalised_bodies", "terminal_bodies"):
            self._check_names(field)
        for field in ("default_joint_pos", "torque_limit_nm"):
            self._check_per_joint(field)
        for field in ("base_height_m", "kp", "kd", "action_scale_rad"):
            self._check_positive(field, (getattr(self, field),))
        self._check_positive("torque_limit_nm", self.torque_limit_nm)

    def _error(self, field: str, given: object, allowed: str) -> UserError:
        return UserError(f"robot {str(self.name)!r} has {field}={given!r}: give {allowed}.")

    def _check_name(self, field: str) -> None:
        value = getattr(self, field)
        if not isinstance(value, str) or not value:
            raise self._error(field, value, "a non-empty string")

    def _check_names(self, field: str) -> None:
        given = getattr(self, field)
        names = _as_tuple(given)
        if not names or not all(isinstance(n, str) and n for n in names) or len(set(names)) < len(names):
            raise self._error(field, given, "a non-empty tuple of distinct names")
        object.__setattr__(self, field, names)

    def _check_per_joint(self, field: str) -> None:
        given = getattr(self, field)
        values = _as_tuple(given)
        if len(values) != len(self.joints) or not all(_is_finite(v) for v in values):
            raise self._error(field, given, f"{len(self.joints)} finite numbers, one for each joint")
        object.__setattr__(self, field, tuple(float(v) for v in values))

    def _check_positive(self, field: str, values: Iterable[Any]) -> None:
        if not all(_is_finite(v) and v > 0 for v in values):
            raise self._error(field, getattr(self, field), "a finite number above 0")


def _as_tuple(value: object) -> tuple[Any, ...]:
    """A list or tuple as a tuple; anything else, a lone string above all, as the empty one that checks refuse."""
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _leg_names(legs: Iterable[str], parts: Iterable[str], suffix: str = "") -> tuple[str, ...]:
    """Names such as FL_hip_joint, leg by leg: all parts of the first leg, then of the second, and so on."""
    parts = tuple(parts)
    return tuple(f"{leg}_{part}{suffix}" for leg in legs for part in parts)


_GO2_LEGS = ("FL", "FR", "RL", "RR")

QUADRUPED = Robot(
    name="quadruped",
    mjcf=str(_HERE / "quadruped.xml"),
    joints=_leg_names(_GO2_LEGS, ("hip", "thigh", "calf"), "_joint"),
    # Positive hip angles move a leg to the left, so outward is + on the left and - on the right. Rear feet stand
    # further back than front feet: at this stiffness a narrower stance tips over its own sagging knees.
    default_joint_pos=(0.05, 0.7, -1.54, -0.05, 0.7, -1.54, 0.05, 0.95, -1.5, -0.05, 0.95, -1.5),
    # A foot is 0.213 (cos(thigh) + cos(thigh + calf)) = 0.3055 m (rear; front 0.3051 m) below its hip axis. Splayed by
    # 0.05 rad about an axis 0.0955 m inside, 0.3055 cos(0.05) - 0.0955 sin(0.05) = 0.3003 m; its radius adds 0.022 m.
    base_height_m=0.3223,
    kp=25.0,
    kd=0.6,
    torque_limit_nm=(23.7, 23.7, 45.43) * 4,  # efforts of Unitree's Go2 URDF; one revision has 35.55 at the calf
    trunk="trunk",
    feet=_leg_names(_GO2_LEGS, ("foot",)),
    penalised_bodies=_leg_names(_GO2_LEGS, ("thigh", "calf")),
    terminal_bodies=("trunk",),
)

_ANYMAL_LEGS = ("LF", "RF", "LH", "RH")

ANYMAL = Robot(
    name="anymal",
    mjcf=str(_HERE / "anymal.xml"),
    joints=_leg_names(_ANYMAL_LEGS, ("HAA", "HFE", "KFE")),
    default_joint_pos=(0.0, 0.5, -0.9) * 2 + (0.0, -0.5, 0.9) * 2,  # knees "><": fore and hind legs mirror each other
    # The knee is 0.285 cos(0.5) = 0.2501 m below the hip; the foot's centre, (0.088, -0.3155) in the shank's (x, z), is
    # 0.3155 cos(0.4) - 0.088 sin(0.4) = 0.2563 m below the knee; its radius adds 0.03 m.
    base_height_m=0.5364,
    kp=100.0,
    kd=2.0,
    torque_limit_nm=(80.0,) * 12,  # effort limit of ANYbotics' ANYmal C URDF
    trunk="trunk",
    feet=_leg_names(_ANYMAL_LEGS, ("FOOT",)),
    penalised_bodies=_leg_names(_ANYMAL_LEGS, ("THIGH", "SHANK")),
    terminal_bodies=("trunk",),
    action_scale_rad=0.5,
)

ROBOTS: Mapping[str, Robot] = MappingProxyType({robot.name: robot for robot in (QUADRUPED, ANYMAL)})


def get_robot(robot: str | Robot) -> Robot:
    """The registered robot of that name, or `robot` itself if it is one. UserError for an unknown name."""
    if isinstance(robot, Robot):
        return robot
    if not isinstance(robot, str) or robot not in ROBOTS:
        raise unknown("robot", robot, ROBOTS)
    return ROBOTS[robot]
