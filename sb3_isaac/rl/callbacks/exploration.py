"""Exploration that fades as training goes on."""

from __future__ import annotations

import math
from typing import Any, Optional

import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap


class FadingExploration(BaseCallback):
    """Hold the standard deviation of a Gaussian policy's actions below a ceiling that falls as training goes on.

    A policy that explores widely learns a mean action that makes up for its noise: without the noise the robot then
    runs ahead of its command. The ceiling falls geometrically from `start_std` to `end_std` while something goes from
    `begin` to `until`: the timesteps or, better, a measure of success in the last rollout, so that what learns sooner
    explores less sooner. What the policy itself learns below the ceiling is left alone.

    :param start_std, end_std: in units of the action, above 0.
    :param begin, until: timesteps, or values of `measure`; 0 <= begin < until.
    :param measure: a key that an IsaacVecEnv's rollout is logged under, such as ``rollout/tracking``, or None for
        timesteps.
    :raises UserError: at the end of the first rollout where that has no such measure.
    """

    def __init__(self, start_std: float = 0.25, end_std: float = 0.1, begin: float = 1.0e6,
                 until: float = 3.5e6, measure: Optional[str] = None) -> None:
        super().__init__()
        if not (start_std > 0 and end_std > 0 and 0 <= begin < until):
            what = "timesteps" if measure is None else f"values of {measure}"
            raise UserError(f"start_std {start_std} and end_std {end_std} must be above 0, and begin {begin} and until "
                            f"{until} {what} with 0 <= begin < until.")
        self.start_std, self.end_std, self.begin, self.until = start_std, end_std, begin, until
        self.measure = measure
        self._measured: Optional[float] = None

    def ceiling(self, at: float) -> float:
        """The largest standard deviation at so many timesteps, or at that value of the measure."""
        part = min(1.0, max(0.0, (at - self.begin) / (self.until - self.begin)))
        return float(self.start_std * (self.end_std / self.start_std) ** part)

    def _on_training_start(self) -> None:
        if not isinstance(getattr(self.model.policy, "log_std", None), torch.Tensor):
            raise UserError(f"FadingExploration needs a policy with log_std and was given "
                            f"{type(self.model.policy).__name__} on {self.model.action_space}: drop the callback.")
        if self.measure is not None and not isinstance(self.training_env.unwrapped, IsaacVecEnv):
            raise UserError(f"FadingExploration finds {self.measure} in the rollouts of an IsaacVecEnv alone: leave "
                            "measure out, and give begin and until as timesteps.")

    def _on_rollout_start(self) -> None:
        at = self.model.num_timesteps if self.measure is None else self._measured
        if at is not None:  # after a resume there is no last rollout, and the policy is below its ceiling
            with torch.no_grad():
                log_std: Any = self.model.policy.log_std
                log_std.clamp_(max=math.log(self.ceiling(at)))
        if self.measure is not None:
            unwrap(self.training_env).statistics.clear()  # stock PPO does not

    def _on_rollout_end(self) -> None:
        if self.measure is not None:
            values = unwrap(self.training_env).statistics.read()
            if self.measure not in values:
                raise unknown("measure", self.measure, values, where="a rollout")
            self._measured = values[self.measure]

    def _on_step(self) -> bool:
        return True
