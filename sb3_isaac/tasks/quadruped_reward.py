"""What a walking robot is paid for: the features of a step, and the table of terms made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Tuple

import torch

from sb3_isaac.contract.errors import UserError, is_number, mapping, unknown
from sb3_isaac.tasks import rewards

SWING_HEIGHT_M = 0.08


@dataclass(frozen=True)
class Features:
    """What the reward and the measures are made of, after a control step and before any reset.

    ================ ========== ==================================================================
    field            shape      unit, frame
    ================ ========== ==================================================================
    lin_vel_b        (N, 3)     m/s, body
    ang_vel_b        (N, 3)     rad/s, body
    gravity_b        (N, 3)     unit vector, body; (0, 0, −1) upright
    trunk_height     (N,)       m
    joint_pos        (N, J)     rad, minus the default pose
    joint_vel        (N, J)     rad/s
    torque           (N, J)     N·m
    power_w          (N,)       W, mechanical
    action           (N, J)     in [−1, 1], as applied
    last_action      (N, J)     the one before
    command          (N, 2)     forward m/s, yaw rad/s, body
    tracking         (N,)       in (0, 1]: how well the command is held
    foot_contact     (N, F)     bool
    foot_landed      (N, F)     bool: touched down in this step
    foot_air_time    (N, F)     s since the foot left the ground, its landing step included
    foot_clearance   (N, F)     m above its height in stance
    foot_vel_w       (N, F, 3)  m/s, mean over the control step
    knee_contact     (N,)       bool: a penalised body touches
    trunk_contact    (N,)       bool: a terminal body touches
    ================ ========== ==================================================================
    """

    lin_vel_b: torch.Tensor
    ang_vel_b: torch.Tensor
    gravity_b: torch.Tensor
    trunk_height: torch.Tensor
    joint_pos: torch.Tensor
    joint_vel: torch.Tensor
    torque: torch.Tensor
    power_w: torch.Tensor
    action: torch.Tensor
    last_action: torch.Tensor
    command: torch.Tensor
    tracking: torch.Tensor
    foot_contact: torch.Tensor
    foot_landed: torch.Tensor
    foot_air_time: torch.Tensor
    foot_clearance: torch.Tensor
    foot_vel_w: torch.Tensor
    knee_contact: torch.Tensor
    trunk_contact: torch.Tensor


class Term(NamedTuple):
    """A reward term: its weight for one control step, and the function of the features that it weighs."""

    weight: float
    value: Callable[[Features], torch.Tensor]


REWARD: Dict[str, Term] = {
    "forward_velocity": Term(0.5, lambda f: f.tracking),
    "energy": Term(-1e-4, lambda f: f.power_w),
    "torque": Term(-2e-6, lambda f: rewards.sum_square(f.torque)),
    "action_rate": Term(-0.008, lambda f: rewards.sum_square(f.action - f.last_action)),
    "bounce": Term(-0.025, lambda f: f.lin_vel_b[:, 2].square()),
    "tilt": Term(-0.5, lambda f: rewards.sum_square(f.gravity_b[:, :2])),
    "pose": Term(-0.005, lambda f: rewards.sum_square(f.joint_pos)),
    "trot": Term(0.2, lambda f: f.tracking * rewards.trot(f.foot_contact, f.command[:, 0] > 0.1)),
    "air_time": Term(1.5, lambda f: f.tracking * rewards.air_time(f.foot_air_time, f.foot_landed,
                                                                  f.command[:, 0] > 0.1)),
    "swing_height": Term(-0.6, lambda f: rewards.swing_height(f.foot_clearance, f.foot_vel_w, SWING_HEIGHT_M)),
    "knee_contact": Term(-0.05, lambda f: f.knee_contact.float()),
}
"""Forward velocity − energy, and what shapes the gait. Gait terms are paid as far as the command is held, so that
stepping in place is worth little. A step's reward is the sum, and not below 0: a robot that would be paid less than
nothing learns to fall soon. At the command (1, 0) an episode of 1000 steps earns at most about 700, a trot at 1 m/s
above 300, and standing still, falling forward or running backward less than 100."""


def reward_weights(given: Optional[Mapping[str, float]]) -> Dict[str, float]:
    """The weights of ``REWARD`` with those of `given` in their place."""
    given = mapping("reward", given)
    for name, value in given.items():
        if name not in REWARD:
            raise unknown("reward term", name, REWARD)
        if not is_number(value):
            raise UserError(f"reward weight {name!r} is {value!r}: give a finite number.")
    return {name: float(given.get(name, term.weight)) for name, term in REWARD.items()}


def paid(features: Features, weights: Mapping[str, float], bad: torch.Tensor) -> Tuple[Dict[str, torch.Tensor],
                                                                                      torch.Tensor]:
    """Each term (N,) under ``reward/<term>``, and their sum (N,), not below 0; both 0 for the worlds of `bad`."""
    names = [name for name, weight in weights.items() if weight != 0.0]
    if not names:
        return {}, torch.zeros_like(features.tracking)
    values = torch.stack([weights[name] * REWARD[name].value(features) for name in names]).masked_fill_(bad, 0.0)
    return {f"reward/{name}": values[i] for i, name in enumerate(names)}, values.sum(dim=0).clamp_(min=0.0)
