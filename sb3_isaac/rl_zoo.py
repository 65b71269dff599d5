"""rl_zoo3 with our environments: one simulation for all robots, our settings, our search space.

``python -m rl_zoo3.train --env IsaacQuadrupedFlat-v0 --gym-packages sb3_isaac`` imports this package when rl_zoo3 is
loaded already, and that puts the plug in; a script that imports sb3_isaac first calls :func:`plug` after rl_zoo3.
Environments that are not ours get from rl_zoo3 what they would get without us.
"""

from __future__ import annotations

import copy
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import gymnasium
import optuna
import rl_zoo3.exp_manager
from gymnasium.wrappers import HumanRendering, OrderEnforcing, PassiveEnvChecker
from rl_zoo3.exp_manager import HYPERPARAMS_SAMPLER, ExperimentManager
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from sb3_isaac.config.files import find_file, shipped
from sb3_isaac.config.grammar import resolve
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.gym_env import IsaacEnv
from sb3_isaac.envs.registration import is_ours
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.policy.layers import ACTIVATIONS
from sb3_isaac.tuning import space

EnvMaker = Callable[[], gymnasium.Env]
STOCK_SETTINGS = Path(rl_zoo3.exp_manager.__file__).parent / "hyperparams"
OLDEST = (2, 8)
OTHERS: Optional[Callable[..., VecEnv]] = getattr(ExperimentManager, "default_vec_env_cls", None)
"""What another package set before us; None is rl_zoo3's own choice."""
SPACES = sorted({file.stem for file in space.FOLDER.glob("*.yml")} & set(HYPERPARAMS_SAMPLER))
"""Algorithms whose studies have a search space of ours."""
ADAPTS = "sb3_isaac.AdaptiveLearningRate"
STOCK_POLICIES = {"auto": "MlpPolicy", "AsymmetricPolicy": "sb3_isaac.rl.policy.asymmetric.AsymmetricPolicy"}
"""Our names of policies in rl_zoo3's words."""
# These change nothing that a robot sees or does.
_TRANSPARENT = (Monitor, OrderEnforcing, PassiveEnvChecker, HumanRendering)


class MonitoredVecEnv(IsaacVecEnv):
    """An IsaacVecEnv that writes finished episodes into rl_zoo3's ``0.monitor.csv``, for its plots.

    :param monitor: SB3's Monitor of one robot; finished episodes are appended to its file.
    """

    def __init__(self, env_id: str, num_envs: int, monitor: Optional[Monitor], **task_options: Any) -> None:
        self._writer = None if monitor is None else monitor.results_writer
        super().__init__(env_id, num_envs=num_envs, **task_options)

    def step_wait(self) -> VecEnvStepReturn:
        """See IsaacVecEnv."""
        obs, rewards, dones, infos = super().step_wait()
        if self._writer is not None:
            for i in dones.nonzero()[0]:
                if "episode" in infos[i]:
                    self._writer.write_row(infos[i]["episode"])
        return obs, rewards, dones, infos

    def close(self) -> None:
        """Release the simulation and the file."""
        super().close()
        if self._writer is not None:
            self._writer.close()


def one_simulation(env_fns: Sequence[EnvMaker], **kwargs: Any) -> VecEnv:
    """``default_vec_env_cls``: one IsaacVecEnv where `env_fns` make robots of ours, else what rl_zoo3 would make.

    One robot is made to see which task with which options it is; the simulation of all robots takes its place.

    :raises UserError: where the robots come in wrappers, which have one robot each.
    """
    first = env_fns[0]()
    if not isinstance(first.unwrapped, IsaacEnv):
        if OTHERS is None and len(env_fns) == 1:
            return DummyVecEnv([lambda: first], **kwargs)
        first.close()
        return (OTHERS or SubprocVecEnv)(list(env_fns), **kwargs)
    monitor: Optional[Monitor] = None
    layer: gymnasium.Env = first
    while isinstance(layer, gymnasium.Wrapper):
        if not isinstance(layer, _TRANSPARENT):
            raise UserError(f"{type(layer).__name__} wraps one robot, and these {len(env_fns)} are one simulation: "
                            "remove env_wrapper, or name a VecEnvWrapper as vec_env_wrapper.")
        monitor = layer if isinstance(layer, Monitor) else monitor
        layer = layer.env
    spec = layer.spec
    assert spec is not None
    layer.close()
    options = {"stagger": False, **spec.kwargs}
    return MonitoredVecEnv(options.pop("env_id"), len(env_fns), monitor, **options)


