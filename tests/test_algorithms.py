"""Algorithms of SB3 and sb3-contrib in our runs: off-policy ones, A2C, a recurrent one."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

from sb3_isaac import IsaacVecEnv, UserError, VecNormalize, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.config import load_config
from sb3_isaac.rl.callbacks.iteration import off_policy_iteration
from sb3_isaac.rl.policy.evaluate import evaluate, make_eval_env
from sb3_isaac.rl.policy.export import ModelPolicy, evaluation_policy
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.load import load_actor
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES
from sb3_isaac.tasks import make_task, task_options
from sb3_isaac.view.playing import Playing

PENDULUM, QUADRUPED = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0"
OFF_POLICY = ("sac", "td3", "tqc", "crossq")
contrib = pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="sb3-contrib is not installed")
WITH_CONTRIB = ("tqc", "crossq", "ppo_lstm")
EACH = [pytest.param(name, marks=contrib if name in WITH_CONTRIB else ()) for name in build.UNTUNED]
EACH_OFF_POLICY = [each for each in EACH if each.values[0] in OFF_POLICY]


def config_of(algo: str, env: str = PENDULUM, **arguments: Any) -> Any:
    return load_config(env, algo, algo_keys=build.algorithm_options(algo), env_keys=task_options(env),
                       **{"seed": 0, "device": "cpu", **arguments})


def model_of(algo: str, **overrides: Any) -> Any:
    config = config_of(algo, num_envs=8, overrides={"learning_starts": 8, "buffer_size": 1000, **overrides}
                       if build.is_off_policy(algo) else overrides)
    return build.make_model(config, build.wrap_env(config, build.make_env(config)))


@pytest.mark.parametrize("algo", EACH)
@pytest.mark.parametrize("env", [PENDULUM, QUADRUPED])
def test_the_shipped_settings_build(algo: str, env: str) -> None:
    """Also with a group of observations for the critic alone."""
    privileged: Dict[str, Any] = {"privileged": True, "threads": 1} if env == QUADRUPED else {}
    config = config_of(algo, env, num_envs=4, env_kwargs=privileged,
                       overrides={"buffer_size": 1000} if build.is_off_policy(algo) else {})
    build.check_supported(config)
    wrapped = build.wrap_env(config, build.make_env(config))
    if algo == "crossq" and privileged:
        with pytest.raises(UserError, match=r"several groups of observations, and .* has critic, policy"):
            build.make_model(config, wrapped)
        return
    made = build.make_model(config, wrapped)
    assert isinstance(made.get_vec_normalize_env(), VecNormalize)
    made.get_env().close()


@pytest.mark.parametrize("algo", [pytest.param("sac"), pytest.param("ppo_lstm", marks=contrib), pytest.param("a2c")])
def test_a_run_is_trained_saved_evaluated_and_resumed(algo: str, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture) -> None:
    """An iteration of SAC with 512 robots is 20 of its rollouts: 10,240 transitions."""
    sac = algo == "sac"
    per_iteration = 10_240 if sac else 512 * 8
    small = ["gradient_steps:1", "learning_starts:9000"] if sac else ["n_steps:8"]
    args = ["--env", PENDULUM, "--algo", algo, "--num-envs", "512", "--seed", "0", "--device", "cpu", "-params", *small]
    assert main(["train", *args, "-n", "4096", "--eval-episodes", "4", "-f", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "untuned" in out and "evaluation, 4 episodes" in out
    run = tmp_path / algo / f"{PENDULUM}_1"
    metrics = read_metrics(run / "metrics.csv")
    assert metrics["step"].tolist() == [per_iteration]
    assert {"rollout/ep_rew_mean", "time/fps", "time/physics_s", "eval/reward_mean"} <= set(metrics)
    assert set(CHECKPOINT_FILES) - {p.name for p in run.iterdir()} == ({"policy.pth"} if algo == "ppo_lstm" else set())
    assert main(["train", "-i", str(run), "-n", str(per_iteration + 1)]) == 0
    assert ("holds no replay buffer: 9000 transitions" in capsys.readouterr().out) == sac
    assert read_metrics(run / "metrics.csv")["step"].tolist() == [per_iteration, 2 * per_iteration]
    assert main(["eval", str(run), "--episodes", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["episodes"] == 3 and report["steps"] == 2 * per_iteration
    if algo != "ppo_lstm":
        load_policy(str(run))
        return
    with pytest.raises(UserError, match="give it to sb3-isaac eval or play"):  # the model itself was evaluated
        load_policy(str(run))
    actor = load_actor(run / "latest")
    for count in (3, 4, 3):  # it remembers nothing of other evaluations
        env = make_eval_env(actor, count, seed=0)
        again = evaluate(env, actor, seed=0)
        assert count == 4 or again["reward_mean"] == report["reward_mean"]
    for file in run.rglob("config.yml"):
        file.unlink()
    assert main(["eval", str(run)]) == 2
    assert "is of a program's own training: load model.zip" in capsys.readouterr().err


@contrib
def test_a_recurrent_policy_forgets_where_an_episode_is_over() -> None:
    model = model_of("ppo_lstm", n_steps=2, batch_size=16)
    first, again = ModelPolicy(model, None), ModelPolicy(model, None)
    generator = torch.Generator().manual_seed(0)
    seen = [{"policy": torch.randn(4, 6, generator=generator)} for _ in range(3)]
    for obs in seen[:2]:
        first(obs)
    first.begin(torch.tensor([False, True, False, True]))
    remembered, fresh = first(seen[2]), again(seen[2])
    assert torch.equal(remembered[1::2], fresh[1::2]) and not torch.equal(remembered[::2], fresh[::2])


@contrib
def test_a_policy_that_is_played_is_told_where_an_episode_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_task(PENDULUM, 2, seed=0, stagger=False, episode_length_s=0.2)
    policy, told = ModelPolicy(model_of("ppo_lstm", n_steps=2, batch_size=16), None), []
    monkeypatch.setattr(policy, "begin", lambda over: told.append(over.tolist()))
    playing = Playing(env, policy)
    for _ in range(env.max_steps):
        playing.step()
    assert told[-1] == [True, True] and told[0] == [False, False]


@contrib
def test_a_resumed_recurrent_run_remembers(tmp_path: Path) -> None:
    args = ["--env", PENDULUM, "--algo", "ppo_lstm", "--num-envs", "16", "--seed", "5", "--device", "cpu",
            "--eval-freq", "-1", "--eval-episodes", "2", "-params", "n_steps:8"]
    for folder, steps in (("a", "256"), ("b", "128")):
        assert main(["train", *args, "-n", steps, "-f", str(tmp_path / folder)]) == 0
    a, b = (tmp_path / folder / "ppo_lstm" / f"{PENDULUM}_1" for folder in "ab")
    assert main(["train", "-i", str(b), "-n", "256"]) == 0
    losses = [read_metrics(run / "metrics.csv")["train/loss"] for run in (a, b)]
    assert losses[0][-1] == losses[1][-1]


@pytest.mark.parametrize("algo", EACH_OFF_POLICY)
def test_policy_files_act_as_the_model(algo: str, tmp_path: Path) -> None:
    """CrossQ's batch normalisation included, whose statistics are no longer those of the start."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no policy.pth", category=UserWarning)
        model = model_of(algo, gradient_steps=4)
        model.learn(80)
    norm, metadata = model.get_vec_normalize_env(), {"env": PENDULUM, "env_kwargs": {}}
    from sb3_isaac.policy.formats import save_policy
    from sb3_isaac.rl.policy.export import policy_content
    save_policy(tmp_path / "policy.pth", policy_content(model, norm, metadata))
    raw = norm.get_original_obs()
    expected, _ = model.predict(norm.normalize_obs(raw), deterministic=True)
    np.testing.assert_allclose(load_policy(tmp_path)(torch.as_tensor(raw)).numpy(), expected, atol=1e-5)
    model.policy.actor.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match=r"use model\.zip"):
        policy_content(model, norm, metadata)


