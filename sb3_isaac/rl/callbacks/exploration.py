"""Exploration that fades as training goes on."""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac.contract.errors import UserError


class FadingExploration(BaseCallback):
    """Hold the standard deviation of a Gaussian policy's actions below a ceiling that falls as training goes on.

    A policy that explores widely learns a mean action that makes up for its noise: without the noise the robot then
    runs ahead of its command. The ceiling falls geometrically from `start_std` to `end_std` between the timesteps
    `begin` and `until`, and stays there; what the policy itself learns below it is left alone.

    :param start_std, end_std: in units of the action, above 0.
    :param begin, until: timesteps, 0 <= begin < until.
    """

    def __init__(self, start_std: float = 0.25, end_std: float = 0.1, begin: float = 1.0e6,
                 until: float = 3.5e6) -> None:
        super().__init__()
        if not (start_std > 0 and end_std > 0 and 0 <= begin < until):
            raise UserError(f"start_std {start_std} and end_std {end_std} must be above 0, and begin {begin} and until "
                            f"{until} timesteps with 0 <= begin < until.")
        self.start_std, self.end_std, self.begin, self.until = start_std, end_std, begin, until

    def ceiling(self, timesteps: int) -> float:
        """The largest standard deviation after `timesteps`."""
        part = min(1.0, max(0.0, (timesteps - self.begin) / (self.until - self.begin)))
        return float(self.start_std * (self.end_std / self.start_std) ** part)

    def _on_training_start(self) -> None:
        if not isinstance(getattr(self.model.policy, "log_std", None), torch.Tensor):
            raise UserError(f"FadingExploration needs a policy with log_std and was given "
                            f"{type(self.model.policy).__name__} on {self.model.action_space}: drop the callback.")

    def _on_rollout_start(self) -> None:
        with torch.no_grad():
            log_std: Any = self.model.policy.log_std
            log_std.clamp_(max=math.log(self.ceiling(self.model.num_timesteps)))

    def _on_step(self) -> bool:
        return True
