"""``report.html``, one file that needs no network, and the same pictures as PNG."""

from __future__ import annotations

import base64
import html
import shlex
from typing import Callable, List, Optional, Sequence, Tuple

import optuna

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.files import write_bytes, write_text
from sb3_isaac.contract.html import page, table
from sb3_isaac.tuning import pictures
from sb3_isaac.tuning.final import Comparison
from sb3_isaac.tuning.plan import Plan
from sb3_isaac.tuning.results import UNITS, best_trial, values_beside
from sb3_isaac.tuning.space import Space

FIGURES: Tuple[Tuple[str, str, Callable[[optuna.Study, str], Optional[bytes]]], ...] = (
    ("history", "History", pictures.history),
    ("learning", "Reports at equal environment steps", pictures.learning),
    ("importance", "Importance", pictures.importance),
    ("slices", "Slices", pictures.slices),
    ("timeline", "Timeline", pictures.timeline),
)
"""File name, title, and what draws it."""


def write_report(plan: Plan, base: TrainConfig, space: Space, study: optuna.Study,
                 comparisons: Sequence[Comparison], words: Sequence[str]) -> None:
    """Write both into the study's folder."""
    parts = [f"<h1>{html.escape(plan.name)}</h1>", f"<p>{html.escape(_metric(plan))}</p>",
             *(f"<p>{html.escape(line)}</p>" for line in words)]
    best = best_trial(study, comparisons)
    if best is not None:
        parts += [f"<p>{_verdict(best.number, pictures.is_shipped(best), comparisons)}</p>",
                  f"<pre>{html.escape(_command(plan))}</pre>", "<h2>Values</h2>",
                  table(["parameter", "shipped", f"trial {best.number}"], values_beside(plan, space, base, best))]
    parts += _final_stage(plan, comparisons)
    for name, title, draw in FIGURES:
        parts += [f"<h2>{title}</h2>", _picture(plan, name, title, draw(study, UNITS[plan.goal]))]
    write_text(plan.folder / "report.html", page(plan.name, parts))


def _metric(plan: Plan) -> str:
    """What a trial is worth."""
    if plan.goal == "steps":
        return ("The value of a trial is the number of transitions until an evaluation meets the task's stop rule: "
                f"fewer are better. Above the budget of {plan.budget(plan.config()):,} it was not met, and the rest "
                "says how far it was from it.")
    return "The value of a trial is the mean reward of an evaluation at the end of its budget: more is better."


def _verdict(number: int, shipped: bool, comparisons: Sequence[Comparison]) -> str:
    if shipped:
        return "The best settings are those that the study started from: best.yml holds them."
    if not comparisons:
        return f"best.yml holds trial {number}. One run each decides nothing: compare over seeds (--final-top)."
    if any(comparison.better for comparison in comparisons):
        return f"best.yml holds trial {number}, which is better than the settings that the study started from."
    return (f"best.yml holds trial {number}, which is not shown to be better than the settings that the study started "
            "from: keep those.")


def _command(plan: Plan) -> str:
    packages = "".join(f" --gym-packages {name}" for name in plan.gym_packages)
    return (f"sb3-isaac train --env {plan.env} --algo {plan.algo} "
            f"-conf {shlex.quote(str(plan.folder / 'best.yml'))}{packages}")


def _final_stage(plan: Plan, comparisons: Sequence[Comparison]) -> List[str]:
    """Tables of the candidates, and their picture."""
    if not comparisons:
        return []
    parts = []
    for comparison in comparisons:
        rows = list(zip(comparison.seeds, comparison.theirs, comparison.ours))
        parts += [f"<h2>Final stage: {html.escape(comparison.candidate)}</h2>",
                  table(["seed", "shipped", comparison.candidate], rows)]
    cap = (plan.final_timesteps or plan.budget(plan.config())) if plan.goal == "steps" else None
    drawn = pictures.paired(comparisons, UNITS[plan.goal], cap)
    return [*parts, _picture(plan, "final", "a line for each seed", drawn)]


def _picture(plan: Plan, name: str, title: str, drawn: Optional[bytes]) -> str:
    """The picture as a file, and inside of the page."""
    if drawn is None:
        return "<p class='none'>Too few different trials have completed to draw this.</p>"
    write_bytes(plan.folder / f"{name}.png", drawn)
    return f"<img alt='{html.escape(title)}' src='data:image/png;base64,{base64.b64encode(drawn).decode()}'>"
