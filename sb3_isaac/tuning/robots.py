"""Simulations that one trial after another uses: built once, and anew only for what cannot be changed on them."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Tuple

from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.tasks import soft_options


class Robots:
    """An IsaacVecEnv that is kept between trials.

    A trial that asks for other soft options (reward weights, command ranges) gets the same simulation with these; one
    that asks for another number of robots or other physics gets a new one. After a reset either is as good as new.
    """

    def __init__(self) -> None:
        self._env: Optional[IsaacVecEnv] = None
        self._made_with: Optional[Tuple[str, int, Mapping[str, Any]]] = None
        self.built = 0
        """Simulations built so far."""

    def get(self, env_id: str, num_envs: int, options: Mapping[str, Any]) -> IsaacVecEnv:
        """`num_envs` robots with the task's `options`; the caller resets them."""
        soft = soft_options(env_id)
        hard = {name: value for name, value in options.items() if name not in soft}
        if self._env is not None and self._made_with == (env_id, num_envs, hard):
            if soft:
                self._env.change_options(**{name: options.get(name) for name in soft})
            return self._env
        self.close()
        self._env = IsaacVecEnv(env_id, num_envs=num_envs, **options)
        self._made_with, self.built = (env_id, num_envs, hard), self.built + 1
        return self._env

    def close(self) -> None:
        """Release the simulation."""
        if self._env is not None:
            self._env.close()
        self._env = self._made_with = None
