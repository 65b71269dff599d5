"""How throughput grows with the number of environments in one simulation."""

from __future__ import annotations

import statistics
from typing import Any, Callable, Dict, List, Sequence

import torch

from sb3_isaac.bench.contenders import Sb3Contender
from sb3_isaac.bench.timing import now
from sb3_isaac.config import TrainConfig

LEAST_STEPPED = 4096
"""Transitions of a measurement of stepping alone, at least, where 20 rollouts' length suffices for them."""


def measure_speed(configs: Sequence[TrainConfig], rounds: int, say: Callable[[str], None]) -> List[Dict[str, Any]]:
    """Transitions per second for each of `configs`, in ascending order of their number of environments.

    ``stepping_per_s`` is the environment alone, under random actions given as tensors; ``training_per_s`` whole
    iterations of our PPO. Both are medians over the rounds; ``stepping_speedup`` and ``training_speedup`` are the
    medians of the ratios to the first of `configs` (``speedup_over`` environments) in the same round.
    """
    contenders = [Sb3Contender(config) for config in configs]
    stepping: List[List[float]] = [[] for _ in contenders]
    training: List[List[float]] = [[] for _ in contenders]
    for i in range(rounds + 1):
        label = f"round {i}/{rounds}" if i else "warming up"
        for k, contender in enumerate(contenders):
            per_iteration = contender.model.n_steps * contender.env.num_envs
            # Training after this begins with one stale observation, which costs what any other does.
            stepped = _stepping_per_s(contender) if i else 0.0
            trained = per_iteration / contender.iterate()["iteration"]
            if i:
                stepping[k].append(stepped)
                training[k].append(trained)
                say(f"{label:<12} {contender.env.num_envs} environments: stepping {stepped:,.0f} transitions/s, "
                    f"training {trained:,.0f}")
    for contender in contenders:
        contender.env.close()
    return [{"num_envs": contender.env.num_envs, "batch_size": contender.model.batch_size,
             "stepping_per_s": statistics.median(stepping[k]), "training_per_s": statistics.median(training[k]),
             "stepping_speedup": _speedup(stepping[k], stepping[0]),
             "training_speedup": _speedup(training[k], training[0]),
             "speedup_over": contenders[0].env.num_envs, "n": rounds} for k, contender in enumerate(contenders)]


def _stepping_per_s(contender: Sb3Contender) -> float:
    """Transitions per second of the environment under uniformly random actions."""
    env, n_steps = contender.env, contender.model.n_steps
    steps = n_steps * max(1, min(20, LEAST_STEPPED // env.num_envs))
    actions = 2.0 * torch.rand(n_steps, env.num_envs, *(env.action_space.shape or ()), device=env.device) - 1.0
    start = now()
    for t in range(steps):
        env.step_tensor(actions[t % n_steps])
    return steps * env.num_envs / (now() - start)


def _speedup(rates: Sequence[float], first: Sequence[float]) -> float:
    return statistics.median(rate / base for rate, base in zip(rates, first))
