"""What a study is: its settings, and the training configuration of one trial."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_isaac.config import TrainConfig, dump_config, load_config
from sb3_isaac.contract.errors import UserError, is_number, unknown
from sb3_isaac.contract.tensor_env import constructor_parameters
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.training import build
from sb3_isaac.tasks import soft_options, task_class, task_options
from sb3_isaac.tuning.goal import StopRule, stop_rule_of
from sb3_isaac.tuning.simulations import SimulationCache
from sb3_isaac.tuning.space import Space, nested, read_space

SAMPLERS = ("tpe", "gp", "cmaes", "random")
PRUNERS = ("hyperband", "median", "none")
OBJECTIVES = ("steps", "reward")
LONGEST_NAME = 200
"""Bytes of a study's name: file systems take 255, and the final stage's name is a little longer."""


@dataclass(frozen=True)
class Plan:
    """A study's settings; two workers with equal ones work on the same study.

    | field | what |
    |---|---|
    | env, algo, conf, hyperparams, env_kwargs, num_envs, device | as of ``sb3-isaac train``: where trials start from |
    | gym_packages | modules that register tasks when they are imported; each worker process imports them first |
    | space | file of the search space; None is the one shipped for the algorithm |
    | n_timesteps | transitions of a trial at most; None is the YAML's |
    | objective | ``steps`` until the stop rule is met, or ``reward`` at the budget; None is steps if there is a rule |
    | n_evaluations | reports of a trial, at equal transitions |
    | eval_episodes | environments of an evaluation |
    | max_falls | the constraint: a trial whose last evaluation has a larger ``falls_fraction`` is infeasible |
    | n_trials | trials of this call, on all its workers; max_total_trials, of the whole study, takes precedence |
    | n_jobs | processes |
    | sampler, pruner, n_startup_trials | how trials are drawn and ended; random draws before the sampler's own |
    | storage | None is ``study.log`` in the study's folder; a journal file ``*.log``, or a database URL |
    | study_name | None is ``<algo>-<env>`` |
    | seed | of every trial's training, and of the sampler |
    | log_folder | the study lives in ``<log_folder>/tuning/<study_name>`` |
    | heartbeat_s | a worker sends a heartbeat this often; after twice that time without one it is taken for dead |
    | patience_s | how long a worker retries a storage that does not answer |
    | final_top, final_seeds, final_timesteps | the final stage: the best k are trained anew with so many paired seeds |
    """

    env: str = "IsaacQuadrupedFlat-v0"
    algo: str = "ppo"
    conf: Optional[str] = None
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_envs: Optional[int] = None
    device: Optional[str] = None
    gym_packages: Tuple[str, ...] = ()
    space: Optional[str] = None
    n_timesteps: Optional[int] = None
    objective: Optional[str] = None
    n_evaluations: int = 5
    eval_episodes: int = 32
    max_falls: float = 0.1
    n_trials: int = 100
    max_total_trials: Optional[int] = None
    n_jobs: int = 1
    sampler: str = "tpe"
    pruner: str = "median"
    n_startup_trials: int = 10
    storage: Optional[str] = None
    study_name: Optional[str] = None
    seed: int = 0
    log_folder: str = "logs"
    heartbeat_s: int = 60
    patience_s: float = 120.0
    final_top: int = 1
    final_seeds: int = 5
    final_timesteps: Optional[int] = None

    def __post_init__(self) -> None:
        for name, valid in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("objective", (*OBJECTIVES, None))):
            if getattr(self, name) not in valid:
                raise unknown(name, getattr(self, name), (v for v in valid if v))
        counts = ("n_evaluations", "eval_episodes", "n_trials", "n_jobs", "heartbeat_s", "final_seeds")
        for name, least in (*((n, 1) for n in counts), ("final_top", 0), ("n_startup_trials", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name} is {value!r}: give a whole number of at least {least}.")
        if not is_number(self.max_falls) or not 0.0 <= self.max_falls <= 1.0:
            raise UserError(f"max_falls is {self.max_falls!r}: give a share of episodes from 0 to 1.")
        _check_name(self.name)
        if self.objective == "steps" and self.stop_rule is None:
            raise UserError(f"objective 'steps' counts steps to the stop rule, which {self.env} does not have: give "
                            "objective 'reward'.")

    @property
    def name(self) -> str:
        """The study's name."""
        return f"{self.algo}-{self.env}".replace("/", "-") if self.study_name is None else self.study_name

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return Path(self.log_folder) / "tuning" / self.name

    @property
    def storage_name(self) -> str:
        """Where the study is stored."""
        return self.storage or str(self.folder / "study.log")

    @property
    def goal(self) -> str:
        """``steps`` or ``reward``."""
        return self.objective or ("reward" if self.stop_rule is None else "steps")

    @functools.cached_property
    def stop_rule(self) -> Optional[StopRule]:
        """The task's stop rule, which the first use asks of a simulation of one environment; None where it has none."""
        return _ask_task(self.config(), stop_rule_of)

    @property
    def direction(self) -> str:
        """Optuna's word for what is better."""
        return "minimize" if self.goal == "steps" else "maximize"

    def search_space(self) -> Space:
        """The space, read from its file."""
        return read_space(self.env, self.algo, self.space)

    def config(self, drawn: Optional[Mapping[str, Any]] = None, seed: Optional[int] = None) -> TrainConfig:
        """The YAML's configuration with the values `drawn` (dotted key -> value) in place of its own."""
        values = dict(drawn or {})
        task = {key[len("env_kwargs."):]: value for key, value in values.items() if key.startswith("env_kwargs.")}
        rest = {key: value for key, value in values.items() if not key.startswith("env_kwargs.")}
        return load_config(
            self.env, self.algo, path=self.conf, algo_keys=build.algorithm_options(self.algo),
            env_keys=[name for name in task_options(self.env) if name not in ("seed", "render_mode")],
            overrides={**self.hyperparams, **rest}, env_kwargs={**self.env_kwargs, **task},
            num_envs=None if "n_envs" in rest else self.num_envs, seed=self.seed if seed is None else seed,
            device=self.device)

    def budget(self, base: TrainConfig) -> int:
        """Transitions of a trial at most."""
        return self.n_timesteps or base.n_timesteps

    def interval(self, base: TrainConfig) -> int:
        """Transitions between reports; UserError where a rollout is longer."""
        rollout = base.n_envs * int(base.algo_kwargs.get("n_steps", 2048))  # type: ignore[call-overload]
        interval = self.budget(base) // self.n_evaluations
        if interval < rollout:
            raise UserError(f"{self.n_evaluations} evaluations in {self.budget(base)} transitions are more than its "
                            f"rollouts of {rollout}: give --n-evaluations {max(1, self.budget(base) // rollout)} or "
                            "less, or a larger -n.")
        return interval

    def identity(self, base: TrainConfig, space: Space) -> Dict[str, Any]:
        """What has to be the same for trials to be comparable: builtins."""
        about = {"env": self.env, "algo": self.algo, "objective": self.goal, "n_timesteps": self.budget(base)}
        about.update({name: getattr(self, name) for name in ("n_evaluations", "eval_episodes", "max_falls", "seed")})
        text = dump_config(base)
        return {**about, "starting YAML": "\n".join(line for line in text.splitlines() if "device:" not in line),
                "search space": space.description()}

    def check_space(self, space: Space) -> None:
        """Try the borders of each parameter; UserError for one that neither the algorithm nor the task has."""
        simulations = SimulationCache()
        self._try({}, simulations)  # what is wrong without any of them is no parameter's fault
        for parameter in space.parameters:
            for value in parameter.probes():
                try:
                    self._try({parameter.name: value}, simulations)
                except UserError as error:
                    raise UserError(f"parameter {parameter.name} of {space.source} cannot be {value!r}: {error}") \
                        from error
        simulations.close()

    def _try(self, values: Mapping[str, Any], simulations: SimulationCache) -> None:
        """Make what a trial of these parameters trains, smaller."""
        config = self.config(values)
        env = simulations.get(self.env, 2, config.env_kwargs)
        if not any(name.startswith("env_kwargs.") for name in values):
            small = {**config.algo_kwargs, "n_steps": 2, "batch_size": 4}
            build.make_model(replace(config, n_envs=2, algo_kwargs=small), build.wrap_env(config, env))

    def shipped(self, base: TrainConfig, space: Space) -> Dict[str, Any]:
        """The YAML's own values of the space's parameters, as Optuna stores them."""
        in_effect = _ask_task(base, lambda env: env.options()) if soft_options(self.env) else {}
        tree: Dict[str, Any] = {**_defaults(self.algo), **base.algo_kwargs, "desired_kl": base.desired_kl,
                                "n_envs": base.n_envs, "normalize": base.normalize, "policy": base.policy,
                                "callback": [{path: dict(kw)} if kw else path for path, kw in base.callback],
                                "env_kwargs": {**_task_defaults(self.env), **base.env_kwargs, **in_effect}}
        if base.algo_kwargs.get("n_steps") and base.algo_kwargs.get("batch_size"):
            tree["n_minibatches"] = base.minibatches
        values: Dict[str, Any] = {}
        encoded: Dict[str, Any] = {}
        for parameter in space.parameters:
            if parameter.applies(values):
                values[parameter.name] = _dig(tree, parameter.name.split("."))
                encoded[parameter.name] = parameter.encode(values[parameter.name], f"the YAML {base.source}")
        return encoded

    def flags(self) -> Dict[str, Any]:
        """All settings as builtins, for meta.json."""
        return {f.name: nested(value) if isinstance(value, dict) else value
                for f in fields(self) for value in (getattr(self, f.name),)}


