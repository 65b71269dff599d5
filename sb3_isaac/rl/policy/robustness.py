"""How a policy holds under conditions: every combination of their values at once, some environments each."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.clients import registered_id
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.rl.policy.evaluate import env_of, make_eval_env, run_episodes
from sb3_isaac.tasks import task_class

MOST_CELLS = 100_000


def conditions_of(env_id: str, given: Mapping[str, Sequence[float]]) -> Dict[str, List[float]]:
    """The conditions of a task with the values that are `given` for some of them; those without values are left out.

    :raises UserError: for a task without any, and for unknown ones.
    """
    task = registered_id(env_id)
    own = {} if task is None else task_class(task).CONDITIONS
    if not own:
        raise UserError(f"{env_id} has no conditions to try a policy under: give its class CONDITIONS, "
                        "condition_options and outcomes.")
    for name in given:
        if name not in own:
            raise unknown("condition", name, own, where=env_id)
    tried = {name: given.get(name, values) for name, values in own.items()}
    return {name: [float(value) for value in values] for name, values in tried.items() if values}


def try_under(policy: PolicyModule, conditions: Mapping[str, Sequence[float]], episodes: int, *,
              command: Optional[Sequence[Any]] = None, seed: Optional[int] = None, env: Optional[str] = None,
              on_step: Optional[Callable[[int, int], None]] = None, **extra: Any) -> Dict[str, Any]:
    """Run episodes in every cell, that is, every combination of the conditions' values, all at the same time.

    ``cells`` is a list of ``{condition: value, ..., success, reward, terminated, ...}``, means over the cell's
    episodes; ``success`` is the mean over all cells, ``worst`` the pair of values of two conditions under which there
    was least.

    :param episodes: in each cell.
    :param extra: options in place of those that the policy was trained with.
    """
    cells = list(itertools.product(*conditions.values()))
    if len(cells) * episodes > MOST_CELLS:
        raise UserError(f"{len(cells)} combinations of conditions with {episodes} episodes each are more than "
                        f"{MOST_CELLS:,} episodes: give fewer values, or fewer episodes.")
    each = {name: list(values) for name, values in zip(conditions, zip(*cells))}
    task = task_class(env_of(policy, env))
    options = task.condition_options({**policy.info.get("env_kwargs", {}), **extra}, each)
    made = make_eval_env(policy, len(cells) * episodes, command, seed, env, **{**extra, **options})
    try:
        ran = run_episodes(made, policy, seed, on_step)
        outcomes = made.outcomes(ran)
    finally:
        made.close()
    of = torch.arange(made.num_envs)[ran.good.cpu()] % len(cells)
    figures = {"success": outcomes.pop("success"), "reward": ran.reward[ran.good],
               "terminated": ran.terminated[ran.good], **outcomes}
    rows: List[Dict[str, Any]] = [dict(zip(conditions, cell)) for cell in cells]
    count = of.bincount(minlength=len(cells))
    for name, values in figures.items():
        sums = torch.zeros(len(cells)).index_add_(0, of, values.cpu().float())
        for row, total, n in zip(rows, sums.tolist(), count.tolist()):
            row[name] = total / n if n else None
    for row, n in zip(rows, count.tolist()):
        row["episodes"] = n
    return {"conditions": {name: list(values) for name, values in conditions.items()}, "cells": rows,
            **{name: float(values.float().mean()) for name, values in figures.items()},
            "episodes": len(of), "bad_worlds": int(ran.diverged.sum()), "seed": seed, "worst": _worst(rows, conditions)}


def _worst(rows: Sequence[Mapping[str, Any]], conditions: Mapping[str, Sequence[float]]) -> Dict[str, Any]:
    """The values of two conditions under which success was least, averaged over the others."""
    names = [name for name, values in conditions.items() if len(values) > 1]
    pairs: List[Tuple[str, ...]] = [*itertools.combinations(names, 2)] or [tuple(names)]
    found = []
    for pair in pairs:
        for values in itertools.product(*(conditions[name] for name in pair)):
            mean = mean_success(rows, dict(zip(pair, values)))
            if mean is not None:
                found.append({**dict(zip(pair, values)), "success": mean})
    return min(found, key=lambda one: one["success"])


def mean_success(rows: Sequence[Mapping[str, Any]], at: Mapping[str, float]) -> Optional[float]:
    """Mean success of the cells where conditions have the values `at`; None where no episode was good."""
    values = [row["success"] for row in rows if row["success"] is not None
              and all(row[name] == value for name, value in at.items())]
    return sum(values) / len(values) if values else None


def verdict(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """One sentence on one or two reports by the name of their run."""
    said = []
    for name, report in reports.items():
        worst = ", ".join(f"{key} {value:g}" for key, value in report["worst"].items() if key != "success")
        least = f", least at {worst}: {report['worst']['success']:.0%}" if worst else ""
        said.append(f"{name} succeeds in {report['success']:.1%} of {report['episodes']} episodes{least}")
    if len(said) == 1:
        return f"{said[0]}."
    first, second = reports
    ahead = reports[first]["success"] - reports[second]["success"]
    better = first if ahead > 0 else second
    return f"{'; '.join(said)}: {f'{better} holds better' if abs(ahead) >= 0.01 else 'they hold alike'}."
