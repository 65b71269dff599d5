"""What a command writes replaces nothing that it reads, and it can be told where nobody reads along."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecFrameStack

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize, load_run
from sb3_isaac.cli.main import main
from sb3_isaac.cli.outputs import Output, check_outputs
from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks.double_pendulum import DoublePendulum

PENDULUM = "IsaacDoublePendulum-v0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Path:
    root: Path = tmp_path_factory.mktemp("run")
    assert main(["train", "--env", PENDULUM, "-n", "768", "--num-envs", "16", "-f", str(root), "--seed", "0"]) == 0
    return next((root / "ppo").iterdir())


@pytest.fixture()
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


@pytest.mark.parametrize("command, words", [
    (["export", "run", "--onnx", "run/policy.pth"], "ends in .onnx"),
    (["export", "run", "--deploy", "run/config.yml"], "would write over run/config.yml, which is a file of the run"),
    (["export", "run", "--onnx", "same.onnx", "--deploy", "same"], "ends in .yml or .yaml"),
    (["plot", "run", "--out", "run/metrics.csv"], "ends in .png or .pdf or .svg"),
    (["plot", "run", "--out", "run"], "which is a folder"),
    (["compare", "run", "--with", "run", "--out", "run/metrics.csv"], "ends in .html"),
    (["robustness", "run", "--episodes", "2", "--out", "run/meta.png"], "the JSON beside --out would write over"),
    (["robot", "robot.yml", "--picture", "robot.yml"], "ends in .png"),
    (["robot", "robot.yml", "--yaml", "robot.yml"], "robot.yml, which is what is read"),
    (["sysid", "log.csv", "--robot", "robot.yml", "--yaml", "robot.yml"], "robot.yml, which is what is read"),
])
def test_no_output_replaces_what_is_read_or_a_file_of_a_run(run: Path, capsys: Any, command: List[str],
                                                            words: str) -> None:
    assert main(["robot", "quadruped", "--yaml", "robot.yml"]) == 0
    before = {path: path.read_bytes() for path in (*run.rglob("*"), Path("robot.yml")) if path.is_file()}
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert before == {path: path.read_bytes() for path in before}


def test_two_outputs_are_two_files_and_a_device_takes_anything(tmp_path: Path) -> None:
    one = str(tmp_path / "one.yml")
    with pytest.raises(UserError, match=r"--deploy would write over .*one.yml, which is what --yaml writes"):
        check_outputs(Output("--yaml", one, (".yml",)), Output("--deploy", one, (".yml",)))
    check_outputs(Output("--yaml", None, (".yml",)), Output("--out", os.devnull, (".png",)))


def test_a_plot_is_of_the_kind_that_its_name_says(run: Path) -> None:
    for name, begins in (("a.pdf", b"%PDF"), ("a.svg", b"<?xml"), ("a.png", b"\x89PNG")):
        assert main(["plot", "run", "--out", name]) == 0
        assert Path(name).read_bytes().startswith(begins)


def test_a_run_without_its_table_is_resumed_in_its_folder(run: Path, capsys: Any) -> None:
    for name in ("metrics.csv", "DONE"):
        (run / name).unlink()
    assert main(["train", "-i", "run", "-n", "1536"]) == 0
    assert (run / "metrics.csv").is_file() and not Path("logs").exists() and "-> run" in capsys.readouterr().out


def test_more_commands_than_episodes_are_refused(run: Path, capsys: Any) -> None:
    assert main(["eval", "run", "--episodes", "1", "--command", "1", "--command", "2"]) == 2
    assert "2 commands are more than the 1 episodes" in capsys.readouterr().err
    with pytest.raises(UserError, match="num_envs is 0"):
        load_run(run, num_envs=0)


def test_a_package_for_the_hub_is_not_written_over_other_things(run: Path, capsys: Any) -> None:
    pytest.importorskip("huggingface_hub")
    Path("project").mkdir()
    Path("project", "README.md").write_text("mine")
    assert main(["push", "run", "--folder", "project"]) == 2
    assert "project has files of other things (README.md)" in capsys.readouterr().err
    assert Path("project", "README.md").read_text() == "mine" and len(list(Path("project").iterdir())) == 1


def test_a_module_that_ends_the_program_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ends_at_once.py").write_text("raise SystemExit(3)\n")
    assert main(["train", "--gym-packages", "ends_at_once"]) == 2
    assert "cannot be imported (SystemExit: 3 at" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes the output")
@pytest.mark.parametrize("command, code", [("list", 0), ("eval run --episodes 2", 0), ("eval nowhere", 2)])
def test_a_closed_output_is_no_error(run: Path, command: str, code: int) -> None:
    out = subprocess.run(["sh", "-c", f"exec {sys.executable} -m sb3_isaac {command} >&-"], capture_output=True,
                         text=True, check=False)
    assert out.returncode == code and "Traceback" not in out.stderr, out.stderr


def test_letters_that_a_terminal_lacks_are_printed_as_codes(run: Path) -> None:
    run.rename("läuft")
    out = subprocess.run([sys.executable, "-m", "sb3_isaac", "plot", "läuft"], capture_output=True, text=True,
                         check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (out.returncode, out.stdout) == (0, "l\\xe4uft/curve.png\n"), out.stderr


def test_a_copied_or_pickled_vec_env_goes_on_from_the_same_state() -> None:
    env, actions = IsaacVecEnv(PENDULUM, num_envs=3, seed=1, episode_length_s=0.5), np.full((3, 2), 0.5, np.float32)
    env.reset()
    for _ in range(5):
        env.step(actions)
    others = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(60):
        obs, rewards, dones, _ = env.step(actions)
        for other in others:
            theirs = other.step(actions)
            assert (obs == theirs[0]).all() and (rewards == theirs[1]).all() and (dones == theirs[2]).all()
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=12, device="cpu").learn(12)
    assert copy.deepcopy(model).learn(12, reset_num_timesteps=False).num_timesteps == 24
    env.close()
    with pytest.raises(UserError, match=r"after its close"):
        copy.deepcopy(env).reset()
    with pytest.raises(UserError, match="DoublePendulum that was made before cannot be copied or pickled"):
        copy.deepcopy(IsaacVecEnv(DoublePendulum(2)))


def test_what_wrappers_ask_of_a_vec_env() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=2)
    assert env.spec.id == PENDULUM and [spec.id for spec in env.get_attr("spec")] == [PENDULUM] * 2
    for name, value in (("num_envs", 3), ("device", "cuda")):
        with pytest.raises(UserError, match=f"{name} is fixed"):
            env.set_attr(name, value)
    model = PPO("MlpPolicy", VecNormalize(VecFrameStack(env, 2)), n_steps=4, batch_size=8, device="cpu")
    with pytest.warns(UserWarning, match="^VecFrameStack between PPO and IsaacVecEnv"):
        model.learn(8)
