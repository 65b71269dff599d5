"""A value that cannot be used, wherever it is given, ends in one sentence that names it, and exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from sb3_isaac.cli.main import main

PENDULUM = "IsaacDoublePendulum-v0"
SMALL = ["--env", PENDULUM, "--num-envs", "4", "-n", "32", "--eval-freq", "-1"]


def refused(capsys: pytest.CaptureFixture, arguments: List[str], *words: str) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("sb3-isaac: ") and said.count("\n") == 1 and all(word in said for word in words), said
    assert len(said) < 700, "a value is not repeated at length"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("value", "words"), [
    ("policy:MultiInputPolicy", "policy MultiInputPolicy"), ("policy:NoPolicy", "NoPolicy"),
    ("ent_coef:auto", "ent_coef in -params is 'auto'"), ("ent_coef:inf", "ent_coef"),
    ("ent_coef:" + "9" * 400, "ent_coef"),
    ("policy_kwargs.net_arch:abc", "policy_kwargs.net_arch in -params is 'abc'"),
    ("policy_kwargs.net_arch:[0]", "net_arch"), ("policy_kwargs.net_arch:[99999999]", "net_arch"),
    ("policy_kwargs.net_arch:dict(a=1)", "net_arch"), ("policy_kwargs.log_std_init:1e30", "log_std_init"),
    ("stats_window_size:0.5", "stats_window_size"), ("stats_window_size:-1", "stats_window_size"),
    ("use_sde:abc", "use_sde in -params is 'abc'"), ("normalize_advantage:2", "normalize_advantage"),
    ("sde_sample_freq:-2", "sde_sample_freq"), ("learning_rate:1e300", "learning_rate"),
    ("clip_range:0x" + "f" * 5000, "clip_range"), ("n_epochs:4294967296", "n_epochs"),
    ("normalize.norm_obs_keys:[]", "normalize"), ("normalize.clip_obs:nan", "clip_obs"),
    ("device:meta", "device 'meta'"),
    ("rollout_buffer_kwargs:3", "cannot be made"), ("policy_kwargs" + ".a" * 50 + ":1", "part")])
def test_hyperparams(value: str, words: str, capsys: pytest.CaptureFixture) -> None:
    refused(capsys, ["train", *SMALL, "-params", value], words)


@pytest.mark.parametrize("value", [
    "episode_length_s:abc", "episode_length_s:.nan", "episode_length_s:nan", "episode_length_s:1e12",
    "episode_length_s:" + "9" * 60, "stagger:3", "seed:-1", "device:0", "reward.height:1e300", "render_mode:x"])
def test_task_options(value: str, capsys: pytest.CaptureFixture) -> None:
    refused(capsys, ["train", *SMALL, "--env-kwargs", value])


@pytest.mark.parametrize("value", ["physics_dt:1e-9", "substeps:" + "9" * 60, "sim:0", "sim:None", "sim:{}",
                                   "threads:0.5", "robot:{}", "physics_dt:1e30"])
def test_options_of_a_simulated_robot(value: str, capsys: pytest.CaptureFixture) -> None:
    refused(capsys, ["train", "--num-envs", "2", "-n", "96", "--env-kwargs", value])


@pytest.mark.parametrize("arguments", [
    ["train", "--num-envs", "inf"], ["train", "--num-envs", "nan"], ["train", "-n", "1e400"], ["train", "--env", ""],
    ["train", "--env", ":"], ["train", "--algo", ""], ["train", "-i", ""], ["train", "-i", "9" * 5000],
    ["train", *SMALL, "-f", "\0"], ["train", *SMALL, "-f", "\udcff"], ["train", *SMALL, "-tb", "9" * 300],
    ["train", "-conf", "9" * 300], ["train", "--seed", "1.5"], ["train", "--seed", "9" * 30],
    ["eval", "9" * 300], ["eval", "x", "--seed", "-1"], ["eval", "x", "--episodes", "inf"],
    ["eval", "x", "--command", "1e300"], ["plot", "9" * 300], ["plot", "\udcff"], ["run", "9" * 300],
    ["tune", "--env", PENDULUM, "--max-falls", "nan"], ["tune", "--env", PENDULUM, "--study-name", "../x"],
    ["tune", "--space", "9" * 300], ["tune", "--env", PENDULUM, "--storage", "sqlite://u:p@[::1"],
    ["bench", "--out", "\0"]])
def test_flags(arguments: List[str], capsys: pytest.CaptureFixture) -> None:
    refused(capsys, arguments)


@pytest.mark.parametrize(("text", "words"), [
    ("", "is empty"), ("# nothing\n", "is empty"), (f"{PENDULUM}:\n", "is empty"),
    ("Other-v0: {n_envs: 1}\n", f"no entry for '{PENDULUM}'"), ("- 1\n", "is a list"),
    (f"{PENDULUM}: {{n_envs: !!bool maybe}}\n", "maybe"), (f"{PENDULUM}: {{n_envs: 2020-13-01}}\n", "month"),
    (f'{PENDULUM}: {{device: "\\ud800"}}\n', "device"), (f"{PENDULUM}: {{n_envs: {'9' * 5000}}}\n", "my.yml"),
    ("x" * 2**21, "bytes")])
def test_configuration_files(text: str, words: str, capsys: pytest.CaptureFixture) -> None:
    Path("my.yml").write_text(text)
    refused(capsys, ["train", *SMALL, "-conf", "my.yml"], words)


def test_a_misspelt_name_of_a_shipped_file_is_met_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    refused(capsys, ["train", "-conf", "ppo-cours"], "did you mean 'ppo-course'")
