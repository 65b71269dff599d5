"""What a trial is worth: how soon it meets the task's own stop rule, or the reward that it reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional

from sb3_isaac.contract.tensor_env import StopRule, TensorEnv

FALLS_KEY = "falls_fraction"
"""The share of episodes that ended in a fall, in reports of tasks that have falls: a study's constraint is on it."""
Report = Dict[str, Any]
"""What an evaluation found: ``reward_mean``, ``steps`` (transitions of training so far), and the task's own keys."""


def stop_rule_of(env: TensorEnv) -> Optional[StopRule]:
    """The stop rule of a task, None where it has none."""
    return env.stop_rule


def shortfall(rule: StopRule, report: Report) -> float:
    """How far `report` is from meeting `rule`: 0 where it is met, at most 1.

    The mean over the rule's keys of min(1, d / max(1, |b|)), where b is the bound that the value violates and d its
    distance from it. A value that is missing or NaN counts 1.
    """
    parts = [_distance(report.get(key, math.nan), low, high) for key, (low, high) in rule.ranges.items()]
    return sum(parts) / len(parts) if parts else 0.0


def _distance(value: float, low: float, high: float) -> float:
    """One key's part of :func:`shortfall`, 0 to 1."""
    if low <= value <= high:
        return 0.0
    bound = low if value < low else high
    part = abs(value - bound) / max(1.0, abs(bound))
    return part if part < 1.0 else 1.0  # NaN too


@dataclass(frozen=True)
class Goal:
    """What a trial is worth.

    | field | what |
    |---|---|
    | steps | True: transitions until `rule` is met. A trial that does not meet it is worth its budget times
      1 + ``shortfall``, so that those that came closer are better. False: reward of an evaluation at the budget |
    | budget | transitions at most |
    | interval | transitions between reports |
    | rule | the task's stop rule; needed where `steps` is True |
    """

    steps: bool
    budget: int
    interval: int
    rule: Optional[StopRule] = None

    def met(self, report: Report) -> bool:
        """Whether a trial that counts steps may end with `report`."""
        return self.steps and self._rule.met(report)

    def worth(self, report: Report) -> float:
        """The value of a trial that ends with `report`."""
        if not self.steps:
            return float(report["reward_mean"])
        return float(report["steps"]) if self.met(report) else self.worth_unmet(report)

    def worth_unmet(self, report: Report) -> float:
        """The value of a trial that counts steps, where only the distance from the rule is known."""
        return self.budget * (1.0 + shortfall(self._rule, report))

    def figures(self, report: Report) -> Report:
        """What is kept of `report` with a trial: the reward, the falls, and the keys of the rule, as far as given."""
        keys = ("reward_mean", FALLS_KEY, *(self.rule.ranges if self.rule else ()))
        return {key: report[key] for key in dict.fromkeys(keys) if key in report}

    @property
    def _rule(self) -> StopRule:
        assert self.rule is not None, "a goal that counts steps has a rule"
        return self.rule
