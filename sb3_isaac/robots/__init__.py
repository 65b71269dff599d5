"""Robots: joints, gains, default poses and model files."""

from __future__ import annotations

from sb3_isaac.robots.registry import ROBOTS, get_robot
from sb3_isaac.robots.robot import Robot

__all__ = ["ROBOTS", "Robot", "get_robot"]
