"""``report.html``, one file that needs no network, and the same pictures as PNG."""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Sequence, Tuple

import optuna
from optuna.trial import TrialState

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.files import atomic_file, write_text
from sb3_isaac.contract.html import page, table
from sb3_isaac.tuning.final import Comparison
from sb3_isaac.tuning.plan import Plan
from sb3_isaac.tuning.results import UNITS, best_trial, values_beside
from sb3_isaac.tuning.space import Space

FIGURES: Tuple[Tuple[str, str, str], ...] = (
    ("history", "History", "plot_optimization_history"),
    ("learning", "Reports at equal environment steps", "plot_intermediate_values"),
    ("importance", "Importance", "plot_param_importances"),
    ("parallel", "Parallel coordinates", "plot_parallel_coordinate"),
    ("slices", "Slices", "plot_slice"),
    ("timeline", "Timeline", "plot_timeline"),
)
"""File name, title, and Optuna's function, which is in ``visualization`` and in ``visualization.matplotlib``."""


def write_report(plan: Plan, base: TrainConfig, space: Space, study: optuna.Study,
                 comparisons: Sequence[Comparison], words: Sequence[str]) -> None:
    """Write both into the study's folder."""
    parts = [f"<h1>{html.escape(plan.name)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in words)]
    best = best_trial(study, comparisons)
    if best is not None:
        parts += ["<h2>Values</h2>", table(["parameter", "shipped", f"trial {best.number}"],
                                            values_beside(plan, space, base, best))]
    for comparison in comparisons:
        rows = list(zip(comparison.seeds, comparison.theirs, comparison.ours))
        parts += [f"<h2>Final stage: {html.escape(comparison.candidate)}</h2>",
                  table(["seed", "shipped", comparison.candidate], rows), _final_figure(plan, comparison)]
    parts += _figures(plan, study)
    write_text(plan.folder / "report.html", _page(plan.name, parts))
    for name, _, function in FIGURES:
        _picture(plan.folder / f"{name}.png", study, function, UNITS[plan.goal])
    if comparisons:
        _final_picture(plan.folder / "final.png", plan, comparisons)


def _page(title: str, parts: Sequence[str]) -> str:
    from plotly.offline import get_plotlyjs

    return page(title, parts, head=f"<script>{get_plotlyjs()}</script>")


def _figures(plan: Plan, study: optuna.Study) -> Iterator[str]:
    for _, title, function in FIGURES:
        yield f"<h2>{title}</h2>"
        figure = _drawn(getattr(optuna.visualization, function), study, function, UNITS[plan.goal])
        yield ("<p class='none'>Too few different trials have completed to draw this.</p>" if figure is None
               else figure.to_html(full_html=False, include_plotlyjs=False))


def _drawn(draw: Callable[..., Any], study: optuna.Study, function: str, unit: str) -> Any:
    """The figure, or None while there is nothing to draw: Optuna says so by exceptions."""
    named: Dict[str, Any] = {"target_name": unit} if function not in ("plot_intermediate_values",
                                                                        "plot_timeline") else {}
    values = {t.value for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if function in ("plot_param_importances", "plot_slice", "plot_parallel_coordinate") and len(values) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return draw(study, **named)
        except (ValueError, RuntimeError):
            return None


def _picture(path: Path, study: optuna.Study, function: str, unit: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import optuna.visualization.matplotlib as pictures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = _drawn(getattr(pictures, function), study, function, unit)
        if drawn is not None:
            axes = np.ravel(drawn)
            figure = axes[0].figure
            figure.set_size_inches(max(8.0, 3.2 * len(axes)) if len(axes) > 1 else 8.0, 4.5)
            if len(axes) == 1:
                figure.tight_layout()
            with atomic_file(path) as temporary:
                figure.savefig(temporary, dpi=100, format="png", bbox_inches="tight")
        plt.close("all")


def _final_figure(plan: Plan, comparison: Comparison) -> str:
    """A line for each seed, from the shipped YAML to the candidate."""
    import plotly.graph_objects as go

    figure = go.Figure([go.Scatter(x=["shipped", comparison.candidate], y=[theirs, ours], mode="lines+markers",
                                   name=f"seed {seed}")
                        for seed, theirs, ours in zip(comparison.seeds, comparison.theirs, comparison.ours)])
    figure.update_layout(yaxis_title=UNITS[plan.goal], width=600)
    text: str = figure.to_html(full_html=False, include_plotlyjs=False)
    return text


def _final_picture(path: Path, plan: Plan, comparisons: Sequence[Comparison]) -> None:
    import matplotlib.pyplot as plt

    with plt.style.context("default"):  # Optuna's pictures leave their own
        figure, axes = plt.subplots(1, len(comparisons), figsize=(4.5 * len(comparisons), 3.6), squeeze=False,
                                    sharey=True)
        for axis, comparison in zip(axes[0], comparisons):
            for seed, theirs, ours in zip(comparison.seeds, comparison.theirs, comparison.ours):
                axis.plot(["shipped", comparison.candidate], [theirs, ours], marker="o", label=f"seed {seed}")
            axis.set_title(f"{comparison.candidate}: p = {comparison.p:.3f}", fontsize=10)
            axis.set_ylabel(UNITS[plan.goal])
            axis.grid(alpha=0.3)
            if plan.goal == "steps":
                cap = plan.final_timesteps or plan.budget(plan.config())
                axis.axhline(cap, color="0.4", linestyle="--", linewidth=1)
                axis.text(0.5, cap, "above: not met, by how much", ha="center", va="bottom", fontsize=8, color="0.3")
        axes[0][0].legend(fontsize=8)
        figure.tight_layout()
        with atomic_file(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
        plt.close(figure)
