"""Signals, closed outputs and vanished folders: what a command leaves, what it says, and where a run goes on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import torch

from sb3_isaac.cli.main import main
from sb3_isaac.contract import signals
from sb3_isaac.contract.output import say
from sb3_isaac.rl.algo.ppo import PPO
from sb3_isaac.rl.callbacks.iteration import iteration_of
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES, read_meta

PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "16", "--seed", "1", "--eval-episodes", "4",
            "--eval-freq", "256", "-params", "n_steps:8", "batch_size:64", "n_epochs:1", "-n", "512"]
ITERATION = 128
SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run_in(folder: Path) -> Path:
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four iterations that nothing has ended early."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(["train", *PENDULUM, "-f", str(folder)]) == 0
    return run_in(folder)


def signal_in_update(patch: pytest.MonkeyPatch, iteration: int, *numbers: int) -> None:
    """Let signals come in the middle of an iteration: after its rollout, before its update."""
    train: Callable[[Any], None] = PPO.train

    def interrupted(self: Any) -> None:
        if iteration_of(self) == iteration:
            for number in numbers:
                signal.raise_signal(number)
        train(self)

    patch.setattr(PPO, "train", interrupted)


def command_in(said: str) -> List[str]:
    """The arguments of the command that a sentence gives in quotes."""
    words = shlex.split(said[said.index("'sb3-isaac ") + 1:].rsplit("'", 1)[0])
    assert words[:2] == ["sb3-isaac", "train"]
    return words[1:]


def assert_same(run: Path, other: Path) -> None:
    """Both runs ended with the same networks, and their logs agree in all but times."""
    ours, theirs = (torch.load(r / "policy.pth", weights_only=True)["state_dict"] for r in (run, other))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    table, other_table = read_metrics(run / "metrics.csv"), read_metrics(other / "metrics.csv")
    assert set(table) == set(other_table)
    for key, column in table.items():
        if not key.startswith("time/"):
            np.testing.assert_array_equal(column, other_table[key], err_msg=key)
    assert (run / "DONE").read_text() == (other / "DONE").read_text()


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_lets_the_iteration_end_and_the_named_command_goes_on(
        name: str, tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    number, run = int(getattr(signal, name)), run_in(tmp_path)
    with monkeypatch.context() as patch:
        signal_in_update(patch, 2, number, number)  # as when a terminal closes: twice, and it is one request
        assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 128 + number
    said = capfd.readouterr().err
    assert f"{name}: this iteration is finished and saved" in said
    assert f"ended by {name}; {2 * ITERATION} steps are saved in {run}" in said
    assert read_meta(run / "latest")["num_timesteps"] == 2 * ITERATION
    assert {p.name for p in run.iterdir()} == {"latest", "config.yml", "meta.json", "metrics.csv", "tb"}
    assert main(command_in(said)) == 0
    assert_same(run, unbroken)


def test_a_second_signal_leaves_at_once_and_the_sentence_is_true(
        tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(signals, "SAME_REQUEST_S", -1.0)
    run = run_in(tmp_path)
    with monkeypatch.context() as patch:
        signal_in_update(patch, 2, signal.SIGTERM, signal.SIGINT)
        assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 128 + signal.SIGINT
    said = capfd.readouterr().err
    assert f"ended by SIGINT before the first checkpoint in {run}" in said and not (run / "latest").exists()
    assert {p.name for p in run.iterdir()} == {"config.yml", "meta.json", "metrics.csv", "tb"}
    assert main(command_in(said.splitlines()[-1])) == 0
    assert_same(run, unbroken)


def test_a_run_can_be_begun_again_from_its_first_moment(tmp_path: Path, unbroken: Path,
                                                        monkeypatch: pytest.MonkeyPatch,
                                                        capfd: pytest.CaptureFixture[str]) -> None:
    def end(_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(build, "make_env", end)
        assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 143
    run, said = run_in(tmp_path), capfd.readouterr().err
    assert {p.name for p in run.iterdir()} == {"config.yml", "meta.json"} and read_meta(run)["num_timesteps"] == 0
    assert main([*command_in(said)]) == 0
    assert_same(run, unbroken)


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    assert main(["train", *PENDULUM, "--env-kwargs", "episode_length_s:-1", "-f", str(tmp_path)]) == 2
    assert list((tmp_path / "ppo").iterdir()) == []


def test_a_signal_in_the_last_iteration_ends_a_run_that_is_done(tmp_path: Path, unbroken: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    signal_in_update(monkeypatch, 4, signal.SIGTERM)
    assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 0
    assert_same(run_in(tmp_path), unbroken)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupts = signals.Interrupts()
        with signals.raising(), interrupts.held():
            signal.raise_signal(signal.SIGHUP)
        assert not interrupts.asked and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in signals.NUMBERS]
    interrupts = signals.Interrupts()
    with pytest.raises(signals.Interrupted) as caught, interrupts.held():
        signal.raise_signal(signal.SIGTERM)
        interrupts.check()
    assert caught.value.exit_code == 143 and str(caught.value) == "SIGTERM"
    assert [signal.getsignal(number) for number in signals.NUMBERS] == before


@pytest.mark.parametrize(("verb", "at"), [
    (["eval"], "sb3_isaac.rl.training.load.load_actor"), (["play", "--picture", "p.png"],
                                                             "sb3_isaac.rl.training.load.load_actor"),
    (["plot"], "sb3_isaac.view.plot.draw"), (["bench", "--out"], "sb3_isaac.bench.bench")])
def test_other_verbs_leave_at_once_with_a_sentence(verb: List[str], at: str, unbroken: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    def end(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    import sb3_isaac.bench
    import sb3_isaac.rl.training.load
    import sb3_isaac.view.plot  # noqa: F401

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(at, end)
    assert main([*verb, str(tmp_path if verb[0] == "bench" else unbroken)]) == 143
    said = capfd.readouterr().err
    assert said == "sb3-isaac: ended by SIGTERM, and nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


# ---- outputs

class Closed:
    """A standard output whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    flush = write


