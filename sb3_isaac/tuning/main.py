"""A study from its plan to its files: check, search on all workers, compare the best with the shipped YAML."""

from __future__ import annotations

import functools
import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import optuna
from optuna.storages import BaseStorage

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.contract.output import say
from sb3_isaac.contract.signals import Interrupts
from sb3_isaac.contract.wording import steps
from sb3_isaac.envs.registration import import_packages
from sb3_isaac.rl.training import build
from sb3_isaac.tuning import results
from sb3_isaac.tuning.final import CANDIDATE, SEED, SHIPPED, Comparison, as_builtins, compare, queue
from sb3_isaac.tuning.goal import Goal
from sb3_isaac.tuning.launch import run_in_processes
from sb3_isaac.tuning.passwords import shown
from sb3_isaac.tuning.plan import Plan
from sb3_isaac.tuning.report import write_report
from sb3_isaac.tuning.simulations import TrialSimulations
from sb3_isaac.tuning.space import Space
from sb3_isaac.tuning.storage import open_storage
from sb3_isaac.tuning.study import Quota, best_trials, join, make_pruner, make_sampler
from sb3_isaac.tuning.worker import Job, Worker

CANDIDATES, SHIPPED_TRIAL = "candidates", "shipped"


@dataclass(frozen=True)
class _Call:
    """What one call of :func:`tune` hands to its workers; it can be pickled."""

    plan: Plan
    study_name: str
    runner: str
    salt: str
    """Makes the samplers of this call differ from those of others; empty in the call that created the study."""
    final: bool = False


def tune(plan: Plan) -> Path:
    """Run `plan`, alone or together with others that do; returns the study's folder with its results.

    :raises UserError: for anything that is wrong with the plan, its space or its storage, before any trial; and when
        the storage is lost for good.
    """
    base, space = plan.config(), plan.search_space()
    storage, study, call = _begin(plan, base, space)
    where, budget = shown(plan.storage_name), steps(plan.budget(base))
    say(f"study {plan.name} in {where}, {budget} steps a trial -> {plan.folder}")
    _run_workers(call, plan.n_jobs)
    comparisons = _final_stage(plan, base, space, storage, study)
    write_results(plan, base, space, study, comparisons)
    return plan.folder


def write_results(plan: Plan, base: TrainConfig, space: Space, study: optuna.Study,
                  comparisons: List[Comparison]) -> None:
    """``best.yml``, ``meta.json``, ``final.json``, ``report.html`` and the pictures; a summary on standard output."""
    lines = results.summary(plan, study, comparisons)
    results.write_best(plan, space, study, comparisons, lines)
    results.write_meta(plan, base)
    if comparisons:
        write_text(plan.folder / "final.json", json.dumps(as_builtins(comparisons), indent=2) + "\n")
    say("\n".join(lines))
    write_report(plan, base, space, study, comparisons, lines)


def open_study(plan: Plan) -> optuna.Study:
    """The existing study of `plan`."""
    try:
        return optuna.load_study(study_name=plan.name, storage=_storage(plan))
    except KeyError as error:
        raise UserError(f"there is no study {plan.name!r} in {shown(plan.storage_name)}: correct --study-name or "
                        "--storage.") from error


def _storage(plan: Plan) -> BaseStorage:
    if plan.storage is None:
        try:
            plan.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the study's folder {plan.folder} ({error.strerror}): choose another one with "
                            "-f.") from error
    return open_storage(plan.storage_name, plan.heartbeat_s, plan.patience_s)


def _begin(plan: Plan, base: TrainConfig, space: Space) -> Tuple[BaseStorage, optuna.Study, _Call]:
    """Check all that can be checked before a trial starts; then create the study, or join it."""
    build.check_supported(base)
    plan.interval(base)
    plan.check_space(space)
    results.check_folder(plan)
    shipped = plan.shipped(base, space)
    make_sampler(plan.sampler, plan.n_startup_trials, 0, "")
    storage, interrupts = _storage(plan), Interrupts()
    with interrupts.held():  # a study half made could not be joined
        study, created = join(storage, plan.name, plan.direction, plan.identity(base, space),
                              [(shipped, {SHIPPED_TRIAL: True})], shown(plan.storage_name))
    interrupts.check()
    results.make_folder(plan)
    runner = uuid.uuid4().hex[:12]
    return storage, study, _Call(plan, plan.name, runner, "" if created else runner)


