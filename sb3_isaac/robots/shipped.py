"""The robots that come with the package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sb3_isaac.robots.robot import Robot

_HERE = Path(__file__).resolve().parent


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
    kp=(25.0,) * 12,
    kd=(0.6,) * 12,
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
    kp=(100.0,) * 12,
    kd=(2.0,) * 12,
    torque_limit_nm=(80.0,) * 12,  # effort limit of ANYbotics' ANYmal C URDF
    trunk="trunk",
    feet=_leg_names(_ANYMAL_LEGS, ("FOOT",)),
    penalised_bodies=_leg_names(_ANYMAL_LEGS, ("THIGH", "SHANK")),
    terminal_bodies=("trunk",),
    action_scale_rad=0.5,
)

_G1_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")

G1 = Robot(
    name="g1",
    mjcf=str(_HERE / "g1.xml"),
    joints=_leg_names(("left", "right"), _G1_LEG),
    default_joint_pos=(-0.1, 0.0, 0.0, 0.3, -0.2, 0.0) * 2,  # pose, gains and efforts of Unitree's unitree_rl_gym
    base_height_m=0.7842,  # measured by MuJoCo: soles just touching, in this pose
    kp=(100.0, 100.0, 100.0, 150.0, 40.0, 40.0) * 2,
    kd=(2.0, 2.0, 2.0, 4.0, 2.0, 2.0) * 2,
    torque_limit_nm=(88.0, 139.0, 88.0, 139.0, 50.0, 50.0) * 2,
    trunk="trunk",
    feet=("left_foot", "right_foot"),
    penalised_bodies=_leg_names(("left", "right"), ("thigh", "shin")),
    terminal_bodies=("trunk",),
    action_scale_rad=0.5,
)
