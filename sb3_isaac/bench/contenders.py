"""What is measured: our PPO, stock Stable-Baselines3 and rsl_rl, each as an object with ``iterate()``."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, Protocol

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from sb3_isaac.bench.rsl_rl import RslRlContender
from sb3_isaac.bench.timing import Stopwatch
from sb3_isaac.config import TrainConfig, load_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.training import build
from sb3_isaac.tasks import task_options

NAMES = {"ppo": "ours", "ppo-symmetric": "ours symmetric", "sb3-ppo": "sb3", "rsl_rl": "rsl_rl"}
"""``--algos`` -> the name of its rows."""
OURS = ("ours", "ours symmetric")
STOCK_BATCH_SIZE = 64
RSL_RL_MAJOR = "5"
RSL_RL = "rsl-rl-lib>=5.0,<6"
"""The releases whose configuration :mod:`sb3_isaac.bench.rsl_rl` writes."""


class Contender(Protocol):
    """A learner on an environment of its own."""

    env: IsaacVecEnv

    def iterate(self) -> Dict[str, float]:
        """Run one training iteration; seconds by ``PHASES``."""


def bench_config(env: str, algo: str, num_envs: int, seed: int,
                 env_kwargs: Optional[Mapping[str, object]] = None) -> TrainConfig:
    """Stock SB3's shipped settings of `env`, which every contender can follow, at `num_envs`, for `algo`.

    :param env_kwargs: options of the task, in place of those of the settings.
    """
    config = replace(load_config(env, "sb3-ppo", algo_keys=build.algorithm_options("sb3-ppo"),
                                 env_keys=task_options(env), env_kwargs=env_kwargs or {}, num_envs=num_envs,
                                 seed=seed), algo=algo)
    for key in ("n_steps", "batch_size"):
        if key not in config.algo_kwargs:
            raise UserError(f"{config.source} does not set {key} for {env}: add it to measure {env}.")
    return config


class _Stamps(BaseCallback):
    """Tells a stopwatch when SB3's rollout begins and ends. SB3 computes the returns before the end."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch

    def _on_rollout_start(self) -> None:
        self._watch.rollout_begins()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._watch.rollout_ends()


class Sb3Contender:
    """A model of SB3's kind, ours or stock, driven through ``learn()`` as its users drive it.

    The learning rate stays what it is: adapting it costs nothing, and contenders should make the same steps.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.env = build.make_env(config)
        self.model: Any = build.make_model(config, build.wrap_env(
            config, self._monitored(config)))  # type: ignore[arg-type]  # it wraps any VecEnv

    def _monitored(self, config: TrainConfig) -> VecEnv:
        """Stock SB3 behind its VecMonitor, as its users would; it warns that IsaacVecEnv reports episodes itself."""
        if not config.algo.startswith("sb3-"):
            return self.env
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*already wrapped with a `Monitor`.*")
            return VecMonitor(self.env)

    def iterate(self) -> Dict[str, float]:
        """See :class:`Contender`."""
        watch = Stopwatch(self.env)
        self.model.learn(self.model.n_steps * self.env.num_envs, callback=_Stamps(watch), reset_num_timesteps=False)
        return watch.read()


def make_contender(algo: str, config: TrainConfig) -> Contender:
    """The contender of ``--algos``; `config` is our PPO's."""
    if algo == "rsl_rl":
        return RslRlContender(config)
    if algo == "ppo-symmetric":
        return Sb3Contender(replace(config, algo_kwargs={**config.algo_kwargs, "symmetry": "equivariant"}))
    return Sb3Contender(config if algo == config.algo else _like(config, algo))


def stock_default_batch(config: TrainConfig) -> Sb3Contender:
    """Stock SB3 with the batch size that it has when its user names none."""
    stock = _like(config, "sb3-ppo")
    return Sb3Contender(replace(stock, algo_kwargs={**stock.algo_kwargs, "batch_size": STOCK_BATCH_SIZE}))


def _like(config: TrainConfig, algo: str) -> TrainConfig:
    return bench_config(config.env, algo, config.n_envs, config.seed or 0, config.env_kwargs)


def why_not(algo: str, config: TrainConfig) -> Optional[str]:
    """A sentence that says why a contender cannot be measured here; None where it can."""
    if algo == "rsl_rl":
        return why_no_rsl_rl()
    if algo == "ppo-symmetric" and not load_config(config.env, "ppo", algo_keys=build.algorithm_options("ppo"),
                                                   env_keys=task_options(config.env)).algo_kwargs.get("symmetry"):
        return f"ours symmetric is left out because the settings of {config.env} train without symmetry."
    return None


def why_no_rsl_rl() -> Optional[str]:
    """A sentence that says why rsl_rl cannot be measured here; None where it can."""
    hint = f"pip install '{RSL_RL}', best into an environment of its own"
    try:
        importlib.import_module("rsl_rl.runners")
        version = importlib.metadata.version("rsl-rl-lib")
    except ImportError as error:  # PackageNotFoundError is one too
        return f"rsl_rl is left out because it cannot be imported ({error}): {hint}."
    if version.split(".")[0] != RSL_RL_MAJOR:
        return f"rsl_rl is left out because version {version} has another interface: {hint}."
    return None
