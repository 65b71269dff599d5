"""The run folder under failures: devices, locks, evaluations that fail, stale files, half lines."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import IsaacVecEnv, RunCheckpoints, UserError, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.cli.resume import _resume
from sb3_isaac.config import TrainConfig, load_config
from sb3_isaac.contract import names
from sb3_isaac.policy.formats import find_policy
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.metrics import MetricsCsv, read_metrics
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES, read_meta
from sb3_isaac.rl.training.run_lock import lock_run
from sb3_isaac.rl.training.task_state import restore_task_state, task_state
from sb3_isaac.rl.training.train import Settings, configured_callbacks, train, uses_nvidias_isaacgym
from sb3_isaac.tasks import task_options

PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "16", "--seed", "1", "--eval-episodes", "4",
            "-params", "n_steps:8", "batch_size:64", "n_epochs:1"]


def started(folder: Path, *args: str) -> Path:
    assert main(["train", *PENDULUM, *args, "-f", str(folder)]) == 0
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


def config_of(**changes: Any) -> TrainConfig:
    config = load_config("IsaacDoublePendulum-v0", "ppo", algo_keys=build.algorithm_options("ppo"),
                         env_keys=task_options("IsaacDoublePendulum-v0"), num_envs=16, n_timesteps=256, seed=1,
                         overrides={"n_steps": 8, "batch_size": 64, "n_epochs": 1})
    return replace(config, **changes)


# ---- the end of a run

@pytest.mark.parametrize("error", [UserError("the simulator lost all worlds."), SystemExit(3)])
def test_a_failing_last_evaluation_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 error: BaseException) -> None:
    run, seen = tmp_path / "run", []
    run.mkdir()

    def fail(*_: Any, **__: Any) -> Dict[str, Any]:
        seen.append({p.name for p in run.iterdir()})
        raise error

    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.evaluate", fail)
    with pytest.raises(type(error)):
        train(config_of(), run, Settings(eval_every=10**9))
    assert {*CHECKPOINT_FILES, "latest", "checkpoints"} <= seen[0], "saved before the evaluation began"
    assert (run / "checkpoints" / "256" / "model.zip").is_file() and (run / "DONE").read_text() == "256\n"
    assert read_metrics(run / "metrics.csv")["step"].tolist() == [128, 256]
    assert not (run / ".lock").exists()


def test_a_failing_evaluation_in_between_comes_after_the_checkpoint(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Dict[str, Any]:
        raise UserError("the simulator lost all worlds.")

    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.evaluate", fail)
    with pytest.raises(UserError):
        train(config_of(), tmp_path, Settings(eval_every=1, save_every=1))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["128"] and not (tmp_path / "DONE").exists()


def test_a_resumed_training_evaluates_when_it_would_have_otherwise(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration has 128 transitions; the rule is met by no report, and asks nothing of training."""
    monkeypatch.setattr("sb3_isaac.rl.callbacks.evaluation.LEAST_PAUSE", 3)
    made: List[int] = []

    def count(self: Evaluation, rule: Any = None) -> None:
        made.append(self.model.num_timesteps // 128)

    monkeypatch.setattr(Evaluation, "evaluate", count)
    settings = Settings(latest_every=4)
    for name in ("whole", "first", "second"):
        (tmp_path / name).mkdir()
    train(config_of(n_timesteps=10 * 128), tmp_path / "whole", settings)
    assert made == [3, 6, 9, 10], "the last one is of the end"
    made.clear()
    train(config_of(n_timesteps=4 * 128), tmp_path / "first", settings)
    train(config_of(n_timesteps=10 * 128), tmp_path / "second", settings, resume_from=tmp_path / "first" / "latest")
    assert made == [3, 4, 6, 9, 10]


@pytest.fixture
def no_isaacgym() -> Iterator[None]:
    yield
    sys.modules.pop("isaacgym", None)


@pytest.mark.usefixtures("no_isaacgym")
def test_one_simulation_in_a_process_of_nvidias() -> None:
    config = config_of(env="IsaacQuadrupedFlat-v0")
    assert not uses_nvidias_isaacgym(config)
    sys.modules["isaacgym"] = types.ModuleType("isaacgym")
    assert uses_nvidias_isaacgym(config)
    assert not uses_nvidias_isaacgym(replace(config, env_kwargs={"sim": "mujoco"}))
    assert not uses_nvidias_isaacgym(config_of()), "the pendulum has no simulator to choose"
    sys.modules["isaacgym"].__emulated__ = True  # type: ignore[attr-defined]
    assert not uses_nvidias_isaacgym(config)


# ---- devices

class OnDevice(torch.Tensor):
    """A tensor that, as one on a GPU, cannot become a numpy array before it is on the CPU."""

    @classmethod
    def of(cls, tensor: Any) -> "OnDevice":
        return torch.as_tensor(tensor).as_subclass(cls)

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list, tuple)):
        for item in (value.values() if isinstance(value, dict) else value):
            yield from leaves(item)
    else:
        yield value


