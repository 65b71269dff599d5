"""What a training iteration costs: ours, stock SB3 and rsl_rl on one task, beside what physics and networks cost alone.

Contenders alternate round by round, so that a slow minute of the machine affects all of them. Ratios are computed
within a round; their median is reported.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import platform
import statistics
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.bench.contenders import (
    NAMES,
    OURS,
    STOCK_BATCH_SIZE,
    Contender,
    Sb3Contender,
    bench_config,
    make_contender,
    stock_default_batch,
    why_not,
)
from sb3_isaac.bench.floors import NO_ENGINE, NetworkFloor, PhysicsFloor
from sb3_isaac.bench.speed import measure_speed
from sb3_isaac.bench.timing import PHASES
from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.envs.registration import import_packages
from sb3_isaac.rl.callbacks.training_log import peak_memory_mb
from sb3_isaac.rl.training.run_folder import installed_versions

Say = Callable[[str], None]
Seconds = Dict[str, List[float]]
"""Seconds by the name of a row, one number for each round."""
MOST_FOR_DEFAULT_BATCH = 4096
DEFAULT_BATCH = f"sb3 batch_size={STOCK_BATCH_SIZE}"
PHYSICS, FORWARDS, PASSES = "bare physics", "bare networks rollout", "bare networks update"
MEANING = {
    "rollout": "from its first action to the returns", "physics": "of the rollout, within the physics engine",
    "task": "of the rollout, observations, rewards and resets", "update": "from the end of the rollout to that of the "
    "iteration", "iteration": "the whole", "glue": "the rollout less its physics, its task and the bare networks' "
    "forward passes"}


@dataclass(frozen=True)
class Plan:
    """What to measure.

    :param num_envs: numbers of environments; the contenders are compared at 4096 if it is given, else at the largest.
    :param algos: of ``NAMES``; ``sb3-ppo`` and ``rsl_rl`` are compared with ours, of which ``ppo`` has to be there.
    :param default_batch: measure one iteration of stock SB3 at its default batch size too.
    :param memory: measure the peak memory of each contender, in a process of its own.
    :param gym_packages: modules that register tasks when they are imported, for that process.
    :param env_kwargs: options of the task, such as ``{"sim": "mujoco_warp"}``.
    """

    env: str
    num_envs: Tuple[int, ...] = (4096,)
    rounds: int = 5
    algos: Tuple[str, ...] = tuple(NAMES)
    seed: int = 0
    default_batch: bool = False
    memory: bool = True
    gym_packages: Tuple[str, ...] = ()
    env_kwargs: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for algo in self.algos:
            if algo not in NAMES:
                raise unknown("algorithm", algo, NAMES, "--algos")
        if "ppo" not in self.algos:
            raise UserError(f"--algos is {','.join(self.algos)!r}: give ppo too, with which the others are compared.")
        if self.default_batch and self.meet_at > MOST_FOR_DEFAULT_BATCH:
            raise UserError(f"--default-batch at {self.meet_at} environments would take many minutes: give at most "
                            f"--num-envs {MOST_FOR_DEFAULT_BATCH}, or leave it out.")

    @property
    def meet_at(self) -> int:
        """Number of environments at which the contenders are compared."""
        return 4096 if 4096 in self.num_envs else max(self.num_envs)


def bench(plan: Plan, say: Say) -> Dict[str, Any]:
    """Measure; what ``bench.json`` holds. `say` is given a line of progress now and then."""
    config = bench_config(plan.env, "ppo", plan.meet_at, plan.seed, plan.env_kwargs)
    configs = [bench_config(plan.env, "ppo", n, plan.seed, plan.env_kwargs) for n in sorted(set(plan.num_envs))]
    missing = {algo: sentence for algo in dict.fromkeys(plan.algos) if (sentence := why_not(algo, config))}
    for sentence in missing.values():
        say(sentence)
    algos = tuple(algo for algo in dict.fromkeys(plan.algos) if algo not in missing)
    # First, while this process is small: a child's peak counts what its parent held when it was started.
    memory = {NAMES[algo]: _memory_alone(algo, config, plan.gym_packages, say) for algo in algos} if plan.memory else {}
    system = _system()
    contenders = {NAMES[algo]: make_contender(algo, config) for algo in algos}
    physics = PhysicsFloor()
    networks = NetworkFloor(contenders["ours"].model)  # type: ignore[attr-defined]  # an Sb3Contender
    for line in networks.in_words():
        say(line)
    seconds, notes = _rounds(contenders, physics, networks, plan.rounds, say)
    facts = physics.facts()
    for contender in contenders.values():
        contender.env.close()
    if plan.default_batch:
        _add_default_batch(config, seconds, say)
    speed = measure_speed(configs, plan.rounds, say) if len(configs) > 1 else []
    system["physics_threads"] = facts.pop("physics_threads")
    return {"system": system, "config": {**_settings(contenders["ours"], config, plan), **facts},
            "rows": rows(seconds), "matrix_products": networks.product_times(),
            "peak_memory_mb": memory, "speed": speed,
            "notes": [*missing.values(), *notes]}


def _rounds(contenders: Dict[str, Contender], physics: PhysicsFloor, networks: NetworkFloor, rounds: int,
            say: Say) -> Tuple[Seconds, List[str]]:
    """Each contender and the floors once a round, the contenders' order rotating; a round before is not measured."""
    names = list(contenders)
    seconds: Seconds = {f"{name} {phase}": [] for name in names for phase in PHASES}
    for i in range(rounds + 1):
        label = f"round {i}/{rounds}" if i else "warming up"
        first = i % len(names)
        for name in names[first:] + names[:first]:
            recorded: ContextManager[None] = physics.recording() if name == "ours" else contextlib.nullcontext()
            with recorded:
                phases = contenders[name].iterate()
            say(f"{label:<12} {name:<14} {_in_words(phases)}")
            _note(seconds, {f"{name} {phase}": phases[phase] for phase in PHASES}, measured=i > 0)
        bare_s = physics.measure()
        floors = {**({} if bare_s is None else {PHYSICS: bare_s}),
                  FORWARDS: networks.rollout_s(), PASSES: networks.update_s()}
        say(f"{label:<12} {'floors':<14} " + ", ".join(f"{name} {value:.3f}" for name, value in floors.items()))
        _note(seconds, floors, measured=i > 0)
    if physics.found:
        return seconds, []
    say(NO_ENGINE)
    return seconds, [NO_ENGINE]


