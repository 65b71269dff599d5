"""Simulations that are kept from one trial to the next: built again only for what cannot be changed on them."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from sb3_isaac.config import TrainConfig
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.policy.evaluate import eval_options, evaluate
from sb3_isaac.rl.policy.export import evaluation_policy
from sb3_isaac.tasks import soft_options, task_options
from sb3_isaac.tuning.goal import Report


class SimulationCache:
    """The environment that was asked for last.

    A trial that asks for other ``SOFT_OPTIONS`` (reward weights, command ranges) gets the same simulation with these;
    one that asks for another number of environments or other physics gets a new one. After a reset either is as good
    as new.
    """

    def __init__(self) -> None:
        self._env: Optional[IsaacVecEnv] = None
        self._made_with: Optional[Tuple[str, int, Mapping[str, Any]]] = None
        self.built = 0
        """Simulations built so far."""

    def get(self, env_id: str, num_envs: int, options: Mapping[str, Any]) -> IsaacVecEnv:
        """`num_envs` environments with the task's `options`; the caller resets them."""
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


class TrialSimulations:
    """The two simulations of a worker: one for training, one for evaluation.

    Evaluations follow the trial in what makes the simulation (robot, physics, observations) and the study's YAML in
    ``SOFT_OPTIONS`` such as reward weights: otherwise a trial could win by giving its reward other weights.

    :param base: the YAML's configuration.
    :param eval_episodes: environments of an evaluation.
    :param threads: this worker's share of the cores; None is all of them.
    """

    def __init__(self, base: TrainConfig, eval_episodes: int, threads: Optional[int] = None) -> None:
        self._base, self._eval_episodes = base, eval_episodes
        limited = threads is not None and "threads" in task_options(base.env)
        self._share: Dict[str, Any] = {"threads": threads} if limited else {}
        self.training, self.evaluation = SimulationCache(), SimulationCache()

    def training_env(self, config: TrainConfig) -> IsaacVecEnv:
        """The training environment, to be reset."""
        return self.training.get(config.env, config.n_envs, {**self._share, **config.env_kwargs})

    def evaluate(self, config: TrainConfig, model: Any, divisor: int = 1) -> Report:
        """Evaluate the deterministic policy of `model` in episodes of 1 / `divisor` of their length."""
        soft = soft_options(config.env)
        of_trial = {name: value for name, value in config.env_kwargs.items() if name not in soft}
        of_study = {name: self._base.env_kwargs[name] for name in soft if name in self._base.env_kwargs}
        options = eval_options(config.env, {**self._share, **of_trial, **of_study}, None)
        env = self.evaluation.get(config.env, self._eval_episodes, options).env
        policy = evaluation_policy(model, model.get_vec_normalize_env(), env.metadata(), env.device)
        steps = max(1, env.max_steps // divisor)
        report = evaluate(env, policy, seed=0, max_steps=steps if divisor > 1 else None)
        return {**report, "steps": int(model.num_timesteps)}

    def close(self) -> None:
        """Release both simulations."""
        self.training.close()
        self.evaluation.close()
