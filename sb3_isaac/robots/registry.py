"""Robots by name or file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.robots.robot import Robot
from sb3_isaac.robots.shipped import ANYMAL, QUADRUPED

ROBOTS: Mapping[str, Robot] = MappingProxyType({robot.name: robot for robot in (QUADRUPED, ANYMAL)})
FILES = (".xml", ".mjcf", ".urdf")


def get_robot(robot: str | Robot) -> Robot:
    """A robot by what stands for it.

    :param robot: a registered name; the path of an MJCF or URDF file; or a Robot, which is returned.
    :raises UserError: for an unknown name, or a file that is no robot.
    """
    if isinstance(robot, Robot):
        return robot
    if isinstance(robot, str):
        if robot in ROBOTS:
            return ROBOTS[robot]
        if robot.lower().endswith(FILES):
            return Robot.from_file(robot)
    error = unknown("robot", robot, ROBOTS)
    raise UserError(f"{str(error).rstrip('.')}, and files that end in {', '.join(FILES)}.")
