"""Memory, cores and threads: what is measured before a training, and what follows from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.cli.main import main
from sb3_isaac.config import load_config
from sb3_isaac.contract import cores
from sb3_isaac.contract.torch_threads import alone_for_little
from sb3_isaac.rl.policy.evaluate import run_episodes
from sb3_isaac.rl.training import memory, threads
from sb3_isaac.rl.training.build import algorithm_options

PENDULUM = "IsaacDoublePendulum-v0"


def test_too_many_robots_are_refused_with_the_number_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """10000000 pendulums; with as many as are named nothing is allocated either, for -n is reached by none."""
    assert main(["train", "--env", PENDULUM, "--num-envs", "10000000", "-n", "1e12", "-f", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "10000000 robots need about" in said and "give at most --num-envs" in said and said.count("\n") == 1
    fitting = int(said.rsplit(" ", 1)[1].rstrip(".\n"))
    free = memory.available_bytes()
    assert free is not None and 1_000 < free / fitting < 200_000
    assert not list((tmp_path / "ppo").iterdir()), "nothing is left behind"


def test_a_rollouts_bytes_by_hand() -> None:
    """16 steps: twice 3 + 2 + 6 numbers of 4 bytes; a quarter of a rollout is a minibatch, of two nets of 64 and 64."""
    config = load_config(PENDULUM, "ppo", algo_keys=algorithm_options("ppo"), env_keys=(), num_envs=256)
    box = spaces.Box(-1.0, 1.0, (3,), np.float32)
    found = memory.learner_bytes(config, spaces.Dict({"policy": box}), spaces.Box(-1.0, 1.0, (2,), np.float32))
    assert found == 2 * 16 * 4 * 11 + 16 / 4 * 4 * 3 * 256


def test_few_robots_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(PENDULUM, "ppo", algo_keys=algorithm_options("ppo"), env_keys=(), num_envs=4096)
    monkeypatch.setattr(memory, "available_bytes", lambda: 4096 * memory.SURELY_ENOUGH + 1)
    monkeypatch.setattr(memory, "bytes_for_each", lambda config: pytest.fail("a simulation was made"))
    memory.check_memory(config)


@pytest.mark.parametrize(("load", "chosen", "expected"), [
    (0.0, {}, {"GOMP_SPINCOUNT": cores.SPINS}), (9e9, {}, {"OMP_WAIT_POLICY": "passive"}),
    (9e9, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    (0.0, {"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}), (0.0, {"KMP_BLOCKTIME": "9"}, {"KMP_BLOCKTIME": "9"})])
def test_waiting_threads_leave_the_cores_to_others(monkeypatch: pytest.MonkeyPatch, load: float,
                                                   chosen: Dict[str, str], expected: Dict[str, str]) -> None:
    for name in cores.WAITING:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)

    def set_to() -> Dict[str, str]:
        cores.share_cores()
        return {name: os.environ[name] for name in cores.WAITING if name in os.environ}

    assert set_to() == chosen, "torch is here already: too late"
    monkeypatch.delitem(sys.modules, "torch")
    assert set_to() == expected


def test_the_command_sets_it_before_torch_is_there() -> None:
    code = ("import os, sys; os.getloadavg = lambda: (1e9, 0.0, 0.0)\n"
            "for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'): os.environ.pop(name, None)\n"
            "from sb3_isaac.cli.main import main\n"
            "assert main(['train', '--n-timesteps']) == 2 and 'torch' not in sys.modules\n"
            "assert os.environ['OMP_WAIT_POLICY'] == 'passive'")
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_few_robots_are_stepped_by_one_thread_of_torchs_and_learned_from_by_all(
        monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for name in (*cores.WAITING, *cores.CHOSEN_BY_USER):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(3)
    try:
        seen: Dict[str, List[int]] = {"rollout": [], "update": [], "evaluation": []}

        class Look(BaseCallback):
            def _on_step(self) -> bool:
                seen["rollout"].append(torch.get_num_threads())
                return True

        model = PPO("MlpPolicy", IsaacVecEnv(PENDULUM, num_envs=8, seed=0), n_steps=2, batch_size=16)
        train = model.train
        monkeypatch.setattr(model, "train", lambda: seen["update"].append(torch.get_num_threads()) or train())  # type: ignore
        model.learn(16, callback=Look())
        assert seen == {"rollout": [1, 1], "update": [3], "evaluation": []}
        net = nn.Linear(99, 1)  # of 100 parameters
        for robots, devices, expected in ((1_200_000, ["cpu", "cpu"], 1), (1_200_001, ["cpu"], 3),
                                          (8, ["cpu", "meta"], 3)):
            with pytest.raises(KeyError), alone_for_little(robots, net, *map(torch.device, devices)):
                assert torch.get_num_threads() == expected
                raise KeyError
            assert torch.get_num_threads() == 3
        with alone_for_little(8, net, torch.device("cpu")):
            torch.set_num_threads(2)
        assert torch.get_num_threads() == 2, "what somebody sets in it stays"
        run_episodes(model.get_env().unwrapped.env, lambda obs: seen["evaluation"].append(  # type: ignore
            torch.get_num_threads()) or torch.zeros(8, 2), max_steps=1)
        assert seen["evaluation"] == [1]
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        with alone_for_little(8, net, torch.device("cpu")):
            assert torch.get_num_threads() == 2, "nor is what the user has chosen changed"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("seconds", "busy", "expected"), [
    ({4: 1.0, 2: 1.0, 1: 1.2}, True, 4), ({4: 1.2, 2: 1.0, 1: 1.0}, True, 4), ({4: 9.0, 2: 3.0, 1: 1.0}, True, 1),
    ({4: 9.0, 2: 3.0, 1: 4.0}, True, 2), ({4: 9.0, 2: 3.0, 1: 1.0}, False, 4)])
def test_fewer_torch_threads_where_they_are_much_faster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
                                                        seconds: Dict[int, float], busy: bool, expected: int) -> None:
    def measured(counts: List[int]) -> Dict[int, float]:
        assert counts == [4, 2, 1]
        return seconds

    before = torch.get_num_threads()
    for name in cores.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cores_are_busy", lambda: busy)
    monkeypatch.setattr(threads, "product_seconds", measured)
    torch.set_num_threads(4)
    try:
        assert threads.choose_torch_threads() == expected == torch.get_num_threads()
        assert ("doctor: other programs use the cores" in capsys.readouterr().out) == (expected != 4)
        torch.set_num_threads(4)
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        assert threads.choose_torch_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_product_is_timed_for_each_number_of_threads() -> None:
    before = torch.get_num_threads()
    seconds = threads.product_seconds([2, 1])
    assert set(seconds) == {1, 2} and min(seconds.values()) > 0.0 and torch.get_num_threads() == before