def test_the_state_of_a_learner_on_another_device_is_saved_and_restored_on_the_cpu() -> None:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0))
    model: Any = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1)
    model.learn(32)
    obs = model._last_obs.copy()
    model._last_obs, model._last_episode_starts = OnDevice.of(obs), OnDevice.of(model._last_episode_starts)
    env.returns = OnDevice.of(env.returns)
    state = task_state(model)
    assert not [value for value in leaves(state) if isinstance(value, OnDevice)]
    as_loaded_there = {**state, "last_obs": OnDevice.of(state["last_obs"]),
                       "discounted_returns": OnDevice.of(state["discounted_returns"])}
    restore_task_state(model, as_loaded_there)
    assert np.array_equal(model._last_obs, obs) and isinstance(env.returns, np.ndarray)


def test_a_checkpoint_of_a_gpu_is_resumed_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(tmp_path, "-n", "128", "--eval-freq", "-1")
    for file in run.rglob("task_state.pt"):
        state = torch.load(file, weights_only=True)
        with monkeypatch.context() as patch:  # what a file says that was saved from there
            patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
            torch.save(state, file)
        if not torch.cuda.is_available():
            with pytest.raises(RuntimeError, match="CUDA"):
                torch.load(file, weights_only=True)
    assert main(["train", "-i", str(run), "-n", "256", "--eval-freq", "-1"]) == 0


def test_successes_are_continued_as_episodes_are() -> None:
    first, second = (PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2, seed=0), n_steps=8,
                         batch_size=16, n_epochs=1, device="cpu").learn(16) for _ in range(2))
    first.ep_success_buffer.extend([True, 0.25])
    state = task_state(first)
    restore_task_state(second, state)
    assert list(second.ep_success_buffer) == [1.0, 0.25]
    del state["successes"]  # a state that was saved before they were kept
    restore_task_state(second, state)
    assert list(second.ep_success_buffer) == []


# ---- one process at a time

