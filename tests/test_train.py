"""Training runs: callbacks by arithmetic, the run folder, resuming, and the command line's sentences."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import AdaptiveLearningRate, IsaacVecEnv, RunCheckpoints, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.policy.evaluate import evaluate
from sb3_isaac.rl.training.metrics import MetricsCsv, read_metrics
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES, find_checkpoint
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.double_pendulum import DoublePendulum

PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "16", "-params", "n_steps:8", "batch_size:64"]
QUADRUPED = ["--num-envs", "8", "-params", "n_steps:4", "batch_size:16", "n_epochs:1",
             "--env-kwargs", "threads:1", "episode_length_s:0.4"]


def train(tmp_path: Path, *args: str) -> Path:
    assert main(["train", *args, "-f", str(tmp_path), "--eval-episodes", "4"]) == 0
    return max(tmp_path.glob("ppo/*"), key=lambda p: int(p.name.rsplit("_", 1)[1]))


def test_run_folder_and_the_way_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = train(tmp_path, *QUADRUPED, "-n", "128", "--seed", "3", "--save-freq", "64")
    names = {p.name for p in run.iterdir()}
    assert set(CHECKPOINT_FILES) | {"metrics.csv", "tb", "checkpoints", "latest", "DONE"} <= names
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["128", "64"]
    assert {p.name for p in (run / "latest").iterdir()} == set(CHECKPOINT_FILES)
    assert not [p for p in run.rglob("*") if ".tmp" in p.name or ".old" in p.name]
    meta = json.loads((run / "meta.json").read_text())
    assert (meta["num_timesteps"], meta["iteration"], meta["seed"]) == (128, 4, 3)
    metrics = read_metrics(run / "metrics.csv")
    assert metrics["step"].tolist()[:4] == [32, 64, 96, 128]
    for key in ("rollout/ep_rew_mean", "rollout/forward_speed", "rollout/falls", "rollout/timeouts",
                "rollout/bad_worlds", "reward/forward_velocity", "reward/energy", "time/physics_s", "time/task_s",
                "time/inference_s", "time/update_s", "train/approx_kl", "eval/reward_mean"):
        assert key in metrics, key
    assert list((run / "tb").iterdir())
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) >= set(
        "episodes reward_mean reward_std length_mean forward_speed_mean forward_speed_std yaw_drift_rad "
        "cost_of_transport falls_fraction min_trunk_height_m knee_contact_fraction foot_clearance_m duty_factor "
        "command seed".split())
    assert report["episodes"] == 4 and report["length_mean"] <= 20 and report["command"] == [1.0, 0.0]
    assert main(["eval", str(run), "--episodes", "4", "--env-kwargs", "command.forward_m_s:0.5"]) == 2
    assert "give --command" in capsys.readouterr().err
    assert main(["plot", str(run), "--out", str(tmp_path / "c.png")]) == 0
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_configured_values_are_the_effective_ones(tmp_path: Path) -> None:
    """What the YAML says is what SB3's PPO runs with."""
    from sb3_isaac.config import load_config
    from sb3_isaac.config.files import shipped
    from sb3_isaac.rl.training import build
    from sb3_isaac.tasks import task_options

    config = load_config("IsaacQuadrupedFlat-v0", "ppo", algo_keys=build.algorithm_options("ppo"),
                         env_keys=task_options("IsaacQuadrupedFlat-v0"), num_envs=8, seed=7,
                         overrides={"batch_size": 96, "learning_rate": "lin_3e-4", "clip_range": 0.15},
                         env_kwargs={"reward": {"energy": -0.002}, "threads": 1})
    env = build.make_env(config)
    model: Any = build.make_model(config, build.wrap_env(config, env))
    said = {**config.algo_kwargs, "n_steps": 24, "n_epochs": 5}
    for key in ("n_steps", "n_epochs", "batch_size", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm"):
        assert getattr(model, key) == said[key], key
    assert model.lr_schedule(0.5) == pytest.approx(1.5e-4) and model.clip_range(1.0) == 0.15
    assert model.seed == 7 and model.n_envs == 8
    shapes = [tuple(p.shape) for n, p in model.policy.mlp_extractor.policy_net.named_parameters() if "weight" in n]
    assert shapes == [(256, 44), (128, 256), (64, 128)]
    assert isinstance(model.policy.mlp_extractor.policy_net[1], torch.nn.ELU)
    assert float(model.policy.log_std.detach().mean()) == pytest.approx(said["policy_kwargs"]["log_std_init"])
    normalizer = model.get_vec_normalize_env()
    assert normalizer.gamma == model.gamma and normalizer.clip_obs == 10.0
    assert env.env.options()["reward"]["energy"] == -0.002
    saved = yaml.safe_load(shipped()["ppo"].read_text(encoding="utf-8"))["IsaacQuadrupedFlat-v0"]
    assert saved["n_envs"] == 256 and saved["n_steps"] == 24 and saved["n_epochs"] == 5
    env.close()


def test_resume_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Neither the stop and resume in the middle nor the evaluations of the one run change what is learnt."""
    flags = [*PENDULUM, "desired_kl:0.01"]
    whole = train(tmp_path / "a", *flags, "-n", "2560", "--seed", "5", "--eval-freq", "256", "--save-freq", "1280")
    half = train(tmp_path / "b", *flags, "-n", "1280", "--seed", "5", "--eval-freq", "-1")
    before = read_metrics(half / "metrics.csv")["step"].tolist()
    assert main(["train", "-i", str(half), "-n", "2560"]) == 0
    rates = [read_metrics(run / "metrics.csv")["train/learning_rate"] for run in (whole, half)]
    # A row shows the update before it, which the first row of a resumed run has none of.
    assert len(set(rates[0][1:])) > 1 and rates[0][11:].tolist() == rates[1][11:].tolist()
    a, b = (torch.load(run / "policy.pth", weights_only=True)["state_dict"] for run in (whole, half))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)
    steps = read_metrics(half / "metrics.csv")["step"].tolist()
    assert before == [128 * i for i in range(1, 11)] and steps == [128 * i for i in range(1, 21)]


def test_a_resumed_run_keeps_what_it_was(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = train(tmp_path, *PENDULUM, "-n", "128", "--seed", "1", "--eval-freq", "-1")
    for flags in (["--num-envs", "4"], ["--env", "IsaacQuadrupedFlat-v0"], ["-params", "gamma:0.9"]):
        assert main(["train", "-i", str(run), *flags]) == 2
        assert f"{flags[0]} cannot change" in capsys.readouterr().err
    assert main(["train", "-i", str(run)]) == 2, "it has its 128 steps"
    capsys.readouterr()
    given = str(run / "checkpoints" / "128" / "model.zip")
    assert main(["train", "-i", given, "-n", "256"]) == 0
    meta = json.loads((run / "meta.json").read_text())
    assert meta["num_timesteps"] == 256 and meta["settings"]["eval_episodes"] == 4, "settings come along"
    assert main(["train", "-i", given, "-n", "384"]) == 0
    branch = max(tmp_path.glob("ppo/*"), key=lambda p: int(p.name.rsplit("_", 1)[1]))
    assert branch != run and json.loads((branch / "meta.json").read_text())["num_timesteps"] == 384
    assert json.loads((run / "meta.json").read_text())["num_timesteps"] == 256, "the run it came from stays"


def test_resume_falls_back_to_what_is_whole(tmp_path: Path) -> None:
    run = train(tmp_path, *PENDULUM, "-n", "2560", "--seed", "1", "--eval-freq", "-1", "--save-freq", "1280")
    for name in CHECKPOINT_FILES:
        (run / name).unlink()
    assert find_checkpoint(run).name in ("latest", "2560")
    (run / "latest").rename(run / ".latest.old")  # killed between two renames
    assert find_checkpoint(run).name in (".latest.old", "2560")
    (run / ".latest.old" / "model.zip").unlink()
    (run / "checkpoints" / "2560" / "task_state.pt").unlink()
    assert find_checkpoint(run).name == "1280"
    (run / "checkpoints" / "1280" / "meta.json").unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        find_checkpoint(run)


def test_adaptive_learning_rate_follows_the_divergence() -> None:
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0)
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=16, learning_rate=1e-3)
    model._setup_learn(16)
    callback = AdaptiveLearningRate(0.01, low=5e-4, high=1.2e-3)
    callback.init_callback(model)
    callback.on_training_start({}, {})
    for i, (kl, expected) in enumerate(((None, 1e-3), (0.01, 1e-3), (0.021, 1e-3 / 1.5), (0.5, 5e-4), (0.004, 7.5e-4),
                         (0.004, 1.125e-3), (0.004, 1.2e-3))):
        model._n_updates = i
        if kl is not None:
            model.logger.record("train/approx_kl", kl)
        callback.on_rollout_start()
        assert model.lr_schedule(1.0) == pytest.approx(expected), kl
    with pytest.raises(UserError, match="above 0"):
        AdaptiveLearningRate(-1.0)


class Collect(TrainingLog):
    """Keeps each rollout's values, and the episodes that the infos held."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: List[Dict[str, float]] = []
        self.returns: List[List[float]] = []

    def _on_rollout_start(self) -> None:
        self.returns.append([])
        super()._on_rollout_start()

    def _on_step(self) -> bool:
        self.returns[-1] += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return super()._on_step()

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        self.rollouts.append(dict(self.values))


def test_the_log_is_of_all_episodes_not_of_the_last_hundred() -> None:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=300, seed=0, episode_length_s=0.1))
    log = Collect()
    model = PPO("MlpPolicy", env, n_steps=10, batch_size=1000, n_epochs=1)
    model.learn(6000, callback=log)
    for values, returns in zip(log.rollouts, log.returns):
        assert len(returns) >= 300
        assert values["rollout/ep_rew_mean"] == pytest.approx(np.mean(returns), rel=1e-5)
    assert len(model.ep_info_buffer) == 1
    assert log.totals["update"] > 0 and log.totals["inference"] > 0 and "update" in log.timing_table()


