"""A biped with ankles goes where it is told: forward and backward, sideways, turning, and standing still."""

from __future__ import annotations

from typing import Any, Mapping

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.terms import Term
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity, shown, still

GRID = tuple({"forward_m_s": forward, "left_m_s": left, "yaw_rad_s": turn, "heading_rad": turn}
             for forward in (0.0, -0.5, 0.5, 1.0) for left in (0.0, -0.3, 0.3) for turn in (0.0, -0.8, 0.8))
"""The 36 commands of an evaluation; the first is to stand."""


def on_one_foot(f: Any) -> torch.Tensor:
    """1 where one of two feet is on the ground, while told to move, (N,)."""
    return (f.foot_contact[:, 0] != f.foot_contact[:, 1]) * (~f.standing).float()


def in_time(f: Any) -> torch.Tensor:
    """1 where it stands on the left foot alone in the first half of a stride, on the right one in the second, (N,)."""
    return on_one_foot(f) * (f.foot_contact[:, 0] == (f.phase < 0.5))


class BipedVelocity(QuadrupedVelocity):
    """``IsaacBipedVelocity-v0``: the tables of :class:`QuadrupedVelocity` over a robot with two feet, a G1-class one.

    Observations, options and terminations are those of the quadruped's task, with a clock of 1.5 strides a second
    unless ``clock`` is false: 48 observations for 12 joints. Commands are slower, and a walk, each foot in its turn,
    takes the place of a trot.
    """

    ROBOT = "g1"
    STRIDE_HZ = 1.5
    IN_TIME = ("walk", lambda f: f.gait_share * in_time(f))
    COMMAND: Mapping[str, Axis] = {
        "forward_m_s": Axis(-0.5, 1.0, mirror=1), "left_m_s": Axis(-0.3, 0.3, mirror=-1),
        "yaw_rad_s": Axis(-0.8, 0.8, mirror=-1)}
    COMMAND_SETTINGS = {**QuadrupedVelocity.COMMAND_SETTINGS, "edge_share": 0.0, "widen_s": 10.0, "each_end": False,
                        "first": {"forward_m_s": [0.3, 0.7], "left_m_s": [-0.1, 0.1], "yaw_rad_s": [-0.2, 0.2]}}
    EVALUATION = GRID
    SHOWN = shown((0.8, 0.0, 0.0), (0.5, 0.0, 0.6), (0.0, 0.25, 0.0), (0.8, 0.0, 0.0), (0.5, 0.0, -0.6))
    REWARD: Mapping[str, Term] = {
        **{name: term for name, term in QuadrupedVelocity.REWARD.items() if name not in ("step", "trot")},
        "step": Term(0.08, on_one_foot),
        "stand": Term(1.0, still),
        "walk": Term(0.2, lambda f: f.gait_share * on_one_foot(f)),
        "tilt": Term(-1.0, lambda f: gait.sum_square(f.gravity_b[:, :2])),
    }
    stop_rule = StopRule({"tracking_error_forward_m_s": (0.0, 0.16), "tracking_error_left_m_s": (0.0, 0.16),
                          "tracking_error_yaw_rad_s": (0.0, 0.25), "falls_fraction": (0.0, 0.03)},
                         goal="it goes where it is told", training={"rollout/command_range": (1.0, 1.0)}, evaluations=2,
                         early=QuadrupedVelocity.stop_rule.early)

    def __init__(self, num_envs: int = 1, *, clock: bool = True, **options: Any) -> None:
        super().__init__(num_envs, clock=clock, **options)

    def check_rewards(self, rewards: Mapping[str, Term]) -> None:
        """A walk is for two feet."""
        feet = len(self.robot.feet)
        if feet != 2:
            raise UserError(f"robot {self.robot.name!r} has {feet} feet, and a walk is for two: give a biped, or take "
                            "IsaacQuadrupedVelocity-v0.")
