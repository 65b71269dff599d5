"""The clock of the benchmark, and the phases of an iteration."""

from __future__ import annotations

import time
from typing import Dict

import torch

from sb3_isaac.envs.vec_env import IsaacVecEnv

PHASES = ("rollout", "physics", "task", "update", "iteration")
"""Keys of what a contender's ``iterate()`` returns, in seconds; physics and task are parts of the rollout."""


def now() -> float:
    """Seconds on a clock, after a GPU (where one is in use) has finished what it was given."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch:
    """The times of one iteration on `env`; it starts when it is made."""

    def __init__(self, env: IsaacVecEnv) -> None:
        self._env = env
        self._start = self._rollout_start = self._rollout_end = now()
        self._step_s, self._physics_s = env.step_s, env.env.physics_s

    def rollout_begins(self) -> None:
        """Note the time."""
        self._rollout_start = now()

    def rollout_ends(self) -> None:
        """Note the time, and what of it was physics and task."""
        self._rollout_end = now()
        self._step_s, self._physics_s = (self._env.step_s - self._step_s, self._env.env.physics_s - self._physics_s)

    def read(self) -> Dict[str, float]:
        """End the iteration: seconds by ``PHASES``."""
        end = now()
        return {"rollout": self._rollout_end - self._rollout_start, "physics": self._physics_s,
                "task": self._step_s - self._physics_s, "update": end - self._rollout_end,
                "iteration": end - self._start}
