"""Evaluation while training: when it is, and when it ends training."""

from __future__ import annotations

import math
from typing import Any, Dict

import pytest

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.tasks.double_pendulum import DoublePendulum


def test_the_stop_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DoublePendulum, "stop_rule", StopRule({"steps": (256, math.inf)}))
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1)
    evaluation = Evaluation(lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, stagger=False,
                                                episode_length_s=0.2), every=2, stop=True)
    model.learn(10_000, callback=evaluation)
    assert evaluation.stopped and evaluation.report is not None and evaluation.report["steps"] == 256
    assert model.num_timesteps <= 256 + 8


def test_a_rule_of_two_evaluations_wants_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has the seed after; one that does not meet the rule is what is reported."""
    monkeypatch.setattr(DoublePendulum, "stop_rule", StopRule({"good": (1.0, 1.0)}, evaluations=2))
    seeds = []

    class Scored(Evaluation):
        def _evaluate(self, k: int = 0) -> Dict[str, Any]:
            report = super()._evaluate(k)
            seeds.append(report["seed"])
            return {**report, "good": float(k == 0 or report["steps"] >= 256)}

    evaluation = Scored(lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, stagger=False,
                                            episode_length_s=0.2), every=2, stop=True, seed=7)
    model = PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0), n_steps=8, batch_size=64)
    reported = []
    monkeypatch.setattr(model, "train", lambda: reported.append(evaluation.report and evaluation.report["good"]))
    model.learn(1024, callback=evaluation)
    assert evaluation.stopped and evaluation.report is not None and evaluation.report["steps"] == 256
    assert seeds == [7, 8, 7, 8] and 0.0 in reported
    with pytest.raises(UserError, match="give 1 or more"):
        StopRule({}, evaluations=0)


def test_the_stop_waits_for_what_a_rollout_has_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = StopRule({"steps": (128, math.inf)}, training={"rollout/timeouts": (1e9, math.inf)})
    monkeypatch.setattr(DoublePendulum, "stop_rule", rule)
    model = PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0), n_steps=8, batch_size=64)
    scored = []

    class Scored(Evaluation):
        def evaluate(self) -> Dict[str, Any]:
            scored.append(self.model.num_timesteps)
            return super().evaluate()

    evaluation = Scored(lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, stagger=False,
                                            episode_length_s=0.2), every=1, untrained_every=2, stop=True)
    model.learn(320, callback=evaluation)
    assert evaluation.report is not None and rule.met(evaluation.report) and not evaluation.stopped
    assert scored == [128, 256, 320], "every second iteration of 64, and the end, while training is not so far"