def _note(seconds: Seconds, values: Dict[str, float], measured: bool) -> None:
    if measured:
        for name, value in values.items():
            seconds.setdefault(name, []).append(value)


def _in_words(phases: Dict[str, float]) -> str:
    inference = phases["rollout"] - phases["physics"] - phases["task"]
    return (f"iteration {phases['iteration']:.3f} s: physics {phases['physics']:.3f}, task {phases['task']:.3f}, "
            f"inference and glue {inference:.3f}, update {phases['update']:.3f}")


def _add_default_batch(config: TrainConfig, seconds: Seconds, say: Say) -> None:
    """One whole iteration of stock SB3 at its own batch size, measured once and from cold."""
    contender = stock_default_batch(config)
    phases = contender.iterate()
    contender.env.close()
    say(f"once         {DEFAULT_BATCH}: {_in_words(phases)}")
    _note(seconds, {f"{DEFAULT_BATCH} {phase}": phases[phase] for phase in PHASES}, measured=True)


# ---- rows


def rows(seconds: Seconds) -> List[Dict[str, Any]]:
    """The rows of ``bench.json``: measured times, what is derived from them, and ratios.

    Each has ``name``, ``median_s`` (of ``seconds``, one for each round; None for a ratio), ``ratio`` (the median of
    ``ratios``, one for each round; None for a time) and ``n``, the number of rounds behind it.
    """
    times = dict(seconds)
    names = [name[:-len(" iteration")] for name in seconds if name.endswith(" iteration")]
    for name in names:
        parts = _same_rounds(*(times[f"{name} {phase}"] for phase in ("rollout", "physics", "task")), times[FORWARDS])
        times[f"{name} glue"] = [rollout - physics - task - floor for rollout, physics, task, floor in parts]
    ratios: Dict[str, List[float]] = {}
    if PHYSICS in times:
        floors = [sum(parts) for parts in zip(times[PHYSICS], times[FORWARDS], times[PASSES])]
        for name in (name for name in names if name != DEFAULT_BATCH):  # its minibatches are not the floor's
            ratios[f"{name} iteration / floors"] = _paired(times[f"{name} iteration"], floors)
    for ours in (name for name in names if name in OURS):
        for name in (name for name in names if name not in OURS):
            ratios[f"{ours} iteration / {name} iteration"] = _paired(times[f"{ours} iteration"],
                                                                     times[f"{name} iteration"])
    made: List[Dict[str, Any]] = [
        {"name": name, "median_s": statistics.median(values), "ratio": None, "n": len(values), "seconds": values}
        for name, values in times.items()]
    made += [{"name": name, "median_s": None, "ratio": statistics.median(values), "n": len(values), "ratios": values}
             for name, values in ratios.items()]
    return made


