"""The picture of ``sb3-isaac robustness``: success as heat maps, one for each pair of conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence

from sb3_isaac.contract.figures import figure_of, save
from sb3_isaac.rl.policy.robustness import mean_success


def success_map(report: Mapping[str, Any], x: str, y: str) -> List[List[Optional[float]]]:
    """Success at each value of condition `y` (rows) and `x` (columns), averaged over the other conditions."""
    conditions = report["conditions"]
    return [[mean_success(report["cells"], {x: across, y: down}) for across in conditions[x]]
            for down in conditions[y]]


def draw(reports: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Write a PNG of one or two reports, by the name of their run, of the same conditions."""
    names = [name for name, values in next(iter(reports.values()))["conditions"].items() if len(values) > 1]
    size = max(len(names) - 1, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    with figure_of(2.1 * size * len(reports) + 1.0, 1.8 * size + 1.0) as figure:
        panels = figure.subfigures(1, len(reports), squeeze=False)[0]
        for panel, (name, report) in zip(panels, reports.items()):
            axes = panel.subplots(size, size, squeeze=False)
            panel.suptitle(f"{name}: success {report['success']:.0%}", fontsize=10)
            for row in range(size):
                for column in range(size):
                    shown = column <= row and len(names) > 1
                    axes[row][column].axis("on" if shown else "off")
                    if shown:
                        _draw_map(axes[row][column], report, names[column], names[row + 1], column == 0,
                                  row == size - 1)
        save(figure, out)


def _draw_map(axis: Any, report: Mapping[str, Any], x: str, y: str, left: bool, bottom: bool) -> None:
    values = success_map(report, x, y)
    axis.imshow([[float("nan") if value is None else value for value in row] for row in values], vmin=0.0, vmax=1.0,
                cmap="cividis", aspect="auto", origin="lower")
    axis.grid(False)
    for j, row in enumerate(values):
        for i, value in enumerate(row):
            axis.text(i, j, "–" if value is None else f"{100 * value:.0f}", ha="center", va="center", fontsize=8,
                      color="black" if value is None or value > 0.5 else "white")
    _label(axis.set_xticks, axis.set_xlabel, report["conditions"][x], x if bottom else None)
    _label(axis.set_yticks, axis.set_ylabel, report["conditions"][y], y if left else None)


def _label(set_ticks: Any, set_label: Any, values: Sequence[float], name: Optional[str]) -> None:
    set_ticks(range(len(values)), [f"{value:g}" for value in values] if name else [], fontsize=8)
    if name:
        set_label(name, fontsize=9)
