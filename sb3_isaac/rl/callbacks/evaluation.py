"""Evaluation while training, and the end of training once the task's goal is reached."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.rl.callbacks.iteration import IterationCallback, iteration_of
from sb3_isaac.rl.distributed import from_first
from sb3_isaac.rl.policy.evaluate import evaluate
from sb3_isaac.rl.policy.export import evaluation_policy


class Evaluation(IterationCallback):
    """Evaluate the deterministic policy every `every` iterations on an environment of its own.

    While the last rollout is not within ``stop_rule.training`` an evaluation cannot end training: then there is one
    every `untrained_every` iterations only, for the learning curve.

    Each key of :func:`~sb3_isaac.rl.policy.evaluate.evaluate` is logged as ``eval/<key>``, in the row of the next
    iteration; ``eval/steps`` is where the policy stood. The state that training starts from is not evaluated.

    :param make_env: makes the small evaluation IsaacVecEnv; it is called once, at the first evaluation.
    :param every: iterations between evaluations; there is one at the end as well. 0 is none at all.
    :param untrained_every: the same before training has come so far; None is as `every`.
    :param stop: end training as soon as the task's ``stop_rule`` is met; a task without one trains to the end.
    """

    def __init__(self, make_env: Callable[[], IsaacVecEnv], every: int = 10, stop: bool = False,
                 seed: Optional[int] = 0, untrained_every: Optional[int] = None) -> None:
        super().__init__()
        self._make_env, self.every, self.stop, self.seed = make_env, every, stop, seed
        self.untrained_every = every if untrained_every is None else untrained_every
        self._env: Optional[IsaacVecEnv] = None
        self.report: Optional[Dict[str, Any]] = None
        """The last evaluation, with ``steps``."""
        self.stopped, self.spent_s = False, 0.0
        self._first_steps = 0
        self._rollout: Dict[str, float] = {}  # what the last one logged

    def _on_training_start(self) -> None:
        self.stopped, self._first_steps = False, self.model.num_timesteps

    def _on_iteration_start(self) -> None:
        if self.every and self.model.num_timesteps > self._first_steps:
            rule = unwrap(self.training_env).env.stop_rule if self._on_isaac_vec_env() else None
            trained = from_first(lambda: rule is None or rule.trained(self._rollout))
            if iteration_of(self.model) % (self.every if trained else self.untrained_every) == 0:
                report = self.evaluate()
                self.stopped = from_first(lambda: self.stop and rule is not None and trained and rule.met(report)
                                          and self._met_again(rule))

    def _on_iteration_end(self) -> None:
        if self._on_isaac_vec_env():
            self._rollout = unwrap(self.training_env).statistics.read()

    def _on_isaac_vec_env(self) -> bool:
        return isinstance(self.training_env.unwrapped, IsaacVecEnv)

    def _on_step(self) -> bool:
        return not self.stopped

    def evaluate(self) -> Dict[str, Any]:
        """Evaluate now; one report for one state of the policy."""
        steps = self.model.num_timesteps
        if self.report is None or self.report["steps"] != steps:
            self._keep(from_first(self._evaluate))
        assert self.report is not None
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

    def _evaluate(self, k: int = 0) -> Dict[str, Any]:
        """The report of evaluation k of this state of the policy."""
        start = time.perf_counter()
        if self._env is None:
            self._env = self._make_env()
        policy = evaluation_policy(self.model, self.model.get_vec_normalize_env(), self._env.env.metadata(),
                                   self._env.device)
        report = evaluate(self._env.env, policy, seed=None if self.seed is None else self.seed + k)
        self.spent_s += time.perf_counter() - start
        return {**report, "steps": self.model.num_timesteps}

    def _on_training_end(self) -> None:
        if self.every and not self.stopped:
            self.evaluate()
        if self._env is not None:
            self._env.close()
            self._env = None
