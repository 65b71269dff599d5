"""The pictures of a study's report, drawn from its trials alone; each is a matplotlib figure of the width of a page."""

from __future__ import annotations

import math
import warnings
from typing import Any, Dict, List, Optional, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.contract.figures import BLUE, GREY, PURPLE, VERMILLION, colour, drawing, plain_log, png
from sb3_isaac.tuning.final import Comparison

WIDTH_IN = 6.4
"""Narrow, so that letters are still read where a telephone shrinks the picture."""
COMPLETE, PRUNED, FAILED, SHIPPED = BLUE, GREY, PURPLE, VERMILLION
COLOURS = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


def is_shipped(trial: FrozenTrial) -> bool:
    """Whether it ran the YAML that the study started from."""
    return bool(trial.user_attrs.get("shipped"))


def history(study: optuna.Study, unit: str) -> Optional[bytes]:
    """The value of each complete trial, and the best so far."""
    trials = _complete(study)
    if not trials:
        return None
    better = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    best: List[float] = []
    for trial in trials:
        best.append(better([*best[-1:], _value(trial)]))
    with drawing(WIDTH_IN, 3.6) as (figure, axes):
        axis = axes[0, 0]
        axis.step([t.number for t in trials], best, where="post", color=COMPLETE, label="best so far")
        for shipped, colour, label in ((False, COMPLETE, "trial"), (True, SHIPPED, "the YAML as shipped")):
            these = [t for t in trials if is_shipped(t) == shipped]
            axis.scatter([t.number for t in these], [_value(t) for t in these], s=22, zorder=3, color=colour,
                         label=label)
        axis.set(xlabel="trial", ylabel=unit)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
        return png(figure)


def learning(study: optuna.Study, unit: str) -> Optional[bytes]:
    """What trials reported at equal steps; pruned ones end early."""
    trials = [t for t in _trials(study) if len(t.intermediate_values) > 1]
    if not trials:
        return None
    with drawing(WIDTH_IN, 3.6) as (figure, axes):
        axis = axes[0, 0]
        for trial in sorted(trials, key=is_shipped):
            steps = sorted(trial.intermediate_values)
            axis.plot(steps, [trial.intermediate_values[k] for k in steps], marker="o", markersize=3, linewidth=1.2,
                      color=SHIPPED if is_shipped(trial) else COLOURS.get(trial.state, FAILED), alpha=0.8)
        for colour, label in ((COMPLETE, "complete"), (PRUNED, "pruned"), (SHIPPED, "the YAML as shipped")):
            axis.plot([], [], color=colour, label=label)
        axis.set(xlabel="transitions", ylabel=unit)
        axis.legend()
        return png(figure)


def importance(study: optuna.Study, unit: str) -> Optional[bytes]:
    """How much of the spread of the values each parameter explains (fANOVA)."""
    if len({t.value for t in _complete(study)}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shares: Dict[str, float] = optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError):  # Optuna's word for too few trials
            return None
    names = sorted(shares, key=lambda name: shares[name])
    with drawing(WIDTH_IN, 0.9 + 0.32 * len(names)) as (figure, axes):
        axes[0, 0].barh(names, [shares[name] for name in names], color=COMPLETE)
        axes[0, 0].set(xlabel=f"share of the spread of: {unit}", xlim=(0.0, 1.0))
        return png(figure)


def slices(study: optuna.Study, unit: str) -> Optional[bytes]:
    """The value over each parameter, two in a row."""
    trials = _complete(study)
    names = sorted({name for t in trials for name in t.params})
    if len(trials) < 2 or not names:
        return None
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    with drawing(WIDTH_IN, 2.5 * rows, rows, columns, sharey=True) as (figure, axes):
        for k, axis in enumerate(axes.flat):
            axis.set_visible(k < len(names))
            if k < len(names):
                _slice(axis, names[k], sorted((t for t in trials if names[k] in t.params), key=is_shipped))
        for row in axes:
            row[0].set_ylabel(unit)
        return png(figure)


def _slice(axis: Any, name: str, trials: Sequence[FrozenTrial]) -> None:
    numeric = all(isinstance(t.params[name], (int, float)) and not isinstance(t.params[name], bool) for t in trials)
    # A long choice, such as a list of widths, is cut off: neighbours must not write over each other.
    at = [t.params[name] if numeric else str(t.params[name])[:14] for t in trials]
    axis.scatter(at, [_value(t) for t in trials], s=16, alpha=0.8,
                 color=[SHIPPED if is_shipped(t) else COMPLETE for t in trials])
    distribution = trials[0].distributions[name]
    if getattr(distribution, "log", False):
        axis.set_xscale("log")
        plain_log(axis.xaxis)
    axis.set_title(name if len(name) <= 34 else f"…{name[-33:]}")
    axis.tick_params(axis="x", labelsize=8, rotation=0 if numeric else 20)


def timeline(study: optuna.Study, unit: str) -> Optional[bytes]:
    """When each trial ran; of `unit` there is nothing in it."""
    trials = [t for t in _trials(study) if t.datetime_start and t.datetime_complete]
    if not trials:
        return None
    first = min(t.datetime_start for t in trials if t.datetime_start)
    with drawing(WIDTH_IN, min(8.0, 1.2 + 0.16 * len(trials))) as (figure, axes):
        for trial in trials:
            assert trial.datetime_start and trial.datetime_complete
            axes[0, 0].barh(trial.number, (trial.datetime_complete - trial.datetime_start).total_seconds() / 60,
                            left=(trial.datetime_start - first).total_seconds() / 60, height=0.8,
                            color=COLOURS.get(trial.state, FAILED))
        axes[0, 0].set(xlabel="minutes", ylabel="trial")
        axes[0, 0].yaxis.get_major_locator().set_params(integer=True)
        axes[0, 0].invert_yaxis()
        return png(figure)


def paired(comparisons: Sequence[Comparison], unit: str, cap: Optional[int]) -> bytes:
    """A line for each seed, from the shipped YAML to the candidate; `cap` is where the stop rule was not met."""
    with drawing(WIDTH_IN, 3.6, 1, len(comparisons), sharey=True) as (figure, axes):
        for axis, comparison in zip(axes[0], comparisons):
            for k, (seed, theirs, ours) in enumerate(zip(comparison.seeds, comparison.theirs, comparison.ours)):
                axis.plot(["shipped", comparison.candidate], [theirs, ours], marker="o", color=colour(k),
                          label=f"seed {seed}")
            axis.set_title(f"{comparison.candidate}: p = {comparison.p:.3f}")
            axis.margins(x=0.25)
            if cap is not None:
                axis.axhline(cap, color=GREY, linestyle="--", linewidth=1)
                axis.text(0.5, cap, "above: not met, by how much", ha="center", va="bottom", fontsize=8)
        axes[0, 0].set_ylabel(unit)
        axes[0, 0].legend()
        return png(figure)


def _trials(study: optuna.Study) -> List[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def _complete(study: optuna.Study) -> List[FrozenTrial]:
    return [t for t in _trials(study) if t.state == TrialState.COMPLETE and t.value is not None]


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
