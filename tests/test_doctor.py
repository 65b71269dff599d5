"""Each of the Doctor's findings: provoked by a history worked by hand, and silent beside it; and in training."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CallbackList

from sb3_isaac import PPO, Doctor, IsaacVecEnv, VecNormalize
from sb3_isaac.cli.main import main
from sb3_isaac.rl.callbacks.findings import FINDINGS, Facts, History
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity

PENDULUM = "IsaacDoublePendulum-v0"
FACTS = Facts(max_steps=500, transitions=10_000, n_steps=25, half_range=1.0)
HEALTHY: Dict[str, Any] = {
    "rollout/ep_rew_mean": np.linspace(10.0, 400.0, 80), "rollout/ep_len_mean": np.linspace(20.0, 500.0, 80),
    "rollout/episodes": np.linspace(500.0, 20.0, 80), "rollout/timeouts": 20.0, "rollout/bad_worlds": 1.0,
    "train/std": np.linspace(1.0, 0.1, 80), "train/approx_kl": 0.06, "train/clip_fraction": 0.54,
    "train/value_loss": np.linspace(20.0, 0.01, 80), "train/explained_variance": np.linspace(-5.0, 0.9, 80),
    "train/entropy_loss": -1.0, "reward/a": 0.9, "reward/b": 0.05, "reward/c": -0.05}
"""Eighty iterations in which all goes well: robots fall after 20 steps and later never."""


def said(facts: Facts = FACTS, clipped: Any = None, iterations: int = 80, **changes: Any) -> List[str]:
    """The names of what is found in HEALTHY with `changes`, looked at after each iteration."""
    table = {key: np.broadcast_to(value, (80,)) for key, value in
             {**HEALTHY, **{key.replace("_in_", "/"): value for key, value in changes.items()}}.items()}
    history, found = History(facts), set()
    for i in range(iterations):
        history.add({key: float(values[i]) for key, values in table.items()})
        history.clipped = clipped or {}
        found |= {name for name, find in FINDINGS.items() if find(history) is not None}
    return sorted(found)


def test_a_healthy_run_is_silent() -> None:
    assert said() == []
    assert said(train_in_approx_kl=np.nan, train_in_std=np.nan, train_in_value_loss=np.nan) == [], "as TRPO logs"
    assert said(iterations=3, rollout_in_ep_rew_mean=0.0, train_in_std=0.0) == [], "too early to tell"


UP_AND_DOWN = np.concatenate([np.linspace(10.0, 400.0, 40), np.linspace(400.0, 60.0, 10), np.full(30, 60.0)])
SHORT = {"rollout_in_episodes": 520.0, "rollout_in_ep_len_mean": 20.0}  # 10,000 / (520 − 20) = 20 steps of 500: 4%


@pytest.mark.parametrize(("name", "changes"), [
    ("reward_is_zero", {"rollout_in_ep_rew_mean": 0.0}),
    ("collapse", {"rollout_in_ep_rew_mean": UP_AND_DOWN}),
    ("no_exploration", {"train_in_std": np.geomspace(1.0, 0.002, 80)}),
    ("steps_too_long", {"train_in_approx_kl": 0.3}),
    ("steps_too_long", {"train_in_clip_fraction": 0.8}),
    ("no_steps", {"train_in_approx_kl": 0.0, "train_in_clip_fraction": 0.0}),
    ("critic_is_lost", {"train_in_value_loss": np.geomspace(0.1, 1e3, 80), "train_in_explained_variance": -1.0}),
    ("ends_at_once", {"rollout_in_episodes": 1020.0, "rollout_in_ep_len_mean": 10.0, "rollout_in_ep_rew_mean": 5.0}),
    ("lunges", SHORT),
    ("one_term_dominates", {"reward_in_c": -5.0}),
    ("one_term_dominates", {"reward_in_a": 90.0}),
    ("worlds_diverge", {"rollout_in_bad_worlds": 11.0}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_each_failure_is_found_and_nothing_else(name: str, changes: Dict[str, Any]) -> None:
    assert said(**changes) == [name]


@pytest.mark.parametrize("changes", [
    {"rollout_in_ep_rew_mean": np.concatenate([UP_AND_DOWN[:45], np.full(35, 300.0)])},  # a loss of less than a half
    {"rollout_in_ep_rew_mean": np.tile([10.0, 300.0], 40)},  # noise without a gain
    {"train_in_value_loss": np.geomspace(0.1, 1e3, 80), "train_in_explained_variance": 0.5},  # returns that grow
    {**SHORT, "rollout_in_ep_rew_mean": 20.0},  # short episodes whose steps earn no more than at first
    {"reward_in_b": 0.0, "reward_in_c": -0.001},  # two terms
])
def test_what_looks_like_it_is_left_alone(changes: Dict[str, Any]) -> None:
    assert said(**changes) == []


def test_what_the_normaliser_clips_is_named() -> None:
    history = History(FACTS)
    history.clipped = {"joint_vel": 0.25, "height": 0.04}
    assert "clips 25% of the values of joint_vel" in str(FINDINGS["observations_are_clipped"](history))
    assert said(clipped={"height": 0.05}) == []


def test_a_policy_of_choices_is_judged_by_its_entropy() -> None:
    choices = FACTS._replace(half_range=0.0)
    assert said(choices, train_in_std=np.nan, train_in_entropy_loss=-0.001) == ["no_exploration"]
    assert said(choices, train_in_std=np.nan) == []


def short(tmp_path: Path, capsys: pytest.CaptureFixture, *more: str) -> Tuple[str, int]:
    """What is printed by a training of 22 short iterations of 16 pendulums, and how often the doctor spoke."""
    assert main(["train", "--env", PENDULUM, "--num-envs", "16", "-n", "1408", "--seed", "0", "-f", str(tmp_path),
                 "--eval-freq", "-1", "--eval-episodes", "4", "-params", "n_epochs:1", "n_steps:4", *more]) == 0
    text = capsys.readouterr().out
    return text, text.count("doctor: ")


def test_training_as_it_is_shipped_is_silent_and_a_sentence_comes_once(tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture) -> None:
    assert short(tmp_path, capsys)[1] == 0
    text, count = short(tmp_path, capsys, "--env-kwargs", "reward.height:0", "reward.effort:0")
    assert count == 1 and "doctor: every episode's reward has been 0 for 20 iterations: add a term" in text


def test_clipped_observations_are_measured_in_training() -> None:
    """A normaliser of another scale, as of a file for another robot: speeds of a rad/s are clipped at 10 deviations."""
    normalizer = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=16, seed=0), training=False)
    normalizer.obs_rms.var = np.array([1.0, 1.0, 1.0, 1.0, 1e-8, 1.0])
    model, doctor = PPO("MlpPolicy", normalizer, n_steps=8, batch_size=64, n_epochs=1), Doctor()
    model.learn(16 * 8 * 10, callback=CallbackList([TrainingLog(), doctor]))
    assert list(doctor.findings) == ["observations_are_clipped"]
    assert "values of joint_vel" in doctor.findings["observations_are_clipped"]
    assert torch.isfinite(model.policy.log_std).all()


def test_commands_outside_the_trained_range_are_told() -> None:
    """The flat task trains forward speeds from 0 to 1.2 m/s, here up to 0.5."""
    slow = {"command": {"forward_m_s": [0.0, 0.5]}}
    for options, command, said in (({}, (3.0, 0.0), r"forward_m_s 3 \(trained from 0 to 1.2\) is outside"),
                                   (slow, (0.6, -0.9), r"forward_m_s 0.6 \(trained from 0 to 0.5\), yaw_rad_s -0.9 "),
                                   (slow, None, r"own commands go .* forward_m_s 1 \(trained from 0 to 0.5\)")):
        with pytest.warns(UserWarning, match=said):
            QuadrupedFlat.evaluation_options(options, command)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        QuadrupedFlat.evaluation_options({}, (1.2, -0.5))
        QuadrupedFlat.evaluation_options(slow, (0.5, 0.0))
        QuadrupedVelocity.evaluation_options({})
