"""An ant, four legs on a ball, runs ahead as fast as it can."""

from __future__ import annotations

import math

import torch

from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.robots.torque_driven import ANT
from sb3_isaac.tasks.parts.running import RunTask, effort, electricity, faces_ahead, is_upright
from sb3_isaac.tasks.parts.terms import Term

LEAST_HEIGHT_M = 0.31
AT_LIMIT = 0.99
"""Share of a joint's range."""


class Ant(RunTask):
    """``IsaacAnt-v0``: options, actions and observations (40) are those of :class:`RunTask`.

    Reward, with the weights of IsaacGymEnvs' Ant. A step at 4 m/s is worth about 4.5, so that an episode of 1000 steps
    earns above 5000 by a fast, upright run of 16.7 s, about 75 m. Standing still, on knees bent to the end of their
    range, earns 700, and 1100 with other knees; a fall ends the episode, and costs 2.

    ========= ====== ==================================================================
    term      weight what
    ========= ====== ==================================================================
    speed     1      m/s ahead
    alive     0.5    each step
    up        0.1    the trunk leans less than 21.6°
    heading   0.5    the trunk faces ahead
    effort    −0.005 Σ a²
    energy    −0.01  Σ |a q̇|, rad/s
    limits    −0.1   joints within 0.5% of an end of their range
    fall      −2     the trunk's middle is lower than 0.31 m, where the episode ends
    ========= ====== ==================================================================
    """

    ROBOT = ANT
    TERMINATION = {"low": lambda f: f.trunk_height < LEAST_HEIGHT_M}
    REWARD = {
        "speed": Term(1.0, lambda f: f.speed),
        "alive": Term(0.5, lambda f: torch.ones_like(f.upright)),
        "up": Term(0.1, is_upright),
        "heading": Term(0.5, faces_ahead),
        "effort": Term(-0.005, effort),
        "energy": Term(-0.01, electricity),
        "limits": Term(-0.1, lambda f: (f.joint_pos.abs() > AT_LIMIT).sum(dim=1)),
        "fall": Term(-2.0, lambda f: f.trunk_height < LEAST_HEIGHT_M),
    }
    stop_rule = StopRule({"reward_mean": (5000.0, math.inf), "falls_fraction": (0.0, 0.1)}, goal="it runs",
                         early=("falls_fraction",))