def test_evaluation_counts_first_episodes_by_arithmetic() -> None:
    env = make_task("IsaacDoublePendulum-v0", 6, seed=0, stagger=False)
    rewards = torch.zeros(6)
    obs, live = env.reset(seed=11)["policy"].clone(), torch.ones(6, dtype=torch.bool)
    lengths, fell = torch.zeros(6), torch.zeros(6, dtype=torch.bool)
    while bool(live.any()):
        step = env.step(torch.zeros(6, 2))
        rewards += step.reward * live
        lengths += live
        fell |= step.terminated & live
        live &= ~(step.terminated | step.truncated)
    report = evaluate(env, lambda obs: torch.zeros(6, 2), seed=11)
    assert report["episodes"] == 6 and obs.shape[0] == 6
    assert report["reward_mean"] == pytest.approx(float(rewards.mean()), rel=1e-5)
    assert report["length_mean"] == pytest.approx(float(lengths.mean()))
    assert report["falls_fraction"] == pytest.approx(float(fell.float().mean()))


def test_a_lost_world_reaches_no_evaluation() -> None:
    env = make_task("IsaacQuadrupedFlat-v0", 3, seed=0, stagger=False, threads=1, episode_length_s=0.4)
    count = [0]

    def policy(obs: torch.Tensor) -> torch.Tensor:
        count[0] += 1
        actions = torch.zeros(3, 12)
        if count[0] == 5:
            actions[1] = float("nan")
        return actions

    report = evaluate(env, policy, seed=0)
    assert report["bad_worlds"] == 1 and report["episodes"] == 2
    assert report["length_mean"] == 20 and report["falls_fraction"] == 0.0
    assert report["duty_factor"] > 0.8 and report["min_trunk_height_m"] > 0.2, "as of robots that stand"
    assert all(np.isfinite(v) for v in report.values() if isinstance(v, float))


