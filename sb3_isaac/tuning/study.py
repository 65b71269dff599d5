"""The study in its storage: made by the first worker, joined by all others, counted by everyone."""

from __future__ import annotations

import importlib.util
import json
import math
import time
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tuning.storage import RUNNER

IDENTITY = "sb3_isaac"
"""User attribute of a study: what has to be equal for its trials to be comparable."""
REASON = "reason"
"""User attribute of a failed trial that counts: why it has no value. A trial whose worker is gone has none."""
DIRECTION = {optuna.study.StudyDirection.MINIMIZE: "minimize", optuna.study.StudyDirection.MAXIMIZE: "maximize"}


@dataclass(frozen=True)
class Quota:
    """How many trials are wanted: of the whole study, or of one call of tune (`runner`)."""

    trials: int
    runner: Optional[str] = None

    def _counted(self, trials: Sequence[FrozenTrial]) -> List[FrozenTrial]:
        """Those that have come to an end of their own, or are under way. Of a trial whose worker is gone its repetition
        counts."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return [t for t in trials if (t.state in states or (t.state == TrialState.FAIL and REASON in t.user_attrs))
                and (self.runner is None or t.user_attrs.get(RUNNER) == self.runner)]

    def open(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether another trial may begin."""
        return len(self._counted(trials)) < self.trials

    def met(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether so many have ended."""
        return sum(t.state != TrialState.RUNNING for t in self._counted(trials)) >= self.trials

    def surplus(self, trials: Sequence[FrozenTrial], number: int) -> bool:
        """Whether trial `number` began although those before it are enough: two workers asked in the same moment."""
        return len([t for t in self._counted(trials) if t.number < number]) >= self.trials


def join(storage: BaseStorage, name: str, direction: str, identity: Mapping[str, Any],
         queue: Sequence[Tuple[Dict[str, Any], Dict[str, Any]]], where: str,
         about: Optional[Mapping[str, Any]] = None) -> Tuple[optuna.Study, bool]:
    """The study `name`, and whether it was made here; then the trials of `queue` (parameters, user attributes) wait,
    and the study has the user attributes `about`.

    :raises UserError: when a study of that name is not ours, is of another task, or has other directions or settings.
    """
    identity = json.loads(json.dumps(identity))  # as it comes back
    try:
        study = optuna.create_study(storage=storage, study_name=name,
                                    direction=optuna.study.StudyDirection[direction.upper()])
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _check(study, direction, identity, where)
        return study, False
    for params, attributes in queue:
        study.enqueue_trial(params, user_attrs=attributes)
    for key, value in (about or {}).items():
        study.set_user_attr(key, value)
    study.set_user_attr(IDENTITY, dict(identity))  # last: who joins waits for it
    return study, True


def _check(study: optuna.Study, direction: str, identity: Mapping[str, Any], where: str) -> None:
    name, begun = study.study_name, time.monotonic()
    found = [DIRECTION.get(d, "?") for d in study.directions]
    if found != [direction]:
        raise UserError(f"study {name!r} in {where} has directions {', '.join(found)} and this one {direction}: choose "
                        "another --study-name, or the objective it was begun with.")
    while IDENTITY not in study.user_attrs:
        if time.monotonic() - begun > 10.0:
            raise UserError(f"study {name!r} in {where} was not begun by sb3-isaac tune: choose another --study-name.")
        time.sleep(0.2)
    theirs = study.user_attrs[IDENTITY]
    for key in ("env", "algo"):
        if theirs.get(key) != identity[key]:
            raise UserError(f"study {name!r} in {where} belongs to another task, {theirs.get('algo')} on "
                            f"{theirs.get('env')}: choose another --study-name or --storage.")
    other = [key for key in identity if theirs.get(key) != identity[key]]
    if other:
        key = other[0]
        was = "" if isinstance(identity[key], dict) or "\n" in str(identity[key]) else \
            f", {theirs.get(key)!r} there and {identity[key]!r} here"
        raise UserError(f"study {name!r} in {where} was begun with another {key}{was}: give the same line, or choose "
                        "another --study-name.")


def make_sampler(kind: str, n_startup_trials: int, seed: int, salt: str) -> optuna.samplers.BaseSampler:
    """The sampler of one worker; `salt` tells workers apart, so that no two draw the same."""
    mixed = zlib.crc32(f"{seed} {salt}".encode())
    needs = {"cmaes": "cmaes", "gp": "scipy"}
    if kind in needs and importlib.util.find_spec(needs[kind]) is None:
        raise UserError(f"sampler {kind} needs {needs[kind]}, which is not installed: pip install {needs[kind]}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if kind == "tpe":
            return optuna.samplers.TPESampler(n_startup_trials=n_startup_trials, seed=mixed)
        if kind == "gp":
            return optuna.samplers.GPSampler(n_startup_trials=n_startup_trials, seed=mixed)
        if kind == "cmaes":
            return optuna.samplers.CmaEsSampler(n_startup_trials=max(1, n_startup_trials), seed=mixed)
        return optuna.samplers.RandomSampler(seed=mixed)


def make_pruner(kind: str, budget: int, interval: int, n_startup_trials: int) -> optuna.pruners.BasePruner:
    """The pruner; its steps are transitions.

    The median's waits for the first third of a trial, as rl-zoo's does, and for five trials to compare with.
    """
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=min(5, n_startup_trials), n_warmup_steps=budget // 3)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=interval, max_resource=budget, reduction_factor=3)
    return optuna.pruners.NopPruner()


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether its constraints hold."""
    return all(value <= 0 for value in trial.constraints.values())


def best_trials(study: optuna.Study, count: int) -> List[FrozenTrial]:
    """The best `count` completed trials, the best first: of the feasible ones, or of all where none is feasible."""
    complete = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
                if t.value is not None and math.isfinite(t.value)]
    complete = [t for t in complete if is_feasible(t)] or complete
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1.0
    return sorted(complete, key=lambda t: sign * float(t.value))[:count]  # type: ignore[arg-type]