def test_training_goes_on_where_nobody_reads(tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Closed())
    assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 0
    assert_same(run_in(tmp_path), unbroken)
    say("dropped")


def test_an_output_that_cannot_be_written_is_no_success(unbroken: Path, monkeypatch: pytest.MonkeyPatch,
                                                        capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout", open("/dev/full", "w") if os.path.exists("/dev/full") else Closed())
    code = main(["eval", str(unbroken), "--episodes", "2", "--json"])
    said = capfd.readouterr().err
    assert ((code, said.count("\n")) == (2, 1) and "No space left" in said) or code == 141


# ---- files that go away or cannot be written

def test_a_run_folder_that_vanishes_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capfd: pytest.CaptureFixture[str]) -> None:
    run, train = run_in(tmp_path), PPO.train

    def remove(self: Any) -> None:
        shutil.rmtree(run)
        train(self)

    monkeypatch.setattr(PPO, "train", remove)
    assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert f"there is no folder {run}, or no longer" in said and said.count("\n") == 1, said


@pytest.mark.parametrize("place", ["tb", "metrics.csv", "latest", "checkpoints", "DONE"])
def test_something_else_in_a_files_place_is_one_sentence(place: str, unbroken: Path, tmp_path: Path,
                                                         capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    path, is_folder = run / place, (run / place).is_dir()
    shutil.rmtree(path) if is_folder else path.unlink()
    path.write_text("") if is_folder else path.mkdir()
    assert main(["train", "-i", str(run), "-n", "1024", "--save-freq", "128", "--eval-freq", "-1"]) == 2
    said = capfd.readouterr().err
    assert str(path) in said and said.count("\n") == 1 and "Traceback" not in said, said


# ---- where -i goes on

def contents(folder: Path) -> Dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("inside", "given", "goes_on_in"), [
    ("latest", ".", "run"), ("checkpoints/512", ".", "run"), ("checkpoints/512", "model.zip", "run"),
    ("checkpoints", "512", "run"), (".", "checkpoints/512", "run"), ("checkpoints/512", "../..", "run"),
    ("latest", "..", "run"), (".", "latest/..", "run"), (".", ".", "run"),
    ("checkpoints/256", ".", "new"), ("checkpoints/512", "../256", "new"), ("../alone", ".", "alone"),
    ("../latest", ".", "alone"), ("..", "alone/model.zip", "alone")])
