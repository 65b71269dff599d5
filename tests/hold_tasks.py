"""Tasks as a user has them in a file of his own, of which nothing but the contract of TensorEnv is assumed.

For ``--gym-packages hold_tasks``.
"""

from __future__ import annotations

from typing import Any, Dict

import torch
from gymnasium import spaces

from sb3_isaac import Step, StopRule, TensorEnv, register_task


class Hold(TensorEnv):
    """A number that the action moves, and that should stay near 0: ten steps of at most 1 each."""

    max_steps, device = 10, torch.device("cpu")
    observation_space = spaces.Dict({"policy": spaces.Box(-10.0, 10.0, (1,))})
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, num_envs: int, gain: float = 1.0) -> None:
        self.num_envs, self.gain = num_envs, gain
        self.x, self.t = torch.zeros(num_envs, 1), torch.zeros(num_envs, dtype=torch.long)

    def reset(self, seed: Any = None) -> Dict[str, torch.Tensor]:
        self.x.fill_(0.5)
        self.t.zero_()
        return {"policy": self.x}

    def step(self, actions: torch.Tensor) -> Step:
        self.x += 0.1 * self.gain * actions
        self.t += 1
        reward, over = 1.0 - self.x.abs()[:, 0], self.t >= self.max_steps
        final_obs = {"policy": self.x.clone()}
        self.x[over], self.t[over] = 0.5, 0
        return Step({"policy": self.x}, reward, torch.zeros_like(over), over, final_obs, {})


class HoldWell(Hold):
    """With a rule that standing still meets: it gets 5."""

    stop_rule = StopRule({"reward_mean": (4.0, 10.0)}, goal="it holds")


class HoldBest(Hold):
    """With a rule that nothing meets: it starts at 0.5, so that the first step gets 0.6 at most."""

    stop_rule = StopRule({"reward_mean": (9.9, 10.0)}, goal="it holds without a loss")


register_task("Hold-v0", "hold_tasks:Hold")
register_task("HoldWell-v0", "hold_tasks:HoldWell")
register_task("HoldBest-v0", "hold_tasks:HoldBest")
