"""What a study leaves behind besides its storage: best.yml, meta.json, and a summary in words."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.config import TrainConfig, dump_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.contract.wording import steps as told_steps
from sb3_isaac.rl.training.run_folder import installed_versions
from sb3_isaac.tuning.final import Comparison
from sb3_isaac.tuning.goal import FALLS_KEY
from sb3_isaac.tuning.passwords import hidden_in, shown
from sb3_isaac.tuning.plan import Plan
from sb3_isaac.tuning.space import Space
from sb3_isaac.tuning.study import REASON, best_trials, is_feasible

UNITS = {"steps": "steps to the stop rule", "reward": "reward"}


def make_folder(plan: Plan) -> None:
    """The study's folder."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the study's folder {plan.folder} ({error.strerror}): choose another one with "
                        "-f.") from error


def trial_config(plan: Plan, space: Space, trial: FrozenTrial) -> TrainConfig:
    """The configuration that ``sb3-isaac train`` would run `trial` with."""
    config = plan.config(space.draw(optuna.trial.FixedTrial(trial.params)))
    budget = config.n_timesteps if plan.goal == "steps" else plan.budget(config)
    return replace(config, seed=None, n_timesteps=budget)


def write_trial(plan: Plan, space: Space, study: optuna.Study, number: int) -> Path:
    """``trial_<number>.yml``, a YAML for ``sb3-isaac train -conf``."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials) or not trials[number].params:
        raise UserError(f"study {plan.name!r} has no trial {number} with values: it has {len(trials)} trials, "
                        "counted from 0.")
    make_folder(plan)
    path = plan.folder / f"trial_{number}.yml"
    write_text(path, _yaml([trial_words(plan, trials[number])], trial_config(plan, space, trials[number])))
    return path


def write_best(plan: Plan, space: Space, study: optuna.Study, comparisons: Sequence[Comparison],
               comments: Sequence[str]) -> Optional[Path]:
    """``best.yml``: of the final stage where one won it, else of the search; None where no trial is feasible."""
    best = best_trial(study, comparisons)
    if best is None:
        return None
    path = plan.folder / "best.yml"
    write_text(path, _yaml(list(dict.fromkeys([trial_words(plan, best), *comments])), trial_config(plan, space, best)))
    return path


def best_trial(study: optuna.Study, comparisons: Sequence[Comparison]) -> Optional[FrozenTrial]:
    """The winner of the final stage, else the best of the search."""
    for comparison in comparisons:
        if comparison.better:
            return study.get_trials(deepcopy=False)[int(comparison.candidate.split()[-1])]
    found = best_trials(study, 1)
    return found[0] if found else None


def _yaml(comments: Sequence[str], config: TrainConfig) -> str:
    return "".join(f"# {line}\n" for text in comments for line in text.splitlines()) + "\n" + dump_config(config)


def trial_words(plan: Plan, trial: FrozenTrial) -> str:
    """Which trial it is and what it is worth."""
    what = "the YAML as shipped" if trial.user_attrs.get("shipped") else "not the YAML as shipped"
    return f"Trial {trial.number} of study {plan.name} ({what}): {value_words(plan, trial.value)}."


def value_words(plan: Plan, value: Optional[float]) -> str:
    """What the value of a trial means."""
    if value is None:
        return "no value"
    budget = plan.budget(plan.config())
    if plan.goal == "steps" and value > budget:
        return f"stop rule not met in {budget:,} steps, {value / budget - 1:.2f} away from it"
    return f"{UNITS[plan.goal]} {value:,.0f}" if plan.goal == "steps" else f"{UNITS[plan.goal]} {value:,.1f}"


def _place(plan: Plan) -> str:
    """The name of the study's database or file alone: folders are moved, and hosts have other names elsewhere."""
    return shown(plan.storage_name).split("?")[0].replace("\\", "/").rsplit("/", 1)[-1]


def check_folder(plan: Plan) -> None:
    """Refuse a folder with the results of a study in another storage, which this one's would replace."""
    path = plan.folder / "meta.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8")).get("storage", _place(plan))
    except (OSError, ValueError, AttributeError):
        return
    if before != _place(plan):
        raise UserError(f"{plan.folder} has the results of the study in {before}, and this one is in {_place(plan)}: "
                        "choose another --study-name or -f.")