def _paired(above: Sequence[float], below: Sequence[float]) -> List[float]:
    """Ratios round by round."""
    return [a / b for a, b in _same_rounds(above, below)]


def _same_rounds(*series: Sequence[float]) -> Iterator[Tuple[float, ...]]:
    """The values of one round after the other; what was measured once came after the last round and goes with it."""
    n = min(map(len, series))
    return zip(*(values[-n:] for values in series))


# ---- what it was measured on


def _memory_alone(algo: str, config: TrainConfig, gym_packages: Sequence[str], say: Say) -> float:
    """Peak memory, MB, of a process that does nothing but one iteration of a contender."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        try:
            peak = pool.submit(_iterate_alone, algo, config, gym_packages).result()
        except BrokenProcessPool as error:
            raise UserError(f"the process that measured the memory of {NAMES[algo]} at {config.n_envs} environments "
                            "was killed, as happens when memory runs out: give fewer --num-envs.") from error
    say(f"memory       {NAMES[algo]:<14} {peak:.0f} MB at its peak, alone in a process")
    return peak


def _iterate_alone(algo: str, config: TrainConfig, gym_packages: Sequence[str]) -> float:
    import_packages(gym_packages)
    make_contender(algo, config).iterate()
    return peak_memory_mb()


def _settings(ours: Contender, config: TrainConfig, plan: Plan) -> Dict[str, Any]:
    """What every contender ran with, and how each was wrapped."""
    assert isinstance(ours, Sb3Contender)
    model = ours.model
    return {
        "env": config.env, "env_kwargs": dict(config.env_kwargs), "num_envs": config.n_envs,
        "rounds": plan.rounds, "seed": plan.seed,
        "n_steps": model.n_steps, "n_epochs": model.n_epochs, "batch_size": model.batch_size,
        "minibatches": config.minibatches, "nets": model.policy.net_arch,
        "activation": model.policy.activation_fn.__name__, "learner_device": str(model.device),
        "learning_rate": f"{model.lr_schedule(1.0):g}, fixed for all contenders",
        "normalize": None if config.normalize is None else dict(config.normalize), "source": Path(config.source).name,
        "contenders": {
            "ours": "sb3_isaac's PPO on VecNormalize(IsaacVecEnv), both sb3_isaac's",
            "ours symmetric": "the same with symmetry, as `train` has it: weights are tied in pairs, which halves the "
                              "products between hidden layers",
            "sb3": "stock PPO on stock VecNormalize(VecMonitor(IsaacVecEnv))",
            DEFAULT_BATCH: "the same with SB3's default batch_size, one iteration from cold",
            "rsl_rl": "OnPolicyRunner on the tensors of IsaacVecEnv, its observation normaliser on, its logger off"},
        "phases": MEANING,
        "order": "contenders alternate round by round in one process, after one iteration each that is not measured",
        "memory": "the peak of one process for each contender, which runs one iteration",
    }


def _system() -> Dict[str, Any]:
    """The machine and the versions of what matters."""
    versions = installed_versions("sb3_isaac", "torch", "mujoco", "stable-baselines3", "rsl-rl-lib", "numpy")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu: Optional[str] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cores": cores, "cpu": _cpu_model(), "gpu": gpu, "platform": platform.platform(),
            "python": platform.python_version(), "versions": versions, "torch_threads": torch.get_num_threads(),
            "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}


def _cpu_model() -> str:
    """The processor's name, as Linux tells it, else as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
