"""Evaluation while training, and the end of training once the task's goal is reached."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.rl.callbacks.iteration import IterationCallback, iteration_of
from sb3_isaac.rl.distributed import from_first
from sb3_isaac.rl.policy.evaluate import Outlook, evaluate
from sb3_isaac.rl.policy.export import evaluation_policy

LEAST_PAUSE, SHARE, CURVE_EVERY = 10, 25, 200
LAST_EVALUATION = "last_evaluation"
"""Attribute of a model: iterations behind it when the last evaluation was made; 0 if none was. It is saved with it."""

DUE = "evaluation_due"
"""Attribute of a model: what was due at the end of the last iteration, 1 for a whole evaluation + 2 for one that may
end training + 4 where the rollout allowed that. It is saved too, so that a resumed training makes the evaluation."""


def may_follow(iteration: int, last: int) -> bool:
    """Whether an evaluation may be made by itself at `iteration`: 10 after the `last`, later on a 25th part of those.

    From iteration 250 on the pause grows, for then training is long.
    """
    return iteration - last >= max(LEAST_PAUSE, last // SHARE)


class Evaluation(IterationCallback):
    """Evaluate the deterministic policy on an environment of its own, and end training where its task's rule is met.

    With `every` there is an evaluation each so many iterations. Without it they are made when they can end training:
    after a rollout within ``stop_rule.training``, with a pause between any two (:func:`may_follow`). They are given up
    as soon as they cannot (:class:`~sb3_isaac.rl.policy.evaluate.Outlook`). For the learning curve there is a whole one
    every 200 iterations.

    Each key of :func:`~sb3_isaac.rl.policy.evaluate.evaluate` is logged as ``eval/<key>``, in the row of the next
    iteration; ``eval/steps`` is where the policy stood. The state that training starts from is not evaluated, and the
    last one always is, to the end.

    :param make_env: makes the small evaluation IsaacVecEnv; it is called once, at the first evaluation.
    :param every: iterations between evaluations. 0 is none at all, None as told above.
    :param stop: end training as soon as the task's ``stop_rule`` is met; a task without one trains to the end.
    """

    def __init__(self, make_env: Callable[[], IsaacVecEnv], every: Optional[int] = None, stop: bool = False,
                 seed: Optional[int] = 0) -> None:
        super().__init__()
        self._make_env, self.every, self.stop, self.seed = make_env, every, stop, seed
        self._env: Optional[IsaacVecEnv] = None
        self.report: Optional[Dict[str, Any]] = None
        """The last evaluation, with ``steps``."""
        self.given_up = ""
        """Why the evaluation at the start of this iteration was given up; empty where none was."""
        self.stopped, self.spent_s = False, 0.0
        self._ends: Optional[StopRule] = None
        """What the evaluation after this iteration may end training by."""
        self._whole = self._due = False

    def _on_training_start(self) -> None:
        self.stopped = False
        if self.model.num_timesteps == 0:
            setattr(self.model, LAST_EVALUATION, 0)
            setattr(self.model, DUE, 0)
        due = getattr(self.model, DUE, 0)
        self._whole, self._due = bool(due & 1), bool(due & 2)
        self._ends = self._rule() if self.stop and due & 4 else None

    def _on_iteration_start(self) -> None:
        self.given_up = ""
        if self._on_isaac_vec_env():
            unwrap(self.training_env).statistics.clear()  # stock PPO does not
        if self._whole or self._due:
            ends, whole = self._ends, self._whole
            report = self.evaluate(None if whole else ends)
            self.stopped = from_first(lambda: report is not None and ends is not None and ends.met(report)
                                      and self._met_again(ends))
            if self.stopped:
                setattr(self.model, DUE, 0)

    def _on_iteration_end(self) -> None:
        """Decide on the next evaluation: before a checkpoint is saved, so that a resumed training makes the same."""
        values, rule = {}, None
        if self._on_isaac_vec_env():
            values, rule = unwrap(self.training_env).statistics.read(), self._rule()
        trained = from_first(lambda: rule is None or rule.trained(values))
        self._ends = rule if self.stop and trained else None
        iteration = iteration_of(self.model)
        self._whole = self.every != 0 and iteration % (self.every or CURVE_EVERY) == 0
        self._due = self.every is None and trained and may_follow(iteration, getattr(self.model, LAST_EVALUATION, 0))
        if self._whole or self._due:
            setattr(self.model, LAST_EVALUATION, iteration)
        setattr(self.model, DUE, self._whole + 2 * self._due + 4 * bool(trained))

    def _rule(self) -> Optional[StopRule]:
        return unwrap(self.training_env).env.stop_rule if self._on_isaac_vec_env() else None

    def _on_isaac_vec_env(self) -> bool:
        return isinstance(self.training_env.unwrapped, IsaacVecEnv)

    def _on_step(self) -> bool:
        return not self.stopped

    def evaluate(self, rule: Optional[StopRule] = None) -> Optional[Dict[str, Any]]:
        """Evaluate now; one report for one state of the policy.

        :param rule: where it is out of reach, the evaluation is given up, and None returned.
        """
        steps = self.model.num_timesteps
        if self.report is None or self.report["steps"] != steps:
            report = from_first(lambda: self._evaluate(rule=rule))
            if report is None:
                return None
            self._keep(report)
        return self.report

    def _met_again(self, rule: StopRule) -> bool:
        """Whether the rule's other evaluations meet it too; the first that does not is the one that is reported."""
        for k in range(1, rule.evaluations):
            report = self._evaluate(k)
            if not rule.met(report):
                self._keep(report)
                return False
        return True

    def _keep(self, report: Dict[str, Any]) -> None:
        self.report = report
        for key, value in report.items():
            if isinstance(value, (int, float)) and key != "seed":
                self.logger.record(f"eval/{key}", value)

    def _evaluate(self, k: int = 0, rule: Optional[StopRule] = None) -> Any:
        """The report of evaluation k of this state of the policy; None where it was given up."""
        start = time.perf_counter()
        if self._env is None:
            self._env = self._make_env()
        env = self._env.env
        policy = evaluation_policy(self.model, self.model.get_vec_normalize_env(), env.metadata(), self._env.device)
        outlook = None if rule is None else Outlook(env, rule)
        report = evaluate(env, policy, seed=None if self.seed is None else self.seed + k, outlook=outlook)
        self.given_up = "" if outlook is None else outlook.why
        self.spent_s += time.perf_counter() - start
        return None if self.given_up else {**report, "steps": self.model.num_timesteps}

    def _on_training_end(self) -> None:
        if self.every != 0 and not self.stopped:
            self.evaluate()
        if self._env is not None:
            self._env.close()
            self._env = None
