"""Two groups of runs beside each other: figures with their uncertainty, curves as bands, one page of HTML."""

from __future__ import annotations

import base64
import html
import math
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.contract.html import page, table
from sb3_isaac.view.plot import Run, draw, goals_of, panels_of
from sb3_isaac.view.seeds import CONFIDENCE, Estimate, difference, estimate, probability_above

STEPS_TO_GOAL = "steps to the goal"
TRAINING_TIME = "training time, s"
HEAD = ("", "first", "second", "second - first", "P(second > first)")


class Row(NamedTuple):
    """One figure of both groups.

    ``values`` has a number for each run that has one: a run that never met its goal has no steps to it.
    """

    name: str
    first: Estimate
    second: Estimate
    difference: Estimate
    probability_above: float
    values: Tuple[Sequence[float], Sequence[float]]


def compare(first: Sequence[Run], second: Sequence[Run]) -> List[Row]:
    """Steps to the stop rule, training time, and the last evaluation's figures that the task goes by.

    :raises UserError: where the runs are not of one task, or there is no figure that both groups have.
    """
    runs = [*first, *second]
    envs = {str(run.meta.get("env")): run.folder for run in runs}
    if len(envs) > 1:
        (one, where), (other, there) = list(envs.items())[:2]
        raise UserError(f"{where} is a run of {one} and {there} of {other}: compare runs of one task.")
    rows = []
    for name, of in _figures(runs).items():
        values = tuple([x for x in map(of, group) if x is not None and math.isfinite(x)] for group in (first, second))
        if values[0] or values[1]:
            rows.append(Row(name, estimate(values[0]), estimate(values[1]), difference(*values),
                            probability_above(*values), (values[0], values[1])))
    if not rows:
        raise UserError(f"{runs[0].folder} and the other runs have no evaluation yet: train longer.")
    return rows


def _figures(runs: Sequence[Run]) -> Dict[str, Callable[[Run], Optional[float]]]:
    goals = goals_of(runs)
    keys = dict.fromkeys(key for key in ("eval/reward_mean", *goals, *(panel.key for panel in panels_of(runs)))
                         if key.startswith("eval/"))
    figures: Dict[str, Callable[[Run], Optional[float]]] = {}
    if goals:
        figures[STEPS_TO_GOAL] = lambda run: steps_to_goal(run, goals)
    figures[TRAINING_TIME] = lambda run: _last(run, "time/time_elapsed")
    for key in keys:
        figures[key[len("eval/"):]] = lambda run, key=key: _last(run, key)  # type: ignore[misc]
    return figures


def steps_to_goal(run: Run, goals: Mapping[str, Sequence[Optional[float]]]) -> Optional[float]:
    """Environment steps at the first evaluation within every range of the stop rule; None where there is none.

    Of a rollout's column it is the value of the last rollout before the evaluation.
    """
    steps = run.curve("eval/reward_mean")[0]
    met = np.ones(len(steps), dtype=bool)
    for key, (low, high) in goals.items():
        at, logged = run.curve(key)
        rows = np.searchsorted(at, steps, side="right") - 1
        values = np.where(rows < 0, np.nan, np.append(logged, np.nan)[rows])
        met &= (values >= (-math.inf if low is None else low)) & (values <= (math.inf if high is None else high))
    return float(steps[met][0]) if met.any() else None


def _last(run: Run, key: str) -> Optional[float]:
    values = run.curve(key)[1]
    return float(values[-1]) if len(values) else None


# ---- what is shown


def cells(rows: Sequence[Row], counts: Tuple[int, int]) -> List[List[str]]:
    """The rows as text; where not every run of a group has the figure, how many have."""
    return [[row.name, *(_written(value, len(had), count) for value, had, count
                         in zip((row.first, row.second), row.values, counts)),
             _written(row.difference), "-" if math.isnan(row.probability_above) else f"{row.probability_above:.2f}"]
            for row in rows]


def _written(value: Estimate, had: int = 0, count: int = 0) -> str:
    if math.isnan(value.mean):
        return f"none of {count}" if count else "-"
    interval = "" if math.isnan(value.low) else f" [{_number(value.low)}, {_number(value.high)}]"
    return f"{_number(value.mean)}{interval}" + (f" ({had} of {count})" if had < count else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def as_json(rows: Sequence[Row]) -> List[Dict[str, Any]]:
    """The rows as builtins, None for what is not a number."""
    def plain(value: float) -> Optional[float]:
        return value if math.isfinite(value) else None
    return [{"name": row.name, "probability_above": plain(row.probability_above), "values": list(row.values),
             **{name: dict(zip(Estimate._fields, map(plain, getattr(row, name))))
                for name in ("first", "second", "difference")}} for row in rows]


def write_page(rows: Sequence[Row], first: Sequence[Run], second: Sequence[Run], labels: Sequence[str],
               out: Path) -> None:
    """The table and the curves in one HTML file that needs no network."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "curves.png"
        draw([*first, *second], [labels[0]] * len(first) + [labels[1]] * len(second), picture)
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
    lists = "".join(f"<p>{html.escape(label)}: {html.escape(', '.join(str(run.folder) for run in group))}</p>"
                    for label, group in zip(labels, (first, second)))
    write_text(out, page(f"{labels[0]} and {labels[1]}", [
        f"<h1>{html.escape(labels[0])} and {html.escape(labels[1])}</h1>", lists,
        table(named(labels), cells(rows, (len(first), len(second)))),
        f"<p>Interquartile means over runs with {CONFIDENCE:.0%} bootstrap intervals; figures are of the last "
        f"evaluation of each run.</p><img alt='learning curves' src='data:image/png;base64,{data}'>"]))


def named(labels: Sequence[str]) -> List[str]:
    """The head of the table for these labels."""
    return [text.replace("first", labels[0]).replace("second", labels[1]) for text in HEAD]
