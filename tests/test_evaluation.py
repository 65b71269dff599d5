"""Evaluation while training: when it is, and when it ends training."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Tuple

import pytest
import stable_baselines3
import torch

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.rl.callbacks.evaluation import Evaluation, may_follow
from sb3_isaac.rl.callbacks.exploration import FadingExploration
from sb3_isaac.rl.callbacks.iteration import iteration_of
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
        def _evaluate(self, k: int = 0, rule: Optional[StopRule] = None) -> Any:
            report = super()._evaluate(k, rule)
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
    rule = StopRule({"steps": (16, math.inf)}, training={"rollout/timeouts": (1e9, math.inf)})
    monkeypatch.setattr(DoublePendulum, "stop_rule", rule)
    evaluation, scored = small_evaluation(stop=True), []
    monkeypatch.setattr(evaluation, "evaluate", lambda rule=None, inner=evaluation.evaluate: (
        scored.append(evaluation.model.num_timesteps), inner(rule))[1])
    often(monkeypatch, least=2, curve=3)
    train(evaluation, iterations=5)
    assert evaluation.report is not None and rule.met(evaluation.report) and not evaluation.stopped
    assert scored == [3 * 16, 5 * 16], "for the curve, and at the end, while training is not so far"
    rule.training["rollout/timeouts"] = (0.0, math.inf)
    train(evaluation, iterations=5)
    assert evaluation.stopped and evaluation.report["steps"] == 2 * 16


@pytest.mark.parametrize("algorithm", [PPO, stable_baselines3.PPO], ids=["ours", "stock"])
def test_what_a_rollout_has_to_show_is_of_that_rollout(algorithm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Any] = []
    monkeypatch.setattr(StopRule, "trained", lambda self, values: asked.append(dict(values)))
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2, seed=0)
    model = algorithm("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu")
    evaluation = small_evaluation(every=0)
    fading = FadingExploration(0.5, begin=0.0, until=1.0, measure="rollout/tip_height_m")
    for callback, value in ((evaluation, lambda: asked[-1]), (fading, lambda: fading._measured)):
        model.learn(3 * 16, callback=callback)
        assert env.statistics._steps == 8
        values = env.statistics.read()
        assert value() == (values if callback is evaluation else values["rollout/tip_height_m"])
    assert len(asked) == 3


def test_an_evaluation_has_as_many_episodes_as_the_rule_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from sb3_isaac.config import load_config
    from sb3_isaac.rl.training.build import algorithm_options
    from sb3_isaac.rl.training.train import Settings, _evaluation

    pendulum = "IsaacDoublePendulum-v0"
    config = load_config(pendulum, "ppo", algo_keys=algorithm_options("ppo"), env_keys=["episode_length_s"], num_envs=4)

    def episodes(rule: Optional[StopRule], **settings: Any) -> int:
        made = _evaluation(config, Settings(**settings), rule)._make_env()
        made.close()
        return made.num_envs

    assert [episodes(None), episodes(StopRule({})), episodes(StopRule({}, episodes=5))] == [48, 48, 5]
    assert episodes(StopRule({}, episodes=5), eval_episodes=3) == 3, "what the command line says goes first"
    with pytest.raises(UserError, match="number of episodes is 0: give 1 or more"):
        StopRule({}, episodes=0)


def often(monkeypatch: pytest.MonkeyPatch, least: int, curve: int) -> None:
    """Iterations between evaluations that are made by themselves."""
    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.LEAST_PAUSE", least)
    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.CURVE_EVERY", curve)


def small_evaluation(**options: Any) -> Evaluation:
    return Evaluation(lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, stagger=False, episode_length_s=2.4),
                      **options)


def train(evaluation: Evaluation, iterations: int) -> PPO:
    model = pendulum_model()
    model.learn(16 * iterations, callback=evaluation)
    return model


def pendulum_model() -> PPO:
    """16 transitions an iteration."""
    return PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2, seed=0), n_steps=8, batch_size=16,
               n_epochs=1)


def test_evaluations_by_themselves_grow_rarer() -> None:
    """At least 10 iterations apart, and from 275 on, whose 25th part is 11, a 25th of those behind the last one."""
    made = [0]
    for iteration in range(1, 340):
        if may_follow(iteration, made[-1]):
            made.append(iteration)
    assert made == [*range(0, 280, 10), 280, 291, 302, 314, 326, 339]


def test_the_first_rollout_that_has_what_is_asked_for_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that began anew from a checkpoint, as it would have been without; given-up ones make a pause too."""
    model, has_it = pendulum_model(), {3, 4, 6, 9, 12}
    monkeypatch.setattr(DoublePendulum, "stop_rule", StopRule({"reward_mean": (1e6, math.inf)}))
    monkeypatch.setattr(StopRule, "trained", lambda self, values: iteration_of(model) in has_it)
    often(monkeypatch, least=3, curve=200)
    made: List[int] = []
    for iterations, reset in ((12, True), (4, True), (8, False), (12, True)):
        evaluation = small_evaluation(stop=True)
        monkeypatch.setattr(evaluation, "evaluate", lambda rule=None: made.append(iteration_of(model)))
        model.learn(16 * iterations, callback=evaluation, reset_num_timesteps=reset)
        made.remove(iteration_of(model))  # the last state is always evaluated
    assert made == [3, 6, 9, 3, 6, 9, 3, 6, 9]


