"""Which joint and which foot of a robot is another's mirror image, from its model file."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.robots.model import read_model
from sb3_isaac.robots.robot import Robot

TOLERANCE = 0.02
"""Places may differ by as many m from their mirror image, directions by as much of their length."""
_ACROSS = np.array([1.0, -1.0, 1.0])


class RobotMirror(NamedTuple):
    """What becomes of joint angles and speeds (J,), and of numbers of the feet (F,), in the mirror y → −y."""

    joints: Mirror
    feet: Mirror


def robot_mirror(robot: Robot) -> RobotMirror:
    """The mirror images of a robot's joints and feet, about the x-z plane of its trunk.

    Two joints are images of each other when, with all joints at zero, the place of one is that of the other with
    y → −y. The axis of a rotation a is seen as (−a_x, a_y, −a_z), for a rotation's direction is reversed in a mirror;
    where the partner's axis points the other way, the angle changes its sign.

    :raises UserError: where a joint or foot has no image, or the standing pose is not its own.
    """
    model = read_model(robot.mjcf, robot.feet).compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    trunk = model.body(robot.trunk).id
    frame, origin = data.xmat[trunk].reshape(3, 3), data.xpos[trunk]
    ids = [model.joint(name).id for name in robot.joints]
    places = (data.xanchor[ids] - origin) @ frame
    axes = data.xaxis[ids] @ frame
    feet = (data.xpos[[model.body(name).id for name in robot.feet]] - origin) @ frame
    joints = _matched(robot, "joint", robot.joints, places, axes)
    mirror = RobotMirror(joints, _matched(robot, "foot", robot.feet, feet, np.zeros_like(feet)))
    pose = np.array(robot.default_joint_pos)
    if not np.allclose(pose[list(joints.source)] * joints.sign, pose, atol=TOLERANCE):
        raise UserError(f"robot {robot.name!r} has a default_joint_pos that is not its own mirror image: give the "
                        "legs of both sides the same angles, or train without symmetry.")
    return mirror


def _matched(robot: Robot, kind: str, names: Tuple[str, ...], places: np.ndarray, axes: np.ndarray) -> Mirror:
    """The partner of each place (k, 3) m with axis (k, 3): nearest in the mirror, and along the same line."""
    source: List[int] = []
    sign: List[int] = []
    for i, name in enumerate(names):
        image, axis = places[i] * _ACROSS, -axes[i] * _ACROSS
        along = axes @ axis
        miss = np.linalg.norm(places - image, axis=1) + np.where(np.abs(along) > 1 - TOLERANCE, 0.0, 1.0) * any(axis)
        partner = int(np.argmin(miss))
        if miss[partner] > TOLERANCE or partner in source:
            raise UserError(f"robot {robot.name!r} has no {kind} that is the mirror image of {name!r}: train without "
                            "symmetry.")
        source.append(partner)
        sign.append(-1 if along[partner] < 0 else 1)
    return Mirror(tuple(source), tuple(sign))