def test_standing_still_does_not_pass_the_stop() -> None:
    env = make_task("IsaacQuadrupedFlat-v0", 8, stagger=False, threads=1,
                    command={"forward_m_s": 1.0, "yaw_rad_s": 0.0, "resample_s": 1e6})
    report = evaluate(env, lambda obs: torch.zeros(8, 12), seed=0)
    assert report["falls_fraction"] == 0.0 and report["length_mean"] == 1000
    assert report["reward_mean"] < 100 and abs(report["forward_speed_mean"]) < 0.05
    assert report["duty_factor"] > 0.95 and report["knee_contact_fraction"] < 0.01
    meets_rule = env.stop_rule.met
    assert not meets_rule(report)
    good = {"reward_mean": 301.0, "forward_speed_mean": 1.0, "falls_fraction": 0.01, "yaw_drift_rad": 0.2,
            "foot_clearance_m": 0.015, "knee_contact_fraction": 0.005}
    assert meets_rule(good)
    for key, value in (("reward_mean", 299.9), ("forward_speed_mean", 0.94), ("forward_speed_mean", 1.06),
                       ("falls_fraction", 0.02), ("yaw_drift_rad", 0.21), ("foot_clearance_m", 0.014),
                       ("knee_contact_fraction", 0.006)):
        assert not meets_rule({**good, key: value})
    assert not meets_rule({"reward_mean": 500.0, "falls_fraction": 0.0}), "a report without a speed never meets it"