class IsaacExperimentManager(ExperimentManager):
    """rl_zoo3's ExperimentManager for environments of ours; :func:`plug` has it made in the other's place.

    Without ``-conf`` it takes the shipped settings of the algorithm; ``-conf`` may name a shipped file.
    """

    default_vec_env_cls = staticmethod(one_simulation)  # type: ignore[assignment,unused-ignore]

    def read_hyperparameters(self) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """See ExperimentManager; our keys are translated in what is used, and kept in what is saved."""
        files = shipped()
        if Path(self.config).parent == STOCK_SETTINGS:
            self.config = str(files.get(f"sb3-{self.algo}") or find_file(self.algo, None))
        elif self.config in files:
            self.config = str(files[self.config])
        said, saved = super().read_hyperparameters()
        # Training spreads the first time-outs; an episode that is scored has its full length.
        env_kwargs = said.get("env_kwargs") or self.env_kwargs
        self.eval_env_kwargs = {**env_kwargs, "stagger": False, **(self._eval_env_kwargs_args or {})}
        return stock_words({**said, "env_kwargs": {"stagger": True, **env_kwargs}}), saved

    def objective(self, trial: optuna.Trial) -> float:
        """See ExperimentManager; what is drawn is from our search space."""
        if self.algo not in SPACES:
            return super().objective(trial)
        # Trials may run at once, in threads: each has a manager of its own.
        this = copy.copy(self)
        drawn = self._space().draw(trial)
        chosen = stock_words({**self._hyperparams, "n_envs": self.n_envs, "callback": self.specified_callbacks,
                              **drawn})
        this.specified_callbacks = chosen.pop("callback")
        this.normalize_kwargs = {**self.normalize_kwargs, "gamma": chosen.get("gamma", 0.99)}
        roots = {name.split(".")[0] for name in drawn} | {"batch_size"}
        token = _CHOSEN.set({name: value for name, value in chosen.items() if name in roots})
        try:
            return ExperimentManager.objective(this, trial)
        finally:
            _CHOSEN.reset(token)

    def load_trial(self, storage: str, study_name: str, trial_id: Optional[int] = None,
                   convert: bool = True) -> Dict[str, Any]:
        """See ExperimentManager; the values of one of our studies by dotted key."""
        if not convert or self.algo not in SPACES:
            return super().load_trial(storage, study_name, trial_id, convert)
        params = super().load_trial(storage, study_name, trial_id, convert=False)
        return self._space().draw(optuna.trial.FixedTrial(params))

    def _space(self) -> space.Space:
        """What a study varies: nothing of the task, because rl_zoo3 has one for all of its trials."""
        return space.read_space(self.env_name.gym_id, self.algo).of_algorithm()


_CHOSEN: ContextVar[Optional[Dict[str, Any]]] = ContextVar("chosen", default=None)
"""The arguments of the algorithm that the running trial of one of our ids has drawn."""


def _sampler(stock: Callable[..., Dict[str, Any]]) -> Callable[..., Dict[str, Any]]:
    """``HYPERPARAMS_SAMPLER``'s entry: what our manager has drawn, else what `stock` draws."""

    def sample(*args: Any, **kwargs: Any) -> Dict[str, Any]:
        chosen = _CHOSEN.get()
        return stock(*args, **kwargs) if chosen is None else chosen

    return sample


def stock_words(entry: Mapping[str, Any]) -> Dict[str, Any]:
    """Settings in stock SB3's and rl_zoo3's words, from an entry that may use ours.

    A dotted key reaches into a mapping; ``n_minibatches`` becomes ``batch_size``, ``desired_kl`` the callback
    AdaptiveLearningRate, the name of an activation its class, ``policy: auto`` is MlpPolicy, AsymmetricPolicy its
    dotted path.
    """
    dotted = {key: value for key, value in entry.items() if "." in key}
    words = {key: value for key, value in entry.items() if key not in dotted}
    for root in {key.split(".")[0] for key in dotted} & set(words):
        words[root] = resolve(words[root], root) if isinstance(words[root], str) else words[root]
    words.update(space.nested(dotted, words))
    words = space.with_batch_size(words, words.get("n_envs", 1), words.get("n_steps", 2048))
    desired_kl = words.pop("desired_kl", None)
    if desired_kl is not None:
        given = words.get("callback") or []
        others: List[Any] = [each for each in (given if isinstance(given, list) else [given])
                             if not isinstance(each, Mapping) or ADAPTS not in each]
        words["callback"] = [*others, {ADAPTS: {"desired_kl": desired_kl}}]
    policy = words.get("policy")
    if policy in STOCK_POLICIES:
        words["policy"] = STOCK_POLICIES[policy]
    policy_kwargs = words.get("policy_kwargs")
    if isinstance(policy_kwargs, Mapping) and policy_kwargs.get("activation_fn") in ACTIVATIONS:
        words["policy_kwargs"] = {**policy_kwargs, "activation_fn": ACTIVATIONS[policy_kwargs["activation_fn"]]}
    return words


def plug() -> None:
    """Have rl_zoo3 make :class:`IsaacExperimentManager` and one simulation for our ids; a second call does nothing."""
    if tuple(map(int, rl_zoo3.__version__.split(".")[:2])) < OLDEST:
        warnings.warn(f"rl_zoo3 {rl_zoo3.__version__} cannot use one simulation for many robots: "
                      "pip install 'rl_zoo3>=2.8'.", stacklevel=2)
        return
    if ExperimentManager.default_vec_env_cls is one_simulation:
        return

    def make(cls: Any, *args: Any, **kwargs: Any) -> ExperimentManager:
        """In place of ``ExperimentManager.__new__``: rl_zoo3's scripts name that class, and get ours for our ids."""
        env_id = kwargs.get("env_id", args[2] if len(args) > 2 else "")
        manager: ExperimentManager = object.__new__(
            IsaacExperimentManager if cls is ExperimentManager and is_ours(env_id) else cls)
        if not isinstance(manager, IsaacExperimentManager) and cls.default_vec_env_cls is one_simulation:
            manager.default_vec_env_cls = OTHERS  # type: ignore[assignment,unused-ignore]
        return manager

    ExperimentManager.__new__ = staticmethod(make)  # type: ignore[assignment,method-assign,unused-ignore]
    ExperimentManager.default_vec_env_cls = staticmethod(one_simulation)  # type: ignore[assignment,unused-ignore]
    for algo in SPACES:
        HYPERPARAMS_SAMPLER[algo] = _sampler(HYPERPARAMS_SAMPLER[algo])
