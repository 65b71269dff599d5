"""What a task and a simulator must know of a robot besides its model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sb3_isaac.contract.errors import UserError, brief, is_number, unknown
from sb3_isaac.robots.values import per_joint

DRIVES = ("position", "torque")


@dataclass(frozen=True)
class Robot:
    """A legged robot: its model file, joint order, gains and the roles of its bodies.

    J is the number of actuated joints. With position drives a joint's target is
    `default_joint_pos + action_scale_rad * action` for an action in [-1, 1], and its torque
    `kp * (target - q) - kd * dq`, clipped to `torque_limit_nm`. With torque drives the target is a torque,
    `torque_limit_nm * action`, and the joint's torque `target - kd * dq`, clipped alike. The joint's own spring,
    damping and friction are the file's, and come on top.

    | field              | shape | unit      | what                                                                   |
    |--------------------|-------|-----------|------------------------------------------------------------------------|
    | name               |       |           | what the registry and error messages call it                           |
    | mjcf               |       |           | path of an MJCF or URDF file; of it the robot alone is used            |
    | joints             | (J,)  |           | joint names, in the order of actions and observations                  |
    | default_joint_pos  | (J,)  | rad       | the standing pose                                                      |
    | base_height_m      |       | m         | trunk frame above the ground, default pose, level, feet just touching  |
    | kp                 | (J,)  | N·m/rad   | proportional gains; 0 with torque drives                               |
    | kd                 | (J,)  | N·m·s/rad | derivative gains, 0 where the joint's own damping is enough            |
    | torque_limit_nm    | (J,)  | N·m       | largest torque either way                                              |
    | trunk              |       |           | body with the free joint                                               |
    | feet               | (F,)  |           | bodies or geoms meant to touch the ground: front left, front right,    |
    |                    |       |           | rear left, …; a geom becomes a body of its own                         |
    | penalised_bodies   | (P,)  |           | bodies whose contact is a "knee contact": costly, not fatal            |
    | terminal_bodies    | (T,)  |           | bodies whose contact is a fall                                         |
    | action_scale_rad   |       | rad       | joint displacement of an action of 1, with position drives             |
    | armature_kgm2      | (J,)  | kg·m²     | rotor inertia as the joint feels it; None is the file's                |
    | friction_nm        | (J,)  | N·m       | friction of the joint; None is the file's                              |
    | drive              |       |           | what drives every joint: ``position`` or ``torque``                    |

    Lists become tuples, and one number for a field with a value for each joint counts for all of them. Raises UserError
    when a field is empty, not positive, not finite, repeated, or of the wrong length. That the names exist in the file
    is checked by whoever loads it. :meth:`from_file` finds all of this in the file.
    """

    name: str
    mjcf: str
    joints: tuple[str, ...]
    default_joint_pos: tuple[float, ...]
    base_height_m: float
    kp: tuple[float, ...]
    kd: tuple[float, ...]
    torque_limit_nm: tuple[float, ...]
    trunk: str
    feet: tuple[str, ...]
    penalised_bodies: tuple[str, ...]
    terminal_bodies: tuple[str, ...]
    action_scale_rad: float = 1.0
    armature_kgm2: tuple[float, ...] | None = None
    friction_nm: tuple[float, ...] | None = None
    drive: str = "position"

    @classmethod
    def from_file(cls, path: str, **overrides: Any) -> Robot:
        """The robot of an MJCF or URDF file: joints, pose, height, gains, limits and feet as the file has them.

        `docs/robots.md` says what is derived from what; ``sb3-isaac robot FILE`` prints it.

        :param path: of a ``.xml``, ``.mjcf`` or ``.urdf`` file.
        :param overrides: fields of a Robot, which are used as given.
        :raises UserError: for a file that cannot be read or is no legged robot, and where it does not say something
            that must be known, such as a joint's torque limit.
        """
        from sb3_isaac.robots.derive import derive  # it needs MuJoCo, and a robot on NVIDIA's Isaac Gym does not

        return cls(**derive(path, check_fields(overrides)).fields)

    def __post_init__(self) -> None:
        for field in ("name", "mjcf", "trunk"):
            self._check_name(field)
        self._check_names("joints", least=1)
        self._check_names("feet", least=1)
        self._check_names("penalised_bodies", least=0)
        self._check_names("terminal_bodies", least=0)
        given = ("default_joint_pos", "kp", "kd", "torque_limit_nm")
        optional = tuple(name for name in ("armature_kgm2", "friction_nm") if getattr(self, name) is not None)
        for field in (*given, *optional):
            self._check_per_joint(field)
        self._check_each("drive", self.drive in DRIVES, " or ".join(DRIVES))
        self._check_each("torque_limit_nm", all(v > 0 for v in self.torque_limit_nm), "finite numbers above 0")
        if self.drive == "torque":
            self._check_each("kp", not any(self.kp), "0, for torque drives have no gain")
        else:
            self._check_each("kp", all(v > 0 for v in self.kp), "finite numbers above 0")
        for field in ("kd", "armature_kgm2", "friction_nm"):
            self._check_each(field, all(v >= 0 for v in getattr(self, field) or ()), "finite numbers of at least 0")
        for field in ("base_height_m", "action_scale_rad"):
            value = getattr(self, field)
            self._check_each(field, is_number(value) and value > 0, "a finite number above 0")

    @property
    def rest_target(self) -> tuple[float, ...]:
        """The joints' targets (J,) for an action of 0: the default pose, rad, or no torque, N·m."""
        return self.default_joint_pos if self.drive == "position" else (0.0,) * len(self.joints)

    @property
    def target_scale(self) -> tuple[float, ...]:
        """How much the targets (J,) change by an action of 1, rad or N·m."""
        return (self.action_scale_rad,) * len(self.joints) if self.drive == "position" else self.torque_limit_nm

    def _check_each(self, field: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise UserError(f"robot {brief(self.name)} has {field}={brief(getattr(self, field))}: give {allowed}.")

    def _check_name(self, field: str) -> None:
        value = getattr(self, field)
        self._check_each(field, isinstance(value, str) and bool(value), "a non-empty string")

    def _check_names(self, field: str, least: int) -> None:
        given = getattr(self, field)
        names = tuple(given) if isinstance(given, (list, tuple)) else ("",)  # a lone string is refused
        valid = all(isinstance(n, str) and n for n in names) and len(set(names)) == len(names) >= least
        self._check_each(field, valid, "a non-empty tuple of distinct names" if least else "a tuple of distinct names")
        object.__setattr__(self, field, names)

    def _check_per_joint(self, field: str) -> None:
        given = getattr(self, field)
        values = per_joint(given, len(self.joints))
        self._check_each(field, values is not None, f"{len(self.joints)} finite numbers, one for each joint")
        object.__setattr__(self, field, values)


def check_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a Robot by name, all but the file, or a sentence about the first that is none."""
    allowed = [field.name for field in fields(Robot) if field.name != "mjcf"]
    for name in given:
        if name not in allowed:
            raise unknown("field of a Robot", name, allowed)
    return dict(given)