def write_meta(plan: Plan, base: TrainConfig) -> None:
    """``meta.json``: settings, versions, command line; ``config.yml``: the YAML that trials started from."""
    meta = {"plan": plan.flags(), "storage": _place(plan), "command_line": sys.argv,
            "python": platform.python_version(), "platform": platform.platform(), "versions": installed_versions(
                "sb3_isaac", "optuna", "stable-baselines3", "torch", "mujoco", "numpy")}
    text = json.dumps(hidden_in(meta, plan.storage_name), indent=2, default=str) + "\n"
    write_text(plan.folder / "meta.json", text)
    write_text(plan.folder / "config.yml", dump_config(base))


def costs(trials: Sequence[FrozenTrial]) -> Dict[str, float]:
    """Seconds of all ended trials together: ``all``, ``build``, ``evaluate``, ``storage``; the rest of all is training.

    ``all`` is from the asking for a trial to its end, sampling included.
    """
    spent = {"all": 0.0, "build": 0.0, "evaluate": 0.0, "storage": 0.0}
    for trial in trials:
        seconds = trial.user_attrs.get("seconds")
        if seconds is None or trial.duration is None:
            continue
        whole = trial.duration.total_seconds()
        spent["all"] += whole
        for key in ("build", "evaluate"):
            spent[key] += seconds[key]
        training = seconds["all"] - seconds["build"] - seconds["evaluate"] - seconds["storage"]
        spent["storage"] += whole - training - seconds["build"] - seconds["evaluate"]
    return spent


def summary(plan: Plan, study: optuna.Study, comparisons: Sequence[Comparison]) -> List[str]:
    """What came out, in a few sentences."""
    trials = study.get_trials(deepcopy=False)
    state = {s: sum(t.state == s for t in trials) for s in TrialState}
    failed = [t for t in trials if t.state == TrialState.FAIL and REASON in t.user_attrs]
    ended = state[TrialState.COMPLETE] + state[TrialState.PRUNED] + len(failed)
    steps = sum(t.user_attrs.get("steps", 0) for t in trials)
    lines = [f"{ended} trials in {told_steps(steps)} steps: {state[TrialState.COMPLETE]} complete, "
             f"{state[TrialState.PRUNED]} pruned ({100 * state[TrialState.PRUNED] / max(1, ended):.0f}%), "
             f"{len(failed)} failed."]
    spent = costs(trials)
    if spent["all"]:
        share = {key: 100 * spent[key] / spent["all"] for key in ("build", "evaluate", "storage")}
        lines.append(f"Beyond training: {sum(share.values()):.1f}% of a trial (building {share['build']:.1f}%, "
                     f"evaluation {share['evaluate']:.1f}%, storage and sampling {share['storage']:.1f}%).")
    shipped = next((t for t in trials if t.user_attrs.get("shipped") and t.state == TrialState.COMPLETE), None)
    best = best_trials(study, 1)
    if not best:
        return [*lines, "No trial is complete yet: more trials, or a larger budget."]
    if not is_feasible(best[0]):
        lines.append(f"No trial has a {FALLS_KEY} of at most {plan.max_falls:g} yet (--max-falls); the best by value:")
    lines.append(trial_words(plan, best[0]))
    if shipped is not None and shipped.number != best[0].number:
        lines.append(f"The YAML as shipped, with the same seed: {value_words(plan, shipped.value)}.")
    cap = (plan.final_timesteps or plan.budget(plan.config())) if plan.goal == "steps" else None
    lines += [_capital(comparison.sentence(UNITS[plan.goal], cap)) for comparison in comparisons]
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def values_beside(plan: Plan, space: Space, base: TrainConfig, trial: FrozenTrial) -> List[List[Any]]:
    """Rows of parameter, shipped value, value of `trial`."""
    shipped = plan.shipped(base, space)
    return [[name, shipped.get(name, "–"), trial.params.get(name, "–")] for name in
            dict.fromkeys([*shipped, *trial.params])]