def test_an_evaluation_is_given_up_where_it_cannot_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes last 2.4 s. Asked for explicitly, for the curve or at the end it is whole."""
    rule = StopRule({"reward_mean": (1e6, math.inf)}, early=("reward_mean",))
    monkeypatch.setattr(DoublePendulum, "stop_rule", rule)
    monkeypatch.setattr(DoublePendulum, "TERMINATION", {})
    often(monkeypatch, least=2, curve=200)
    seen: List[Tuple[int, int, str]] = []

    class Watched(Evaluation):
        def _evaluate(self, k: int = 0, rule: Optional[StopRule] = None) -> Any:
            report = super()._evaluate(k, rule)
            seen.append((self.model.num_timesteps // 16, report is not None and report["length_mean"], self.given_up))
            return report

    def run(**options: Any) -> List[Tuple[int, int, str]]:
        seen.clear()
        train(Watched(small_evaluation()._make_env, **options), iterations=3)
        return list(seen)

    gave_up, last = run(stop=True)
    assert gave_up[:2] == (2, False) and gave_up[2].startswith("given up after 2.0 s: reward_mean ")
    assert gave_up[2].endswith(", and the goal is at least 1e+06") and last == (3, 120, "")
    for whole in ({"stop": True, "every": 2}, {"stop": False}):
        assert run(**whole) == [(2, 120, ""), (3, 120, "")]
    often(monkeypatch, least=2, curve=2)
    assert run(stop=True) == [(2, 120, ""), (3, 120, "")]


def test_what_is_out_of_reach() -> None:
    rule = StopRule({"speed": (0.95, 1.05), "falls": (0.0, 0.01), "drift": (0.0, 0.2)}, early=("speed", "falls"))
    assert rule.out_of_reach({"speed": 1.0, "falls": 0.0, "drift": 9.0}, 0.01) == ""
    assert rule.out_of_reach({"speed": 1.06, "falls": 0.0}, 0.01) == ""
    assert rule.out_of_reach({"speed": 1.061, "falls": 0.0}, 0.01) == "speed 1.06, and the goal is 0.95 to 1.05"
    assert rule.out_of_reach({"speed": 0.94, "falls": 0.02}, 0.01) == "speed 0.94, and the goal is 0.95 to 1.05"
    assert rule.out_of_reach({"speed": 1.0, "falls": 1 / 48}, 0.01) == "falls 0.0208, and the goal is at most 0.01"
    assert "speed" in rule.out_of_reach({"speed": math.nan}, 0.01)
    with pytest.raises(UserError, match="unknown key 'fall' in the stop rule's ranges"):
        StopRule({"falls": (0.0, 0.01)}, early=("fall",))


def test_episodes_at_the_pace_that_they_had() -> None:
    """Two of 10 steps: one earns 1 and then 3 a step, with a speed of 2 and then 4; the other has ended in step 2."""
    episodes, no = Episodes(2, torch.device("cpu")), torch.zeros(2, dtype=torch.bool)

    def step(reward: float, speed: float, ended: bool = False) -> None:
        episodes.add(torch.full((2,), reward), torch.tensor([False, ended]), no, {"speed": torch.full((2,), speed)})

    step(1.0, 2.0)
    since = episodes.copy()
    step(3.0, 4.0, ended=True)
    step(3.0, 4.0)
    later = episodes.projected(since, steps=10)
    assert later.reward.tolist() == [1.0 + 9 * 3.0, 4.0] and later.length.tolist() == [10.0, 2.0]
    assert later.mean("speed").tolist() == pytest.approx([3.8, 3.0]) and later.greatest("speed").tolist() == [4.0, 4.0]
    assert since.reward.tolist() == [1.0, 1.0] and episodes.reward.tolist() == [7.0, 4.0], "the others are as they were"