def test_a_stopped_run_is_saved_where_it_was_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DoublePendulum, "stop_rule", StopRule({"steps": (512, math.inf)}))
    run = train(tmp_path, *PENDULUM, "-n", "12800", "--seed", "1", "--eval-freq", "256")
    assert json.loads((run / "meta.json").read_text())["num_timesteps"] == 512
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["512"] and (run / "DONE").exists()
    assert read_metrics(run / "metrics.csv")["step"].tolist() == [128, 256, 384, 512]
    assert main(["train", "-i", str(run), "-n", "1024", "--no-early-stop", "--eval-freq", "-1"]) == 0
    assert json.loads((run / "meta.json").read_text())["num_timesteps"] == 1024


def test_metrics_csv_grows_columns_and_drops_what_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = MetricsCsv(path)
    metrics.write({"a": 1.0}, {}, step=10)
    metrics.write({"a": 2.0, "b": 5, "text": "no number"}, {}, step=20)
    table = read_metrics(path)
    assert table["a"].tolist() == [1.0, 2.0] and np.isnan(table["b"][0]) and table["b"][1] == 5
    resumed = MetricsCsv(path, from_step=10)
    resumed.write({"a": 3.0}, {}, step=20)
    assert read_metrics(path)["a"].tolist() == [1.0, 3.0]


def test_phases_add_up_and_evaluation_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=64, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=256, n_epochs=2)
    evaluation = Evaluation(lambda: IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, stagger=False), every=1)

    def slow(*_: Any, **__: Any) -> Dict[str, Any]:
        time.sleep(0.2)
        return {"reward_mean": 0.0, "falls_fraction": 0.0}

    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.evaluate", slow)
    log = TrainingLog(timed_callbacks=(evaluation,))
    start = time.perf_counter()
    model.learn(64 * 16 * 5, callback=[log, evaluation])
    wall = time.perf_counter() - start
    assert 0.8 <= log.totals["evaluation_and_saving"] < wall
    # The evaluation at the end comes after the log's own, and is in the table all the same.
    assert sum(log.totals.values()) == pytest.approx(wall - 0.2, rel=0.15)
    told = {line[:22].strip(): float(line[22:32]) for line in log.timing_table().splitlines()[1:]}
    assert told["evaluation and saving"] == pytest.approx(evaluation.spent_s, abs=0.06) and evaluation.spent_s >= 1.0
    assert told["in all"] == pytest.approx(wall, rel=0.15) and told["memory"] > 0
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows has no such module
    assert "memory" not in log.timing_table() and log.timing_table().count("\n") == len(told) - 1


def test_checkpoints_of_ones_own_training_script(tmp_path: Path) -> None:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1)
    model.learn(256, callback=RunCheckpoints(tmp_path, every=2, latest_every=1))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["128", "256"]
    assert PPO.load(tmp_path / "latest" / "model.zip").num_timesteps == 256
    assert load_policy(tmp_path)(torch.zeros(1, 6)).shape == (1, 2)


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sb3_isaac.contract import files

    path = tmp_path / "policy.pth"
    files.write_text(path, "first")

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(UserError, match="No space left"):
        files.write_text(path, "second")
    with pytest.raises(UserError, match="No space left"), files.atomic_folder(tmp_path / "latest") as folder:
        (folder / "x").write_text("x")
    assert path.read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["policy.pth"]


