"""Learning curves of one or more runs as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import atomic_file, current_folder
from sb3_isaac.contract.tensor_env import Panel
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import read_meta

COMMON = (Panel("rollout/ep_rew_mean", "reward of an episode\n(training)"),
          Panel("eval/reward_mean", "reward of an episode\n(evaluation)"))
"""What every task has."""


def draw(folders: Sequence[Path], labels: Sequence[str], out: Path) -> None:
    """One panel for each curve that a run has, environment steps along the bottom, goals of the stop rule in grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = [read_metrics(folder / "metrics.csv") for folder in folders]
    panels, goals = _what_to_draw(folders)
    panels = [panel for panel in panels if any(panel.key in metrics for metrics in runs)]
    if not panels:
        raise UserError(f"{folders[0]} has logged no finished episode yet: train longer.")
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for axis, panel in zip(axes[0], panels):
        for metrics, label in zip(runs, labels):
            if panel.key in metrics:
                _curve(axis, metrics, panel.key, label)
        axis.set_title(panel.title, fontsize=10)
        axis.set_xlabel("environment steps, millions")
        axis.grid(alpha=0.3)
        _goal(axis, goals.get(panel.key))
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def _what_to_draw(folders: Sequence[Path]) -> Tuple[List[Panel], Mapping[str, Any]]:
    """The panels of every run's task, and the stop rule of the first that has one."""
    panels: List[Panel] = list(COMMON)
    goals: Mapping[str, Any] = {}
    for folder in folders:
        place = next((p for p in (folder, current_folder(folder / "latest")) if (p / "meta.json").is_file()), None)
        meta = read_meta(place) if place is not None else {}
        panels += [panel for panel in (Panel(*row) for row in meta.get("panels", ())) if panel not in panels]
        goals = goals or meta.get("stop_rule", {})
    return panels, goals


def _curve(axis: Any, metrics: Mapping[str, np.ndarray], key: str, label: str) -> None:
    known = np.isfinite(metrics[key])
    steps = metrics["eval/steps" if key.startswith("eval/") and "eval/steps" in metrics else "step"]
    axis.plot(steps[known] / 1e6, metrics[key][known], label=label, linewidth=1.6,
              marker="o" if known.sum() == 1 else None)


def _goal(axis: Any, bounds: Optional[Sequence[Optional[float]]]) -> None:
    if bounds is None:
        return
    low, high = bounds
    if low is not None and high is not None:
        axis.axhspan(low, high, color="0.4", alpha=0.15)
    else:
        axis.axhline(low if high is None else high, color="0.4", linestyle="--", linewidth=1)
