"""One trial: train, and evaluate the policy at equal environment steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict

import optuna
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac.config import TrainConfig
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.train import configured_callbacks
from sb3_isaac.tuning.goal import Goal, Report
from sb3_isaac.tuning.simulations import TrialSimulations
from sb3_isaac.tuning.storage import StorageLost

SHORT_DIVISOR = 4
"""A short evaluation, which each report needs, ends episodes after a fourth of their length."""
PROMISING = 0.05
"""A short evaluation whose ``shortfall`` is below this is followed by a full one, which alone can meet the rule."""
LONGEST_REASON = 240
"""Characters of the reason that is stored with a failed trial."""
Reports = Callable[[int, float, bool], None]


class Diverged(Exception):
    """A trial that has no value; the message is its reason."""


@dataclass
class Outcome:
    """How a trial ended: its value, its last evaluation, and the seconds it spent on what."""

    value: float = float("nan")
    report: Report = field(default_factory=dict)
    steps: int = 0
    seconds: Dict[str, float] = field(default_factory=lambda: dict.fromkeys(("build", "evaluate", "storage"), 0.0))


class TrialEvaluation(BaseCallback):
    """Evaluates the policy each time that training has passed another ``Goal.interval`` transitions.

    :param evaluates: ``(model, divisor) -> report``, of episodes of 1 / divisor of their length.
    :param reports: called with transitions of the grid (equal for all trials, whatever a rollout's length), the trial's
        worth if it ended now, and whether it does; what it raises ends the trial.
    :param check: called at each step; what it raises ends the trial.
    """

    def __init__(self, goal: Goal, outcome: Outcome, evaluates: Callable[[Any, int], Report], reports: Reports,
                 check: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._check = check
        self._goal, self.outcome, self._evaluates, self._reports = goal, outcome, evaluates, reports
        self._done, self._intervals = False, 0

    def _on_rollout_start(self) -> None:
        """Between an update and the next rollout."""
        steps = self.model.num_timesteps
        if steps == 0 or self._done:
            return
        self.outcome.steps = steps
        self._check_finite()
        if steps >= self._goal.budget:
            self._finish(self._evaluate(1))
        elif steps // self._goal.interval > self._intervals:
            self._intervals = steps // self._goal.interval
            self._short_evaluation()

    def _short_evaluation(self) -> None:
        report = self._evaluate(SHORT_DIVISOR)
        if not self._goal.steps:
            self._send(self._goal.worth(report))
            return
        # Short episodes cannot meet the rule, even if their figures lie in its ranges.
        worth = self._goal.worth_unmet(report)
        if worth < self._goal.budget * (1.0 + PROMISING):
            report = self._evaluate(1)
            if self._goal.met(report):
                self._finish(report)
                return
            worth = self._goal.worth_unmet(report)
        self._send(worth)

    def _finish(self, report: Report) -> None:
        self._done, self.outcome.value = True, self._goal.worth(report)
        self._send(self.outcome.value, last=True)

    def _send(self, worth: float, last: bool = False) -> None:
        start = time.perf_counter()
        passed = self.outcome.steps // self._goal.interval * self._goal.interval
        try:
            self._reports(min(passed, self._goal.budget), worth, last)
        finally:
            self.outcome.seconds["storage"] += time.perf_counter() - start

    def _evaluate(self, divisor: int) -> Report:
        start = time.perf_counter()
        self.outcome.report = self._evaluates(self.model, divisor)
        self.outcome.seconds["evaluate"] += time.perf_counter() - start
        return self.outcome.report

    def _check_finite(self) -> None:
        """Once an iteration; the sum of all parameters is finite only if each of them is."""
        with torch.no_grad():
            total = sum(parameter.sum() for parameter in self.model.policy.parameters())
        if not bool(torch.isfinite(torch.as_tensor(total))):
            raise Diverged(f"the networks' parameters are not finite after {self.model.num_timesteps} steps")

    def _on_step(self) -> bool:
        self._check()
        return not self._done

    def _on_training_end(self) -> None:
        self._on_rollout_start()


def run_trial(config: TrainConfig, goal: Goal, simulations: TrialSimulations, reports: Reports, outcome: Outcome,
              check: Callable[[], None] = lambda: None) -> None:
    """Train with `config` until the goal is reached or the budget is spent, and fill in `outcome` as it goes.

    :param check: called at each step; what it raises ends the trial.
    :raises Diverged: with the reason where the trial cannot have a value; and whatever `reports` and `check` raise.
    """
    evaluation = TrialEvaluation(goal, outcome, lambda model, divisor: simulations.evaluate(config, model, divisor),
                                 reports, check)
    start = time.perf_counter()
    try:
        model: Any = build.make_model(config, build.wrap_env(config, simulations.training_env(config)))
        outcome.seconds["build"] = time.perf_counter() - start
        # A trial is the beginning of the run that training would make: schedules end where they end there.
        horizon = max(config.n_timesteps, goal.budget) if goal.steps else goal.budget
        model.learn(horizon, callback=CallbackList([*configured_callbacks(config), evaluation]))
    except (StorageLost, optuna.exceptions.OptunaError):
        raise
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise Diverged(" ".join(str(error).split())[:LONGEST_REASON]) from error
    finally:
        outcome.seconds["all"] = time.perf_counter() - start
