"""One trial: train, look at the policy at equal environment steps, judge it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional

import optuna
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac.config import TrainConfig
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.policy.export import evaluation_policy
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.evaluate import STOP_FALLS, STOP_REWARD, STOP_SPEED_M_S, eval_options, evaluate, walks
from sb3_isaac.rl.training.train import configured_callbacks
from sb3_isaac.tasks import soft_options, task_options
from sb3_isaac.tuning.robots import Robots
from sb3_isaac.tuning.storage import StorageLost

LOOK = 4
"""A report costs a fourth of an evaluation: episodes are cut off after that part of their length."""
PROMISING = 0.05
"""Where a look falls short of the stop rule by less, a whole evaluation says whether it is met."""
Report = Dict[str, Any]
Reports = Callable[[int, float, bool], None]


class Diverged(Exception):
    """A trial that has no value; the message is its reason."""


def shortfall(report: Report) -> float:
    """How far an evaluation is from the stop rule: 0 where it is met, up to 1.

    The mean of three parts, each from 0 to 1: what lacks of a reward of 300; how far the speed is outside 0.95 to
    1.05 m/s, over 0.95; the falls beyond 1%.
    """
    low, high = STOP_SPEED_M_S
    speed = report.get("forward_speed_mean", 0.0)
    parts = (1.0 - report["reward_mean"] / STOP_REWARD, max(low - speed, speed - high) / low,
             (report["falls_fraction"] - STOP_FALLS) / (1.0 - STOP_FALLS))
    return sum(min(1.0, max(0.0, part)) for part in parts) / len(parts)


@dataclass(frozen=True)
class Goal:
    """What a trial is worth.

    | field | what |
    |---|---|
    | steps | True: transitions until the stop rule is met. A trial that does not meet it is worth its budget times
      1 + ``shortfall``, so that those that came closer are better. False: reward of an evaluation at the budget |
    | budget | transitions at most |
    | interval | transitions between reports |
    """

    steps: bool
    budget: int
    interval: int

    def worth(self, report: Report) -> float:
        """The value of a trial that ends with `report`."""
        if not self.steps:
            return float(report["reward_mean"])
        return float(report["steps"]) if walks(report) else self.budget * (1.0 + shortfall(report))


@dataclass
class Outcome:
    """How a trial ended: its value, its last whole evaluation, and the seconds it spent on what."""

    value: float = float("nan")
    report: Report = field(default_factory=dict)
    steps: int = 0
    seconds: Dict[str, float] = field(default_factory=lambda: dict.fromkeys(("build", "evaluate", "storage"), 0.0))


class Workplace:
    """What a worker keeps between trials: the robots that train and those that are evaluated.

    Evaluations follow the trial in what makes its robots (robot, physics, observations) and the study's YAML in what
    they are paid for: a trial cannot win by weighing its reward otherwise.

    :param base: the YAML's configuration.
    :param eval_episodes: robots of an evaluation.
    :param threads: this worker's share of the cores; None is all of them.
    """

    def __init__(self, base: TrainConfig, eval_episodes: int, threads: Optional[int] = None) -> None:
        self._base, self._eval_episodes = base, eval_episodes
        limits = threads is not None and "threads" in task_options(base.env)
        self._share: Dict[str, Any] = {"threads": threads} if limits else {}
        self.training, self.evaluation = Robots(), Robots()

    def robots(self, config: TrainConfig) -> IsaacVecEnv:
        """The training environment, to be reset."""
        return self.training.get(config.env, config.n_envs, {**self._share, **config.env_kwargs})

    def evaluate(self, config: TrainConfig, model: Any, cut: int = 1) -> Report:
        """The deterministic policy at the command (1, 0), in episodes of 1 / `cut` of their length."""
        paid = {name: self._base.env_kwargs[name] for name in soft_options(config.env) if name in self._base.env_kwargs}
        kept = {name: value for name, value in config.env_kwargs.items() if name not in soft_options(config.env)}
        options = eval_options(config.env, {**self._share, **kept, **paid}, None)
        env = self.evaluation.get(config.env, self._eval_episodes, options).env
        policy = evaluation_policy(model, model.get_vec_normalize_env(), env.metadata(), env.device)
        steps = max(1, env.max_steps // cut)  # type: ignore[attr-defined]
        report = evaluate(env, policy, seed=0, max_steps=steps if cut > 1 else None)
        return {**report, "steps": int(model.num_timesteps)}

    def close(self) -> None:
        """Release both simulations."""
        self.training.close()
        self.evaluation.close()


class Judge(BaseCallback):
    """Looks at the policy each time that another ``Goal.interval`` transitions are behind it.

    :param evaluates: ``(model, cut) -> report``.
    :param reports: called with transitions of the grid (equal for all trials, whatever a rollout's length), the trial's
        worth if it ended now, and whether it does; what it raises ends the trial.
    :param check: called at each step; what it raises ends the trial.
    """

    def __init__(self, goal: Goal, outcome: Outcome, evaluates: Callable[[Any, int], Report], reports: Reports,
                 check: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._check = check
        self._goal, self.outcome, self._evaluates, self._reports = goal, outcome, evaluates, reports
        self._done, self._looked = False, 0

    def _on_rollout_start(self) -> None:
        """Between an update and the next rollout."""
        steps = self.model.num_timesteps
        if steps == 0 or self._done:
            return
        self.outcome.steps = steps
        self._check_finite()
        if steps >= self._goal.budget:
            self._finish(self._evaluate(1))
        elif steps // self._goal.interval > self._looked:
            self._looked = steps // self._goal.interval
            self._look()

    def _look(self) -> None:
        report = self._evaluate(LOOK)
        if self._goal.steps and shortfall(report) < PROMISING:
            report = self._evaluate(1)
            if walks(report):
                self._finish(report)
                return
        # A short episode that looks as if the rule was met has met nothing yet.
        worth = self._goal.budget * (1.0 + shortfall(report)) if self._goal.steps else self._goal.worth(report)
        self._tell(worth)

    def _finish(self, report: Report) -> None:
        self._done, self.outcome.value = True, self._goal.worth(report)
        self._tell(self.outcome.value, last=True)

    def _tell(self, worth: float, last: bool = False) -> None:
        start = time.perf_counter()
        passed = self.outcome.steps // self._goal.interval * self._goal.interval
        try:
            self._reports(min(passed, self._goal.budget), worth, last)
        finally:
            self.outcome.seconds["storage"] += time.perf_counter() - start

    def _evaluate(self, cut: int) -> Report:
        start = time.perf_counter()
        self.outcome.report = self._evaluates(self.model, cut)
        self.outcome.seconds["evaluate"] += time.perf_counter() - start
        return self.outcome.report

    def _check_finite(self) -> None:
        """One look at the parameters an iteration; the sum of their sums is finite only if all are."""
        with torch.no_grad():
            total = sum(parameter.sum() for parameter in self.model.policy.parameters())
        if not bool(torch.isfinite(torch.as_tensor(total))):
            raise Diverged(f"the networks' parameters are not finite after {self.model.num_timesteps} steps")

    def _on_step(self) -> bool:
        self._check()
        return not self._done

    def _on_training_end(self) -> None:
        self._on_rollout_start()


def run_trial(config: TrainConfig, goal: Goal, workplace: Workplace, reports: Reports, outcome: Outcome,
              check: Callable[[], None] = lambda: None) -> None:
    """Train with `config` until the goal is reached or the budget is spent, and fill in `outcome` as it goes.

    :param check: called at each step; what it raises ends the trial.
    :raises Diverged: with the reason where the trial cannot have a value; and whatever `reports` and `check` raise.
    """
    judge = Judge(goal, outcome, lambda model, cut: workplace.evaluate(config, model, cut), reports, check)
    start = time.perf_counter()
    try:
        model: Any = build.make_model(config, build.wrap_env(config, workplace.robots(config)))
        outcome.seconds["build"] = time.perf_counter() - start
        # A trial is the beginning of the run that training would make: schedules end where they end there.
        horizon = max(config.n_timesteps, goal.budget) if goal.steps else goal.budget
        model.learn(horizon, callback=CallbackList([*configured_callbacks(config), judge]))
    except (StorageLost, optuna.exceptions.OptunaError):
        raise
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise Diverged(" ".join(str(error).split())[:300]) from error
    finally:
        outcome.seconds["all"] = time.perf_counter() - start