def test_a_checkpoint_is_never_written_over(inside: str, given: str, goes_on_in: str, unbroken: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands alone, as a copy does, is gone on with in a new run."""
    run = run_in(tmp_path)
    shutil.copytree(unbroken, run)
    shutil.copytree(run / "latest", run / "checkpoints" / "256")
    for name in ("config.yml", "meta.json"):
        path = run / "checkpoints" / "256" / name
        path.write_text(path.read_text().replace("512", "256"))
    shutil.copytree(run / "latest", run.parent / "alone")
    shutil.copytree(run / "latest", run.parent / "latest")
    kept = {p: contents(p) for p in (run / "checkpoints" / "256", run / "checkpoints" / "512", run.parent / "alone",
                                     run.parent / "latest")}
    before = contents(run)
    monkeypatch.chdir(run / inside)
    seen: List[Any] = []

    def started(config: Any, folder: Path, *_: Any) -> None:
        seen.append(folder.resolve())
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr("sb3_isaac.rl.training.train.train", started)
    main(["train", "-i", given, "-n", "1024"])
    (folder,) = seen
    new = {"run": run, "new": run.parent / "IsaacDoublePendulum-v0_2",
           "alone": Path("logs/ppo/IsaacDoublePendulum-v0_1").resolve()}[goes_on_in]
    assert folder == new
    assert {p: contents(p) for p in kept} == kept
    if goes_on_in != "run":
        assert all(contents(run)[name] == content for name, content in before.items())


def test_a_new_run_from_an_older_checkpoint_stands_on_its_own_from_the_start(
        unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(unbroken / "latest", alone)
    monkeypatch.chdir(tmp_path)

    def end(_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(build, "make_env", end)
        assert main(["train", "-i", str(alone), "-n", "640"]) == 143
    said = capfd.readouterr().err
    run = Path("logs") / "ppo" / "IsaacDoublePendulum-v0_1"
    assert f"512 steps are saved in {run}" in said
    assert main(command_in(said)) == 0
    assert (run / "DONE").read_text() == "640\n" and contents(alone) == contents(unbroken / "latest")
    assert set(CHECKPOINT_FILES) <= {p.name for p in run.iterdir()}
    assert json.loads((run / "meta.json").read_text())["num_timesteps"] == 640


@pytest.mark.parametrize(("value", "error"), [("nonsense", ""), ("osmesa", "AttributeError"), ("egl", "RuntimeError")])
def test_what_is_wrong_with_mujocos_variable_is_said_as_such(value: str, error: str, tmp_path: Path) -> None:
    """Also where it names a library that is not installed: PyOpenGL then raises what it happens to."""
    if error:
        (tmp_path / "OpenGL").mkdir()
        (tmp_path / "OpenGL" / "__init__.py").write_text(f"raise {error}('no library')\n")
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    out = subprocess.run([sys.executable, "-m", "sb3_isaac", "train", "--num-envs", "2", "-f", str(tmp_path)],
                         env={**os.environ, "MUJOCO_GL": value, "PYTHONPATH": paths}, capture_output=True, text=True,
                         check=False)
    assert out.returncode == 2 and f"MUJOCO_GL is '{value}'" in out.stderr and out.stderr.count("\n") == 1, out.stderr
    assert list((tmp_path / "ppo").iterdir()) == []
