"""Robots: joints, gains, default poses and model files."""

from __future__ import annotations

from sb3_isaac.robots.robot import ROBOTS, Robot, get_robot

__all__ = ["ROBOTS", "Robot", "get_robot"]
