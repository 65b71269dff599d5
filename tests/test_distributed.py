"""Two processes that train together: what they learn, agree on and leave is what one process learns and leaves."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import pytest
import torch
from distributed_program import PER_ITERATION, TRAIN, learn, numbers_of

from sb3_isaac.cli.main import main
from sb3_isaac.contract.cores import available_cores
from sb3_isaac.rl.distributed import mean_and_std, merged_moments
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import find_checkpoint, read_meta
from sb3_isaac.rl.training.task_state import load_task_state

PROGRAM = Path(__file__).with_name("distributed_program.py")


class Left(NamedTuple):
    """What two processes have done, and the folder of their runs."""

    ranks: List[Dict[str, Any]]
    runs: Path


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, str(PROGRAM), str(folder)],
                                  env={**group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for rank in range(2)]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 9], printed  # the second one is made to die
    assert "robots" not in printed[1], "rank 0 alone speaks"
    return Left([json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)],
                folder / "ppo")


def run_of(left: Left, number: int) -> Path:
    return left.runs / f"IsaacDoublePendulum-v0_{number}"


@pytest.mark.parametrize("name, iterations, options", [
    ("equal", 1, {}), ("equal later", 3, {"desired_kl": 0.01}), ("kl", 1, {"target_kl": 1e-7})])
def test_two_processes_learn_what_one_does(left: Left, name: str, iterations: int, options: Dict[str, Any]) -> None:
    """The same robots, noise and minibatches: parameters within 1e-5, one normaliser, the same statistics and log."""
    one = numbers_of(learn(1, 0, iterations, **options))
    assert left.ranks[0][name] == left.ranks[1][name], "bit by bit"
    two = left.ranks[0][name]
    assert max(abs(a - b) for a, b in zip(one["parameters"], two["parameters"])) <= 1e-5
    for key in ("obs_mean", "obs_var", "count", "ret_var"):
        assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-6), key
    assert (two["steps"], two["updates"], two["far"]) == (one["steps"], one["updates"], one["far"])
    assert two["episodes"][0] == pytest.approx(one["episodes"][0], rel=1e-5)
    assert set(two["logged"]) == set(one["logged"])
    for key, value in one["logged"].items():
        if key != "train/explained_variance":  # variances are within a process
            assert two["logged"][key] == pytest.approx(value, rel=1e-3, abs=1e-5), key


def test_the_moments_of_one_process_are_its_own() -> None:
    x = torch.randn(50, 3)
    mean, var, count = merged_moments(x.mean(dim=0), x.var(dim=0), 50)
    assert count == 50 and torch.equal(mean, x.mean(dim=0)) and torch.equal(var, x.var(dim=0))
    assert mean_and_std(x[:, 0])[1] == x[:, 0].std()


def test_a_callback_that_stops_one_process_stops_both(left: Left) -> None:
    assert [rank["stop"] for rank in left.ranks] == [4 * 8, 4 * 8]


def test_a_resumed_training_is_the_one_that_was_not_interrupted(left: Left) -> None:
    assert all(rank[name]["code"] == 0 for rank in left.ranks for name in ("whole", "half", "resumed"))
    whole, resumed = (torch.load(run_of(left, k) / "policy.pth", weights_only=True) for k in (1, 2))
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())
    states = [[load_task_state(run_of(left, k) / name) for name in ("task_state.pt", "task_state_1.pt")]
              for k in (1, 2)]
    for rank in range(2):
        assert torch.equal(states[0][rank]["last_obs"], states[1][rank]["last_obs"])
        assert torch.equal(states[0][rank]["random"]["torch"], states[1][rank]["random"]["torch"])
    assert not torch.equal(states[0][0]["last_obs"], states[0][1]["last_obs"]), "each has its own robots and seed"
    a, b = (read_metrics(run_of(left, k) / "metrics.csv") for k in (1, 2))
    assert a["step"].tolist() == [PER_ITERATION * k for k in range(1, 5)]
    assert a["train/loss"][2:].tolist() == b["train/loss"][2:].tolist()


def test_another_number_of_processes_cannot_resume(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-i", str(run_of(left, 2)), "-n", "1000"]) == 2
    assert "was trained by 2 processes and would be resumed by 1" in capsys.readouterr().err


@pytest.mark.parametrize("name, words", [
    ("other seed", "process 1 of this training was started with seed 1 and process 0 with 0"),
    ("odd", "--num-envs is 7, which 2 processes cannot share equally: give a multiple of 2, such as 6.")])
def test_what_they_cannot_agree_on_is_one_sentence(left: Left, name: str, words: str) -> None:
    assert [rank[name]["code"] for rank in left.ranks] == [2, 2]
    assert words in left.ranks[0][name]["errors"] and left.ranks[1][name]["errors"] == ""


def test_a_signal_to_one_ends_both_and_is_saved(left: Left) -> None:
    assert [rank["signal"]["code"] for rank in left.ranks] == [143, 143]
    steps = read_meta(find_checkpoint(run_of(left, 3)))["num_timesteps"]
    assert steps == 3 * PER_ITERATION  # it came in step 20 of iterations of 8 steps


def test_one_that_dies_ends_the_training_with_a_sentence(left: Left) -> None:
    """Rank 1 died in step 20; what was saved after steps 8 and 16 is whole."""
    assert left.ranks[0]["dies"]["code"] == 2
    assert left.ranks[0]["dies"]["errors"].startswith("sb3-isaac: another process of this training ended")
    assert left.ranks[0]["dies"]["errors"].count("\n") == 1
    checkpoint = find_checkpoint(run_of(left, 4))
    assert read_meta(checkpoint)["num_timesteps"] == 2 * PER_ITERATION
    assert load_task_state(checkpoint / "task_state_1.pt")["num_timesteps"] == 2 * PER_ITERATION


def test_a_command_that_torchrun_starts_again_goes_on(left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    """``--max-restarts``: the same command as before, after a failure, continues the run that it began."""
    command = [*TRAIN, "-f", str(tmp_path), "-n", str(2 * PER_ITERATION)]
    monkeypatch.setattr(sys, "argv", ["sb3-isaac", *command])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert main(command) == 0
    run = tmp_path / "ppo" / "IsaacDoublePendulum-v0_1"
    shutil.rmtree(run / "checkpoints" / str(2 * PER_ITERATION))
    for path in [run / "DONE", *run.glob("*.pt")]:
        path.unlink()
    assert main(command) == 0, "started by hand it is another run"
    assert (tmp_path / "ppo" / "IsaacDoublePendulum-v0_2" / "DONE").exists()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    capsys.readouterr()
    assert main(command) == 2
    assert f"{run}" in capsys.readouterr().err, "it is found, and has all its steps"


def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = available_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert available_cores() == max(1, cores // 2)
