"""A worker: runs trials one after another until enough have ended; other workers may run some of them."""

from __future__ import annotations

import os
import socket
import time
import warnings
from dataclasses import dataclass
from typing import Callable

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import say
from sb3_isaac.contract.signals import Interrupts
from sb3_isaac.tuning.goal import FALLS_KEY, Goal
from sb3_isaac.tuning.simulations import TrialSimulations
from sb3_isaac.tuning.storage import RUNNER, StorageLost, find_storage_lost, retry
from sb3_isaac.tuning.study import REASON, Quota
from sb3_isaac.tuning.trial import Diverged, Outcome, run_trial

POLL_S = 1.0
FALLS = "falls"
REPEATED_WARNINGS = ("You have specified a mini-batch size", "Constraints have been set, but CmaEsSampler")
"""Beginnings of warnings that every trial would repeat: the last minibatch is smaller; CMA-ES ignores constraints."""


class _Surplus(Exception):
    """Enough trials are under way without this one."""


@dataclass(frozen=True)
class Job:
    """What the trials of one study have in common.

    | field | what |
    |---|---|
    | config | the training configuration of a trial, from its values |
    | goal | what a trial is worth |
    | quota | how many trials are wanted |
    | max_falls | a trial whose last evaluation has a larger ``falls_fraction`` is infeasible; no rule where the task
      reports no falls |
    | prunes | whether reports may end a trial |
    """

    config: Callable[[optuna.Trial], TrainConfig]
    goal: Goal
    quota: Quota
    max_falls: float
    prunes: bool = True


class Worker:
    """Runs trials of `study` one after another; :meth:`work` returns when the quota is met.

    :param runner: names this call of tune.
    :param index: of this worker in the call.
    """

    def __init__(self, study: optuna.Study, job: Job, simulations: TrialSimulations, runner: str,
                 index: int = 0) -> None:
        self._study, self._job, self._simulations = study, job, simulations
        self._about = {RUNNER: runner, "worker": f"{socket.gethostname()}:{os.getpid()}"}
        self._mark, self._interrupts = f"[{index}] ", Interrupts()

    def work(self) -> None:
        """Run trials; wait for those of other workers, and run again those whose worker has died.

        A signal puts the trial under way back into the queue, after its step; Interrupted is raised then.
        """
        waits = False
        with self._interrupts.held():
            while True:
                self._interrupts.check()
                fail_stale(self._study)
                trials = self._study.get_trials(deepcopy=False)
                if self._job.quota.open(trials):
                    self._next()
                elif self._job.quota.met(trials):
                    return
                else:
                    if not waits:
                        say(f"{self._mark}waiting for the trials of other workers")
                    waits = True
                    time.sleep(POLL_S)

    def _next(self) -> None:
        self._taken_away = False
        try:
            with warnings.catch_warnings():
                for known in REPEATED_WARNINGS:
                    warnings.filterwarnings("ignore", message=known)
                self._study.optimize(self._objective, n_trials=1, catch=(Diverged, _Surplus), callbacks=[self._say])
        except Exception as error:
            lost = find_storage_lost(error)
            if lost is not None:
                raise lost from error
            if not self._taken_away:
                raise
            say(f"{self._mark}sent no heartbeat for too long, and its trial was given to another worker")

    def _objective(self, trial: optuna.Trial) -> float:
        try:
            return self._run(trial)
        except optuna.exceptions.UpdateFinishedTrialError:
            self._taken_away = True
            raise
        except KeyboardInterrupt:
            retry(self._study, self._study.get_trials(deepcopy=False)[trial.number], counts=False)
            raise

    def _run(self, trial: optuna.Trial) -> float:
        for key, value in self._about.items():
            trial.set_user_attr(key, value)
        if self._job.quota.surplus(self._study.get_trials(deepcopy=False), trial.number):
            raise _Surplus("enough trials were under way")
        outcome, start = Outcome(), time.perf_counter()
        try:
            config = self._config(trial)
            outcome.seconds["storage"] += time.perf_counter() - start
            run_trial(config, self._job.goal, self._simulations, self._reports(trial), outcome,
                      self._interrupts.check)
        except Diverged as error:
            self._note(trial, outcome)
            trial.set_user_attr(REASON, str(error))
            raise
        except optuna.TrialPruned:
            self._note(trial, outcome)
            raise
        self._note(trial, outcome)
        return outcome.value

    def _config(self, trial: optuna.Trial) -> TrainConfig:
        try:
            return self._job.config(trial)
        except StorageLost:
            raise
        except UserError as error:
            raise Diverged(str(error)) from error

    def _reports(self, trial: optuna.Trial) -> Callable[[int, float, bool], None]:
        def report(steps: int, worth: float, last: bool) -> None:
            trial.report(worth, steps)
            if self._job.prunes and not last and trial.should_prune():
                raise optuna.TrialPruned(f"after {steps} steps")
        return report

    def _note(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Store what the study's report shows of a trial besides its value."""
        start = time.perf_counter()
        kept = self._job.goal.figures(outcome.report)
        if FALLS_KEY in kept:
            trial.set_constraint(FALLS, kept[FALLS_KEY] - self._job.max_falls)
        trial.set_user_attr("steps", outcome.steps)
        trial.set_user_attr("evaluation", kept)
        outcome.seconds["storage"] += time.perf_counter() - start
        trial.set_user_attr("seconds", {key: round(value, 3) for key, value in outcome.seconds.items()})

    def _say(self, study: optuna.Study, trial: FrozenTrial) -> None:
        say(f"{self._mark}{trial_line(trial)}")


def fail_stale(study: optuna.Study) -> None:
    """Put trials whose worker has died back into the queue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        fail_stale_trials(study)


def trial_line(trial: FrozenTrial) -> str:
    """A trial's end in one line."""
    words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    report, steps = trial.user_attrs.get("evaluation", {}), trial.user_attrs.get("steps", 0)
    line = f"trial {trial.number:>3}  {words.get(trial.state, trial.state.name):<8}  after {steps:>9,} steps"
    if trial.state != TrialState.FAIL and trial.value is not None:
        line += f"  value {trial.value:,.0f}" if abs(trial.value) >= 1e4 else f"  value {trial.value:.1f}"
    line += "".join(f"  {key} {value:.3g}" for key, value in report.items())
    return f"{line}  ({trial.user_attrs[REASON]})" if REASON in trial.user_attrs else line
