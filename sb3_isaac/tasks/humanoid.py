"""A humanoid runs ahead as fast as it can."""

from __future__ import annotations

import math

import torch

from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.robots.torque_driven import HUMANOID
from sb3_isaac.tasks.parts.running import RunFeatures, RunTask, effort, electricity, faces_ahead, is_upright
from sb3_isaac.tasks.parts.terms import Term

LEAST_HEIGHT_M = 0.8
NEAR_LIMIT = 0.98
"""Share of a joint's range."""


def near_limits(f: RunFeatures) -> torch.Tensor:
    """Σ over joints of how far they are into the last hundredth of their range, 1 at its end, · strength, (N,)."""
    return (((f.joint_pos.abs() - NEAR_LIMIT) / (1.0 - NEAR_LIMIT)).clamp(min=0.0) * f.strength).sum(dim=1)


class Humanoid(RunTask):
    """``IsaacHumanoid-v0``: options, actions and observations (77) are those of :class:`RunTask`.

    Reward, with the weights of IsaacGymEnvs' Humanoid. Not falling is worth 2.6 a step, so that standing still for an
    episode of 1000 steps earns 2600; without torques the humanoid falls within a second, which earns about 100. Above
    5000 is an upright run through the whole episode at 3 m/s or more.

    ========= ====== ==================================================================
    term      weight what
    ========= ====== ==================================================================
    speed     1      m/s ahead
    alive     2      each step
    up        0.1    the trunk leans less than 21.6°
    heading   0.5    the trunk faces ahead
    effort    −0.01  Σ a²
    energy    −0.005 Σ |a q̇| · strength, rad/s
    limits    −0.25  Σ of how far joints are into the last 1% of their range · strength
    fall      −1     the trunk's middle is lower than 0.8 m, where the episode ends
    ========= ====== ==================================================================
    """

    ROBOT = HUMANOID
    TERMINATION = {"low": lambda f: f.trunk_height < LEAST_HEIGHT_M}
    REWARD = {
        "speed": Term(1.0, lambda f: f.speed),
        "alive": Term(2.0, lambda f: torch.ones_like(f.upright)),
        "up": Term(0.1, is_upright),
        "heading": Term(0.5, faces_ahead),
        "effort": Term(-0.01, effort),
        "energy": Term(-0.005, electricity),
        "limits": Term(-0.25, near_limits),
        "fall": Term(-1.0, lambda f: f.trunk_height < LEAST_HEIGHT_M),
    }
    stop_rule = StopRule({"reward_mean": (5000.0, math.inf), "falls_fraction": (0.0, 0.05)}, goal="it runs",
                         early=("falls_fraction",))