def test_two_processes_do_not_train_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = started(tmp_path, "-n", "128", "--eval-freq", "-1")
    hold = ("import sys, time\nfrom pathlib import Path\nfrom sb3_isaac.rl.training.run_lock import lock_run\n"
            "with lock_run(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n")
    other = subprocess.Popen([sys.executable, "-c", hold, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        before = (run / "metrics.csv").read_bytes()
        assert main(["train", "-i", str(run), "-n", "256"]) == 2
        said = capsys.readouterr().err
        assert f"process {other.pid} on {platform.node()}" in said and said.count("\n") == 1, said
        assert (run / "metrics.csv").read_bytes() == before and (run / "DONE").exists()
    finally:
        other.kill()
        other.wait()
    assert (run / ".lock").exists(), "a kill leaves the file, not the lock"
    assert main(["train", "-i", str(run), "-n", "256", "--eval-freq", "-1"]) == 0
    assert not (run / ".lock").exists()


def test_the_lock_is_free_after_the_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock_run(tmp_path):
        with pytest.raises(UserError, match=f"process {os.getpid()}"), lock_run(tmp_path):
            pass
        raise RuntimeError
    with lock_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_older_than_the_run_is_not_continued_in_it(tmp_path: Path) -> None:
    train(config_of(), tmp_path, Settings(eval_every=0, save_every=1))
    with pytest.raises(UserError, match="has 128 steps"):
        train(config_of(n_timesteps=512), tmp_path, Settings(eval_every=0), tmp_path / "checkpoints" / "128")


def test_a_run_folder_means_its_newest_state(tmp_path: Path) -> None:
    run = started(tmp_path, "-n", "256", "--eval-freq", "-1", "--save-freq", "128")
    older = run / "checkpoints" / "128"  # the newest when it was looked for, before another process saved 256
    args = argparse.Namespace(trained_agent=str(run), n_timesteps=512, log_folder=None, hyperparams=[], env_kwargs=[],
                              **dict.fromkeys(("env", "algo", "seed", "num_envs", "conf_file", "device")))
    assert _resume(args, run, older, read_meta(older)).folder == run
    assert _resume(args, older, older, read_meta(older)).folder == run.with_name("IsaacDoublePendulum-v0_2")


# ---- which policy

def test_the_newest_policy_of_a_run_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = started(tmp_path, "-n", "128", "--eval-freq", "-1")
    assert find_policy(run) == run / "policy.pth" and load_policy(run).info["steps"] == 128
    stale = {name: (run / name).read_bytes() for name in ("policy.pth", "meta.json")}
    assert main(["train", "-i", str(run), "-n", "384", "--eval-freq", "-1", "--save-freq", "128"]) == 0
    for name, content in stale.items():  # as if the run had been killed before its end
        (run / name).write_bytes(content)
    assert find_policy(run) == run / "latest" / "policy.pth"
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 384
    for file in (run / "latest").iterdir():
        file.unlink()
    assert find_policy(run) == run / "checkpoints" / "384" / "policy.pth"
    (run / "checkpoints" / "384" / "meta.json").unlink()
    assert load_policy(run).info["steps"] == 256


def test_the_run_folders_meta_is_copied_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in mid-copy then leaves an old meta.json beside new files, not a new one beside an old policy.pth."""
    import shutil

    copied: List[str] = []
    copyfile = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda a, b: copied.append(Path(a).name) or copyfile(a, b))
    train(config_of(), tmp_path, Settings(eval_every=0))
    assert set(copied) >= set(CHECKPOINT_FILES) - {"vecnormalize.pkl"} and copied[-1] == "meta.json"


def test_a_run_of_ones_own_program_is_scored_where_its_environment_is_named(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0))
    PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1).learn(64, callback=RunCheckpoints(tmp_path))
    assert (tmp_path / "DONE").read_text() == "64\n"
    for verb in ("eval", "play"):
        assert main([verb, str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "give --env" in said and said.count("\n") == 1, said
    assert main(["eval", str(tmp_path), "--env", "IsaacDoublePendulum-v0", "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 64
    assert main(["eval", str(tmp_path), "--env", "IsaacQuadrupedFlat-v0", "--episodes", "2"]) == 2
    assert "observations" in capsys.readouterr().err


# ---- metrics.csv

def test_rows_are_appended_and_only_a_new_column_rewrites(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = MetricsCsv(path)
    metrics.write({"a": 1.0}, {}, step=10)
    inode = path.stat().st_ino
    for step in range(20, 200, 10):
        metrics.write({"a": float(step)}, {}, step=step)
    assert path.stat().st_ino == inode, "the same file, which grew"
    metrics.write({"a": 0.0, "b": 1}, {}, step=200)
    inode, changed = path.stat().st_ino, path.stat().st_ino != inode
    metrics.write({"b": 2}, {}, step=210)
    assert changed and path.stat().st_ino == inode
    metrics.write({"a": 7.0}, {}, step=210)
    table = read_metrics(path)
    assert table["step"].tolist() == list(range(10, 220, 10))
    assert np.isnan(table["b"][:-2]).all() and table["b"][-2:].tolist() == [1, 2] and table["a"][-1] == 7.0


def test_half_a_line_is_left_out_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = MetricsCsv(path)
    for step in (10, 20, 30):
        metrics.write({"a": 100.0 + step, "b": 2.0}, {}, step=step)
    whole = path.read_text()
    for cut in range(1, len("30,130.0,2.0\n")):
        path.write_text(whole[:-cut])  # killed in the write of the last row
        assert read_metrics(path)["step"].tolist() == [10, 20]
    resumed = MetricsCsv(path, from_step=20)
    resumed.write({"a": 5.0}, {}, step=30)
    table = read_metrics(path)
    assert table["step"].tolist() == [10, 20, 30] and table["a"].tolist() == [110.0, 120.0, 5.0]


# ---- callbacks of a configuration

class Counting(BaseCallback):
    made = 0

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        Counting.made += 1

    def _on_step(self) -> bool:
        return True


def test_callbacks_come_from_named_packages_and_are_checked_before_they_are_made(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "executed"
    for path, said in (("subprocess.Popen", "--gym-packages"), ("stable_baselines3x.Foo", "--gym-packages"),
                       ("stable_baselines3.common.utils.set_random_seed", "BaseCallback"),
                       ("stable_baselines3.PPO", "BaseCallback"), ("sb3_isaac.Nothing", "cannot be found"),
                       (f"{__name__}.Counting", "--gym-packages")):
        with pytest.raises(UserError, match=said):
            build.yaml_callback(path, {"args": ["touch", str(marker)]})
    assert not marker.exists() and Counting.made == 0
    monkeypatch.setattr(names, "_ALLOWED", {*names._ALLOWED, __name__})
    assert isinstance(build.yaml_callback(f"{__name__}.Counting", {"every": 2}), Counting)
    with pytest.raises(UserError, match="refuses"):
        build.yaml_callback(f"{__name__}.Counting", {"evry": 2})


@pytest.mark.parametrize("desired_kl", [0.01, None])
def test_the_learning_rate_is_adapted_once(desired_kl: Any) -> None:
    adapter: Any = ("sb3_isaac.AdaptiveLearningRate", {"desired_kl": 0.02})
    twice = config_of(desired_kl=desired_kl, callback=(adapter,) if desired_kl else (adapter, adapter))
    with pytest.raises(UserError, match="more than one"):
        configured_callbacks(twice)
    assert len(configured_callbacks(config_of(desired_kl=None, callback=(adapter,)))) == 1
