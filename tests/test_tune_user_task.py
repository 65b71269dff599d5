"""A study and a benchmark of a user's own task, of which nothing but the contract of TensorEnv is assumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import List

TASK = '''
import torch
from gymnasium import spaces

from sb3_isaac import Step, StopRule, TensorEnv, register_task


class Hold(TensorEnv):
    """A number that the action moves, and that should stay near 0."""

    max_steps, device = 10, torch.device("cpu")
    observation_space = spaces.Dict({"policy": spaces.Box(-10.0, 10.0, (1,))})
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, num_envs, gain=1.0):
        self.num_envs, self.gain = num_envs, gain
        self.x, self.t = torch.zeros(num_envs, 1), torch.zeros(num_envs, dtype=torch.long)

    def reset(self, seed=None):
        self.x.fill_(0.5)
        self.t.zero_()
        return {"policy": self.x}

    def step(self, actions):
        self.x += 0.1 * self.gain * actions
        self.t += 1
        reward, over = 1.0 - self.x.abs()[:, 0], self.t >= self.max_steps
        final_obs = {"policy": self.x.clone()}
        self.x[over], self.t[over] = 0.5, 0
        return Step({"policy": self.x}, reward, torch.zeros_like(over), over, final_obs, {})


class HoldWell(Hold):
    stop_rule = StopRule({"reward_mean": (RULE, 10.0)}, goal="it holds")


register_task("Hold-v0", "hold_tasks:Hold")
register_task("HoldWell-v0", "hold_tasks:HoldWell")
'''


SEVERAL = """
import sys
from sb3_isaac.cli.main import main

for line in sys.argv[1:]:
    print("exit code", main(line.split()), flush=True)
"""


def tune(folder: Path, *studies: str, rule: float = 4.0) -> List[str]:
    """Give ``sb3-isaac tune`` with each of `studies`."""
    (folder / "hold_tasks.py").write_text(TASK.replace("RULE", str(rule)))
    return run(folder, *("tune --gym-packages hold_tasks --num-envs 8 -n 576 --n-evaluations 3 --n-trials 2 "
                          f"--eval-episodes 2 --final-top 0 --seed 1 {study}" for study in studies))


def run(folder: Path, *lines: str) -> List[str]:
    """Give these command lines in one process; their exit codes, and lines of errors."""
    done = subprocess.run([sys.executable, "-c", SEVERAL, *lines], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("exit code", "sb3-isaac:"))]


def values(folder: Path, name: str) -> List[float]:
    """The values of a study's trials, in the order in which they ended."""
    entries = [json.loads(line) for line in (folder / "logs" / "tuning" / name / "study.log").read_text().splitlines()]
    return [entry["values"][0] for entry in entries if entry.get("values")]


def test_a_task_without_a_stop_rule_is_judged_by_its_reward(tmp_path: Path) -> None:
    """The shipped settings and the shipped space."""
    codes = tune(tmp_path, "--env Hold-v0", "--env Hold-v0 --objective steps --study-name steps", "--env Hald-v0")
    assert codes[:3] == ["exit code 0", "exit code 2", "exit code 2"]
    assert "stop rule, which Hold-v0 does not have" in codes[3] and "did you mean 'Hold-v0'" in codes[4]
    found = values(tmp_path, "ppo-Hold-v0")
    assert found and all(-10.0 < value < 10.0 for value in found), "the reward of ten steps"
    assert (tmp_path / "logs" / "tuning" / "ppo-Hold-v0" / "best.yml").exists()


def test_a_task_with_a_stop_rule_is_judged_by_it(tmp_path: Path) -> None:
    assert tune(tmp_path, "--env HoldWell-v0") == ["exit code 0"]
    assert values(tmp_path, "ppo-HoldWell-v0")[0] == 192, "5 is what standing still gets: met at the first evaluation"


def test_worker_processes_know_the_task(tmp_path: Path) -> None:
    """A rule that nothing meets: at most 9.9 + 10 is lacking, so a trial is worth its 576 steps and as many again."""
    assert tune(tmp_path, "--env HoldWell-v0 --n-jobs 2", rule=9.9) == ["exit code 0"]
    found = values(tmp_path, "ppo-HoldWell-v0")
    assert len(found) == 2 and all(576 < value <= 2 * 576 for value in found)


def test_a_benchmark_of_it(tmp_path: Path) -> None:
    """Its peak memory is measured in a process of its own."""
    (tmp_path / "hold_tasks.py").write_text(TASK.replace("RULE", "4.0"))
    line = "bench --env Hold-v0 --gym-packages hold_tasks --num-envs 8 --rounds 1 --algos ppo --out bench"
    assert run(tmp_path, line) == ["exit code 0"]
    assert json.loads((tmp_path / "bench" / "bench.json").read_text())["peak_memory_mb"]["ours"] > 0