def _run_workers(call: _Call, n_jobs: int) -> None:
    if n_jobs == 1:
        _work(call, 0, None)
    else:
        run_in_processes(functools.partial(_work, call), n_jobs)


def _work(call: _Call, index: int, threads: Optional[int]) -> None:
    """One worker, in a process of its own or in this one."""
    import_packages(call.plan.gym_packages)
    plan, base, space = call.plan, call.plan.config(), call.plan.search_space()
    goal = Goal(plan.goal == "steps", plan.budget(base), plan.interval(base), plan.stop_rule)
    kind = "random" if call.final else plan.sampler  # a final stage has its trials in the queue
    study = optuna.load_study(
        study_name=call.study_name, storage=_storage(plan),
        sampler=make_sampler(kind, plan.n_startup_trials, plan.seed, f"{call.salt} {index}"),
        pruner=make_pruner(plan.pruner, goal.budget, goal.interval, plan.n_startup_trials))
    job = _final_job(plan, study, goal) if call.final else _search_job(call, space, goal)
    simulations = TrialSimulations(base, plan.eval_episodes, threads)
    try:
        Worker(study, job, simulations, call.runner, index).work()
    finally:
        simulations.close()


def _search_job(call: _Call, space: Space, goal: Goal) -> Job:
    plan = call.plan
    quota = (Quota(plan.n_trials, call.runner) if plan.max_total_trials is None else Quota(plan.max_total_trials))
    return Job(lambda trial: plan.config(space.draw(trial)), goal, quota, plan.max_falls)


def _final_job(plan: Plan, study: optuna.Study, goal: Goal) -> Job:
    candidates: Dict[str, Dict[str, Any]] = study.user_attrs[CANDIDATES]
    budget = plan.final_timesteps or goal.budget

    def config(trial: optuna.Trial) -> TrainConfig:
        name = trial.suggest_categorical(CANDIDATE, list(candidates))
        return plan.config(candidates[name], seed=trial.suggest_int(SEED, plan.seed + 1, plan.seed + plan.final_seeds))

    quota = Quota(len(candidates) * plan.final_seeds)
    return Job(config, replace(goal, budget=budget), quota, plan.max_falls, prunes=False)


def _final_stage(plan: Plan, base: TrainConfig, space: Space, storage: BaseStorage,
                 study: optuna.Study) -> List[Comparison]:
    """Train the best trials and the shipped YAML anew with paired seeds; none where no trial was better."""
    candidates = finalists(plan, space, study)
    if len(candidates) < 2:
        return []
    name = ".".join([plan.name, "final", *(key.split()[-1] for key in candidates if key != SHIPPED)])
    seeds = range(plan.seed + 1, plan.seed + 1 + plan.final_seeds)  # not the one by which the best were chosen
    identity = {**plan.identity(base, space), "final_seeds": plan.final_seeds,
                "final_timesteps": plan.final_timesteps or plan.budget(base)}
    final, _ = join(storage, name, plan.direction, identity, queue(list(candidates), seeds), shown(plan.storage_name),
                    {CANDIDATES: candidates})
    say(f"final stage: {', '.join(candidates)}, {plan.final_seeds} paired seeds each")
    _run_workers(_Call(plan, name, uuid.uuid4().hex[:12], "final", final=True), plan.n_jobs)
    return compare(final.get_trials(deepcopy=False), list(candidates), plan.direction)


def finalists(plan: Plan, space: Space, study: optuna.Study) -> Dict[str, Dict[str, Any]]:
    """Name -> values of the final stage's candidates: the shipped YAML, and the best trials that did better."""
    ranking = best_trials(study, len(study.trials))
    names: Dict[str, Dict[str, Any]] = {SHIPPED: {}}
    for trial in ranking:
        if trial.user_attrs.get(SHIPPED_TRIAL) or len(names) > plan.final_top:
            break
        names[f"trial {trial.number}"] = space.draw(optuna.trial.FixedTrial(trial.params))
    return names
