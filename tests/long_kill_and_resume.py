"""A long check, run by hand: kill a training run five times at random moments and resume it each time.

`python tests/long_kill_and_resume.py` fails if anything is unreadable, if more than 10 iterations are lost at a kill,
or if an iteration that is run again gives another reward than the first time.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import find_checkpoint, read_meta

TOTAL, PER_ITERATION, KILLS = 512 * 32 * 150, 512 * 32, 5
ARGS = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "512", "-params", "n_steps:32", "batch_size:4096"]


def start(run: Path, root: Path) -> "subprocess.Popen[bytes]":
    resume = ["-i", str(run)] if run.exists() else ["-f", str(root), *ARGS, "--seed", "0"]
    command = [sys.executable, "-m", "sb3_isaac", "train", *resume, "-n", str(TOTAL), "--eval-freq", "-1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def saved_steps(run: Path) -> int:
    """Steps of the newest checkpoint; asked again where the run replaces it at this moment."""
    for _ in range(50):
        with contextlib.suppress(UserError):
            return int(read_meta(find_checkpoint(run))["num_timesteps"])
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint in {run}")


def main() -> None:
    random.seed(0)
    root = Path(tempfile.mkdtemp(prefix="kill_and_resume_"))
    run = root / "ppo" / "IsaacDoublePendulum-v0_1"
    first_time: Dict[int, float] = {}
    for kill in range(KILLS):
        process = start(run, root)
        while not (run / "latest").exists():
            time.sleep(0.1)
        before = saved_steps(run)
        while saved_steps(run) == before:
            time.sleep(0.05)  # at least one new checkpoint in each life
        time.sleep(random.uniform(0.0, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        table = read_metrics(run / "metrics.csv")
        reached = int(table["step"][-1])
        checkpoint = find_checkpoint(run)
        saved = saved_steps(run)
        torch.load(checkpoint / "policy.pth", weights_only=True)
        lost = (reached - saved) / PER_ITERATION
        print(f"kill {kill + 1}: at iteration {reached // PER_ITERATION}, resumes from {saved // PER_ITERATION} "
              f"({checkpoint.name}), {lost:.0f} lost", flush=True)
        assert lost <= 10, lost
        first_time.update({int(step): reward for step, reward in zip(table["step"], table["rollout/ep_rew_mean"])
                           if step > saved})
    assert start(run, root).wait() == 0
    table = read_metrics(run / "metrics.csv")
    again = dict(zip(table["step"].astype(int).tolist(), table["rollout/ep_rew_mean"].tolist()))
    assert (np.diff(table["step"]) == PER_ITERATION).all(), "an iteration is missing"
    for step, reward in first_time.items():
        assert abs(again[step] - reward) < 1e-3, (step, reward, again[step])
    print(f"{len(first_time)} iterations were run again with the rewards of the first time; "
          f"reward {table['rollout/ep_rew_mean'][1]:.0f} -> {table['rollout/ep_rew_mean'][-1]:.0f}")
    assert (run / "DONE").exists()


if __name__ == "__main__":
    main()
