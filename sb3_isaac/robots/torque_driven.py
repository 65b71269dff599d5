"""The robots that come with the tasks of running: torques drive their joints."""

from __future__ import annotations

from pathlib import Path

from sb3_isaac.robots.robot import Robot

_HERE = Path(__file__).resolve().parent
_ANT_LEGS = ("front_left", "front_right", "rear_left", "rear_right")

ANT = Robot(
    name="ant",
    mjcf=str(_HERE / "ant.xml"),
    joints=tuple(f"{leg}_{joint}" for leg in _ANT_LEGS for joint in ("hip", "knee")),
    default_joint_pos=(0.0, 0.5236) * 4,  # knees at the end of their range, where the ant stands without torques
    base_height_m=0.3628,  # a tip is 0.4 √2 sin(30°) = 0.2828 m below the trunk's frame; its radius adds 0.08 m
    kp=(0.0,) * 8,
    kd=(0.0,) * 8,
    torque_limit_nm=(15.0,) * 8,  # gears of nv_ant.xml
    trunk="trunk",
    feet=tuple(f"{leg}_foot" for leg in _ANT_LEGS),
    penalised_bodies=(),
    terminal_bodies=(),
    drive="torque",
)

_TORQUE_NM = {"abdomen_z": 67.5, "abdomen_y": 67.5, "abdomen_x": 67.5, "hip_x": 45.0, "hip_z": 45.0, "hip_y": 135.0,
              "knee": 90.0, "ankle_y": 22.5, "ankle_x": 22.5, "shoulder1": 67.5, "shoulder2": 67.5, "elbow": 45.0}
"""Gears of nv_humanoid.xml."""
_LEG = ("hip_x", "hip_z", "hip_y", "knee", "ankle_y", "ankle_x")
_ARM = ("shoulder1", "shoulder2", "elbow")
_HUMANOID_JOINTS = ("abdomen_z", "abdomen_y", "abdomen_x",
                    *(f"{side}_{joint}" for part in (_LEG, _ARM) for side in ("right", "left") for joint in part))

HUMANOID = Robot(
    name="humanoid",
    mjcf=str(_HERE / "humanoid.xml"),
    joints=_HUMANOID_JOINTS,
    default_joint_pos=(0.0,) * 21,
    base_height_m=1.285,  # 0.26 + 0.165 + 0.04 + 0.403 + 0.39 m down to the feet's capsules, of 0.027 m radius
    kp=(0.0,) * 21,
    kd=(0.0,) * 21,
    torque_limit_nm=tuple(_TORQUE_NM[name.replace("right_", "").replace("left_", "")] for name in _HUMANOID_JOINTS),
    trunk="trunk",
    feet=("left_foot", "right_foot"),
    penalised_bodies=(),
    terminal_bodies=(),
    drive="torque",
)