def _check_name(name: str) -> None:
    """Refuse a study's name that is no name of one folder, of which the study's is made."""
    if name in ("", ".", "..") or set(name) & set("/\\") or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise UserError(f"study_name is {name!r}: give the name of a folder, of at most {LONGEST_NAME} bytes and "
                        "without slashes or control characters.")


def _ask_task(config: TrainConfig, ask: Callable[[Any], Any]) -> Any:
    """What `ask` returns for the task of `config`, made with one environment."""
    env = IsaacVecEnv(config.env, num_envs=1, **config.env_kwargs)  # type: ignore[call-overload]
    try:
        return ask(env.env)
    finally:
        env.close()


def _dig(tree: Any, path: "list[str]") -> Any:
    """The value at `path`, None where there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _defaults(algo: str) -> Dict[str, Any]:
    """The algorithm's own defaults by keyword."""
    classes: Tuple[Any, ...] = tuple(cls for cls in build.algorithm(algo).__mro__ if issubclass(cls, OnPolicyAlgorithm))
    found: Dict[str, Any] = {}
    for cls in reversed(classes):
        found.update({name: p.default for name, p in inspect.signature(cls.__init__).parameters.items()
                      if p.default is not inspect.Parameter.empty})
    return found


def _task_defaults(env: str) -> Dict[str, Any]:
    return {name: p.default for name, p in constructor_parameters(task_class(env)).items()
            if p.default is not inspect.Parameter.empty}