@pytest.mark.parametrize(("argv", "words"), [
    (["trian"], ["'trian'", "did you mean 'train'"]),
    (["train", "--env", "IsaacQuadrupedFlat-v1"], ["'IsaacQuadrupedFlat-v1'", "did you mean 'IsaacQuadrupedFlat-v0'"]),
    (["train", "--algo", "poo"], ["'poo'", "ppo"]),
    (["train", "--num-envs", "0"], ["'0'", "at least 1"]),
    (["train", "--num-envs", "many"], ["'many'", "at least 1"]),
    (["train", "--env-kwargs", "sim:bullet", "--num-envs", "2"], ["'bullet'", "mujoco"]),
    (["train", "--env-kwargs", "reward.enrgy:1.0", "--num-envs", "2"], ["'enrgy'", "energy"]),
    (["train", "--env-kwargs", "device:cuda", "--num-envs", "2"], ["'cuda'", "cpu"]),
    (["train", "--env-kwargs", "robbot:anymal"], ["'robbot'", "did you mean 'robot'"]),
    (["train", "-params", "gama:0.9"], ["'gama'", "did you mean 'gamma'"]),
    (["train", "-params", "gamma"], ["gamma", "key:value"]),
    (["train", "-params", "policy:MlpPolcy", "--num-envs", "2"], ["made from -params", "MlpPolcy"]),
    (["train", "-params", "policy_kwargs.foo:1", "--num-envs", "2"], ["foo"]),
    (["train", "-params", "batch_size:1", "--num-envs", "2"], ["made from -params", "batch_size"]),
    (["train", "-params", "frame_stack:4", "--num-envs", "2"], ["frame_stack in -params"]),
    (["train", "--env-kwargs", "substeps:2.5", "--num-envs", "2"], ["substeps", "whole number"]),
    (["train", "-conf", "/nowhere.yml"], ["/nowhere.yml", "there is no configuration file"]),
    (["train", "--device", "gpu0", "--num-envs", "2"], ["gpu0"]),
    (["train", "-i", "/nowhere"], ["/nowhere", "no run folder"]),
    (["train", "--sedd", "1"], ["--sedd"]),
    (["eval", "/nowhere"], ["/nowhere", "no run folder"]),
    (["eval", "/nowhere", "--command", "fast"], ["fast", "list of numbers"]),
    (["plot", "/nowhere"], ["/nowhere", "metrics.csv"]),
])
def test_mistakes_are_one_sentence_and_exit_code_2(argv: List[str], words: List[str], tmp_path: Path,
                                                   capsys: pytest.CaptureFixture) -> None:
    extra = ["-f", str(tmp_path)] if argv[0] == "train" else []
    assert main(argv + extra) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in captured.err
    assert all(word in lines[0] for word in words), lines[0]
    assert not list(tmp_path.glob("ppo/*")), "nothing was saved, so nothing is left"


@pytest.mark.parametrize("text", [
    "[1, 2]", "IsaacQuadrupedFlat-v0: {polcy: MlpPolicy}",
    "IsaacQuadrupedFlat-v0: {policy: MlpPolicy, normalize: \"__import__('os')\"}"])
def test_a_bad_yaml_is_one_sentence(text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "bad.yml").write_text(text)
    assert main(["train", "-conf", str(tmp_path / "bad.yml"), "-f", str(tmp_path)]) == 2
    assert str(tmp_path / "bad.yml") in capsys.readouterr().err


def test_a_policy_on_another_environment_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = train(tmp_path, *PENDULUM, "-n", "128", "--eval-freq", "-1")
    assert main(["eval", str(run), "--env", "IsaacQuadrupedFlat-v0", "--episodes", "2"]) == 2
    assert "was trained on IsaacDoublePendulum-v0" in capsys.readouterr().err


def test_many_minibatches_are_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="minibatches"):
        train(tmp_path, "--env", "IsaacDoublePendulum-v0", "--num-envs", "16", "-n", "128", "--eval-freq", "-1",
              "-params", "n_steps:128", "batch_size:16", "n_epochs:1")
