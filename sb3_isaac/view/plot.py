"""Learning curves of one or more runs as a picture. Runs of the same label are seeds of one thing: drawn as a band."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import LARGEST_FLOAT, UserError
from sb3_isaac.contract.figures import GREY, colour, drawing, line_style, save
from sb3_isaac.contract.files import current_folder
from sb3_isaac.contract.tensor_env import Panel
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import read_meta
from sb3_isaac.view.seeds import band

COMMON = (Panel("rollout/ep_rew_mean", "reward of an episode\n(training)"),
          Panel("eval/reward_mean", "reward of an episode\n(evaluation)"))
"""What every task has."""
POINTS = 100
"""Of a band's curve: seeds are evaluated at different steps, and are interpolated to the same ones."""
Metrics = Mapping[str, np.ndarray]


class Run(NamedTuple):
    """What a run folder tells: columns of ``metrics.csv``, and ``meta.json`` (empty before the first checkpoint)."""

    folder: Path
    metrics: Metrics
    meta: Mapping[str, Any]

    def curve(self, key: str) -> Tuple[np.ndarray, np.ndarray]:
        """Environment steps and values of a column where it has any; both empty where it has none."""
        values = self.metrics.get(key, np.zeros(0))
        steps = self.metrics.get("eval/steps" if key.startswith("eval/") else "step",
                                 self.metrics.get("step", np.zeros(0)))
        if not len(values):
            return values, values
        known = (np.abs(values) <= LARGEST_FLOAT) & np.isfinite(steps)
        return steps[known], values[known]


def read_run(folder: Path) -> Run:
    """The run in `folder`.

    :raises UserError: where it is no run folder.
    """
    if not (folder / "metrics.csv").is_file():
        raise UserError(f"{str(folder)!r} holds no metrics.csv: give a folder that 'sb3-isaac train' wrote.")
    place = next((p for p in (folder, current_folder(folder / "latest")) if (p / "meta.json").is_file()), None)
    return Run(folder, read_metrics(folder / "metrics.csv"), read_meta(place) if place is not None else {})


def draw(runs: Sequence[Run], labels: Sequence[str], out: Path) -> None:
    """One panel for each curve that a run has, environment steps along the bottom, goals of the stop rule in grey.

    :raises UserError: where no run has finished an episode.
    """
    panels = [panel for panel in panels_of(runs) if any(len(run.curve(panel.key)[0]) for run in runs)]
    if not panels:
        raise UserError(f"{runs[0].folder} has logged no finished episode yet: train longer.")
    goals = goals_of(runs)
    with drawing(4.0 * len(panels), 3.4, 1, len(panels), sharex=True) as (figure, axes):
        for axis, panel in zip(axes[0], panels):
            for number, (label, group) in enumerate(grouped(runs, labels).items()):
                _draw_group(axis, [curve for curve in (run.curve(panel.key) for run in group) if len(curve[0])], label,
                            {"color": colour(number), "linestyle": line_style(number)})
            axis.set(title=panel.title, xlabel="environment steps, millions")
            _goal(axis, goals.get(panel.key))
        axes[0][0].legend()
        save(figure, out)


def panels_of(runs: Sequence[Run]) -> List[Panel]:
    """What every task has, then the panels of each run's own task."""
    panels: List[Panel] = list(COMMON)
    for run in runs:
        panels += [panel for panel in (Panel(*row) for row in run.meta.get("panels", ())) if panel not in panels]
    return panels


def goals_of(runs: Sequence[Run]) -> Mapping[str, Sequence[Optional[float]]]:
    """The ranges (low, high) of the first stop rule, None for a bound at infinity; empty where no task has one."""
    return next((run.meta["stop_rule"] for run in runs if run.meta.get("stop_rule")), {})


def grouped(runs: Sequence[Run], labels: Sequence[str]) -> Dict[str, List[Run]]:
    """The runs of each label, labels sorted as people count: seed_2 before seed_10."""
    groups: Dict[str, List[Run]] = {}
    for label, run in sorted(zip(labels, runs), key=lambda pair: _natural(pair[0])):
        groups.setdefault(label, []).append(run)
    return groups


def _natural(label: str) -> List[Tuple[bool, int, str]]:
    return [(not part.isdecimal(), int(part[:18]) if part.isdecimal() else 0, part)
            for part in re.split(r"(\d+)", label)]


def _draw_group(axis: Any, curves: Sequence[Tuple[np.ndarray, np.ndarray]], label: str, style: Dict[str, str]) -> None:
    if len(curves) == 1:
        steps, values = curves[0]
        axis.plot(steps / 1e6, values, label=label, marker="o" if len(steps) == 1 else None, **style)
    elif curves:
        steps, table = on_common_steps(curves)
        low, mean, high = band(table)
        axis.plot(steps / 1e6, mean, label=f"{label} ({len(curves)} runs)", marker="o" if len(steps) == 1 else None,
                  **style)
        axis.fill_between(steps / 1e6, low, high, color=style["color"], alpha=0.2, linewidth=0)


def on_common_steps(curves: Sequence[Tuple[np.ndarray, np.ndarray]]) -> Tuple[np.ndarray, np.ndarray]:
    """Steps (T,) and values (seeds, T), interpolated. A run that met its goal and stopped keeps its last value."""
    first, last = max(steps[0] for steps, _ in curves), max(steps[-1] for steps, _ in curves)
    grid = np.unique(np.linspace(first, last, POINTS))
    return grid, np.array([np.interp(grid, steps, values) for steps, values in curves])


def _goal(axis: Any, bounds: Optional[Sequence[Optional[float]]]) -> None:
    if bounds is None:
        return
    low, high = bounds
    if low is not None and high is not None:
        axis.axhspan(low, high, color=GREY, alpha=0.2, linewidth=0)
    else:
        axis.axhline(low if high is None else high, color=GREY, linestyle="--", linewidth=1)
