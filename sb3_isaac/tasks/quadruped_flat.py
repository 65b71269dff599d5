"""A legged robot follows a commanded forward velocity and yaw rate on flat ground."""

from __future__ import annotations

import math
from typing import Any, Mapping

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Display, Panel, Shown, StopRule
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.features import LeggedFeatures
from sb3_isaac.tasks.parts.legged import LeggedTask
from sb3_isaac.tasks.parts.memory import Measure
from sb3_isaac.tasks.parts.terms import Term

SWING_HEIGHT_M = 0.08
MAX_TILT_COS = 0.5
"""A robot has fallen when its trunk leans further than 60° (the cosine of the angle to upright)."""
MOVING_M_S = 0.1
"""Gait terms count while the forward command is above this."""


def moving(f: Any) -> torch.Tensor:
    """(N,) bool: told to walk."""
    return f.command[:, 0] > MOVING_M_S


class QuadrupedFlat(LeggedTask):
    """``IsaacQuadrupedFlat-v0``; the constructor's options are those of :class:`LeggedTask`.

    Observation group ``policy`` (44 for 12 joints):

    ============= ===== ============================== ==========================
    name          width what                           frame, unit
    ============= ===== ============================== ==========================
    joint_pos     12    joint angle minus default pose rad
    joint_vel     12    joint velocity                 rad/s
    last_action   12    previous action, as applied    –
    imu_ang_vel_b 3     angular velocity               body, rad/s
    imu_gravity_b 3     gravity direction              body, –
    command       2     forward velocity, yaw rate     body, m/s and rad/s
    ============= ===== ============================== ==========================

    With ``privileged=True`` there is a group ``critic`` of what only a simulator knows: ``lin_vel_b`` 3 m/s, body;
    ``foot_contact`` 4, 0 or 1; ``friction`` 1, of the ground.

    Commands are drawn anew every 5 s.

    Reward: forward velocity − energy, what shapes the gait, and rest where the robot is told to stand. Gait terms count
    as far as the command is held, so that stepping in place is worth little. A step's reward is the sum, and not below
    0: with negative rewards a robot learns to fall soon, which ends them. At the command (1, 0) an episode of 1000
    steps earns at most about 1200, a trot at 1 m/s above 300, and standing still, falling forward or running backward
    less than 100.

    An episode ends in a fall when a terminal body touches the ground or the trunk leans beyond 60°.
    """

    COMMAND = {"forward_m_s": Axis(0.0, 1.2, mirror=1), "yaw_rad_s": Axis(-0.5, 0.5, mirror=-1)}
    EVALUATION = ({"forward_m_s": 1.0, "yaw_rad_s": 0.0},)
    OBSERVATION = {
        "policy": {
            "joint_pos": lambda f: f.joint_pos,
            "joint_vel": lambda f: f.joint_vel,
            "last_action": lambda f: f.action,
            "imu_ang_vel_b": lambda f: f.ang_vel_b,
            "imu_gravity_b": lambda f: f.gravity_b,
            "command": lambda f: f.command,
        },
        "critic": {
            "lin_vel_b": lambda f: f.lin_vel_b,
            "foot_contact": lambda f: f.foot_contact.float(),
            "friction": lambda f: f.friction,
        },
    }
    MIRROR = {"joint_pos": "joints", "joint_vel": "joints", "last_action": "joints", "imu_ang_vel_b": "axial",
              "imu_gravity_b": "vector", "command": "command", "lin_vel_b": "vector", "foot_contact": "feet",
              "friction": "same"}
    TERMINATION = {
        "trunk_contact": lambda f: f.trunk_contact,
        "tilt": lambda f: f.gravity_b[:, 2] > -MAX_TILT_COS,
    }
    REWARD = {
        "forward_velocity": Term(0.5, lambda f: f.tracking),
        "energy": Term(-1e-4, lambda f: f.scaled_power_w),
        "torque": Term(-2e-6, lambda f: gait.sum_square(f.scaled_torque)),
        "action_rate": Term(-0.008, lambda f: gait.sum_square(f.action - f.last_action)),
        "bounce": Term(-0.025, lambda f: f.lin_vel_b[:, 2].square()),
        "tilt": Term(-0.5, lambda f: gait.sum_square(f.gravity_b[:, :2])),
        "pose": Term(-0.005, lambda f: gait.sum_square(f.joint_pos)),
        "trot": Term(0.6, lambda f: f.tracking * gait.trot(f.foot_contact, moving(f))),
        "air_time": Term(1.5, lambda f: f.tracking * gait.air_time(
            f.foot_air_time, gait.in_turn(f.foot_landed, f.foot_contact), moving(f))),
        "pairs_in_air": Term(-0.3, lambda f: gait.pairs_in_air(f.foot_contact)),
        "swing_height": Term(-0.6, lambda f: gait.swing_height(f.foot_clearance, f.foot_vel_w, SWING_HEIGHT_M)),
        "stand": Term(1.0, lambda f: f.standing * gait.still(f.foot_contact, f.joint_vel)),
        "knee_contact": Term(-0.05, lambda f: f.knee_contact.float()),
    }
    LEAST_REWARD = 0.0

    logged = ("forward_speed", "tracking", "command_range", "skill", "falls")
    """``command_range`` is the way to the whole range and to as much standing as there is to be, where commands have a
    ``first``, and else 1; ``skill``, by which exploration fades, is tracking times it."""
    stop_rule = StopRule({"reward_mean": (300.0, math.inf), "forward_speed_mean": (0.95, 1.05),
                          "yaw_drift_rad": (0.0, 0.2), "falls_fraction": (0.0, 0.01),
                          "foot_clearance_m": (0.015, math.inf), "knee_contact_fraction": (0.0, 0.005)},
                         goal="it walks", episodes=24,
                         early=("forward_speed_mean", "falls_fraction", "foot_clearance_m", "knee_contact_fraction"),
                         training={"rollout/command_range": (1.0, 1.0), "rollout/tracking": (0.75, 1.0),
                                   "rollout/steps_without_falls": (30_000, math.inf)})
    """Straight ahead at 1 m/s in an evaluation, with feet that are lifted, and in training commands held to 0.75 on
    average: slow ones are learnt last, and are not yet held as well as fast ones then.

    Of 24 robots the means of speed and heading are off by 0.003 m/s and 0.005 rad. That none of them falls says little
    of what is rare, so no robot may have fallen in training either for as many steps as 30 episodes have, with
    exploration and whatever it was told."""
    display = Display(
        progress=(Shown("speed", "rollout/forward_speed", "{:.2f}"),
                  Shown("range", "rollout/command_range", "{:.0%}"), Shown("falls", "rollout/falls", "{:.0f}")),
        evaluation=(Shown("falls", "falls_fraction", "{:.1%}"), Shown("speed", "forward_speed_mean", "{:.3f} m/s"),
                    Shown("off course", "yaw_drift_rad", "{:.2f} rad"),
                    Shown("clearance", "foot_clearance_m", "{:.3f} m"), Shown("duty", "duty_factor"),
                    Shown("knees", "knee_contact_fraction", "{:.1%}")),
        panels=(Panel("eval/forward_speed_mean", "speed at a command of 1 m/s\n(evaluation, m/s)"),),
        overlay=(Shown("command", "command", "{:.2f} m/s, {:.2f} rad/s"),
                 Shown("speed", "forward_speed", "{:.2f} m/s")),
    )

    def measures(self, features: LeggedFeatures, terminated: torch.Tensor) -> Mapping[str, Measure]:
        """See :meth:`EpisodicTask.measures`."""
        way = self._commands.way(self.reach)
        return {**super().measures(features, terminated), "tracking": features.tracking,
                "command_range": way.expand(self.num_envs), "skill": features.tracking * way}

    def followed(self, features: LeggedFeatures) -> torch.Tensor:
        """See :meth:`EpisodicTask.followed`."""
        return features.tracking

    def check_rewards(self, rewards: Mapping[str, Term]) -> None:
        """A trot is for four feet."""
        feet, trot = len(self.robot.feet), rewards.get("trot", Term(0.0, lambda f: f.tracking))
        if feet != 4 and trot.weight != 0.0 and trot.value is QuadrupedFlat.REWARD["trot"].value:
            raise UserError(f"robot {self.robot.name!r} has {feet} feet, and a trot is for four: pass reward="
                            "{'trot': 0.0}.")