@contrib
def test_a_recurrent_policy_is_evaluated_with_its_memory() -> None:
    """Its second action depends on the first observation."""
    model = model_of("ppo_lstm", n_steps=2, batch_size=16)
    policies = [evaluation_policy(model, model.get_vec_normalize_env(), {}, "cpu") for _ in range(2)]
    first, second = torch.zeros(8, 6), torch.ones(8, 6)
    policies[0]({"policy": first})  # type: ignore[operator]
    assert not torch.equal(policies[0]({"policy": second}), policies[1]({"policy": second}))  # type: ignore[operator]
    env = IsaacVecEnv(PENDULUM, num_envs=4, seed=0, stagger=False, episode_length_s=0.2)
    policy = evaluation_policy(model, model.get_vec_normalize_env(), {}, "cpu")
    assert evaluate(env.env, policy, seed=0)["length_mean"] <= 10  # type: ignore[arg-type]


def test_the_replay_buffer_holds_what_the_robots_saw() -> None:
    """Raw observations, and at time-outs no end of the value."""
    model = model_of("sac", gradient_steps=0)
    env = model.get_env()
    model.learn(8 * 30)
    buffer = model.replay_buffer
    np.testing.assert_array_equal(buffer.next_observations[29], env.get_original_obs())
    assert np.abs(buffer.observations[:30, :, 4:]).max() > 3.0, "rad/s, not normalised"


def test_iterations_by_arithmetic() -> None:
    assert [off_policy_iteration(n) for n in (1, 16, 256, 4096, 20_000)] == [10_000, 10_000, 10_240, 12_288, 20_000]
    assert build.iteration_size(config_of("sac", num_envs=256)) == 10_240
    assert build.iteration_size(config_of("sac", num_envs=1, overrides={"train_freq": [1, "episode"]})) == 10_000
    assert build.iteration_size(config_of("a2c", num_envs=16, overrides={"n_steps": 5})) == 80


def test_noise_in_rl_zoos_words() -> None:
    model = model_of("td3", noise_type="ornstein-uhlenbeck", noise_std=0.3)
    assert type(model.action_noise).__name__ == "OrnsteinUhlenbeckActionNoise"
    assert model_of("td3").action_noise._sigma.tolist() == [0.2, 0.2]


@pytest.mark.parametrize(("argv", "words"), [
    (["--algo", "td3", "-params", "noise_type:norml"], ["'norml'", "did you mean 'normal'"]),
    (["--algo", "td3", "-params", "noise_std:-1"], ["noise_std", "above 0"]),
    (["--algo", "sac", "-params", "n_minibatches:4"], ["n_minibatches", "batch_size"]),
    (["--algo", "sac", "-params", "train_freq:no"], ["train_freq", "'no'"]),
    (["--algo", "sac", "-params", "desired_kl:0.01"], ["desired_kl", "sac"]),
    (["--algo", "sacc"], ["'sacc'", "did you mean 'sac'"]),
    (["--algo", "sac", "-params", "train_freq:[1,episode]"], ["episod"]),
])
def test_mistakes_are_one_sentence(argv: List[str], words: List[str], tmp_path: Path,
                                   capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--env", PENDULUM, *argv, "--num-envs", "2", "-f", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
