"""Robots by name, file or description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sb3_isaac.config.files import read_mapping, to_yaml
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.robots.packages import PREFIXES, robot_file
from sb3_isaac.robots.robot import Robot, check_fields
from sb3_isaac.robots.shipped import ANYMAL, G1, QUADRUPED

ROBOTS: Mapping[str, Robot] = MappingProxyType({robot.name: robot for robot in (QUADRUPED, ANYMAL, G1)})
MODELS, DESCRIPTIONS = (".xml", ".mjcf", ".urdf"), (".yml", ".yaml")


def get_robot(robot: str | Mapping[str, Any] | Robot) -> Robot:
    """A robot by what stands for it.

    :param robot: a registered name; the path of an MJCF or URDF file; ``menagerie/NAME`` or
        ``robot_descriptions/NAME`` where those packages are installed; a mapping of ``mjcf``, any of these, and fields
        of a Robot that are used as given, or the path of a YAML file with such a mapping; or a Robot.
    :raises UserError: for an unknown name, or a file that is no robot.
    """
    if isinstance(robot, Robot):
        return robot
    path, overrides = robot_source(robot)
    if path in ROBOTS:
        return replace(ROBOTS[path], **check_fields(overrides)) if overrides else ROBOTS[path]
    return Robot.from_file(path, **overrides)


def robot_source(robot: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The registered name or model file that `robot` stands for, and the fields given with it."""
    if isinstance(robot, str) and robot.lower().endswith(DESCRIPTIONS):
        return _described(read_mapping(Path(robot)), robot, Path(robot).parent)
    if isinstance(robot, Mapping):
        return _described(robot, "robot", Path())
    if isinstance(robot, str) and robot.startswith(PREFIXES):
        return robot_file(robot), {}
    if isinstance(robot, str) and (robot in ROBOTS or robot.lower().endswith(MODELS)):
        return robot, {}
    error = unknown("robot", robot, ROBOTS)
    raise UserError(f"{str(error).rstrip('.')}, files that end in {', '.join((*MODELS, *DESCRIPTIONS))}, and names "
                    f"that begin with {' or '.join(PREFIXES)}.")


def _described(given: Mapping[str, Any], where: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """A mapping's file, relative to `folder`, and its other fields."""
    source = given.get("mjcf")
    if not isinstance(source, str) or source.lower().endswith(DESCRIPTIONS):
        raise UserError(f"{where} has mjcf={source!r}: give the path of an MJCF or URDF file.")
    if source.lower().endswith(MODELS):
        source = str(folder / source)
    return robot_source(source)[0], {name: value for name, value in given.items() if name != "mjcf"}


def describe(robot: Robot, folder: Path) -> str:
    """A robot as YAML that `get_robot` reads back from a file in `folder`: edit it, and train with it."""
    fields: dict[str, Any] = {name: value for name, value in asdict(robot).items() if value is not None}
    for name, value in fields.items():
        if isinstance(value, (list, tuple)):
            same = len(set(value)) == 1 and isinstance(value[0], float) and name != "default_joint_pos"
            fields[name] = value[0] if same else list(value)
    model, folder = Path(robot.mjcf).resolve(), folder.resolve()
    fields["mjcf"] = str(model.relative_to(folder)) if folder in model.parents else str(model)
    return to_yaml(fields)
