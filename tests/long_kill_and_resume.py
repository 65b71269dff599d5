"""A long check, run by hand: kill a training run five times at random moments and resume it each time.

`python tests/long_kill_and_resume.py` fails if anything is unreadable, if more than 10 iterations are lost at a kill,
or if the reward does not go on where it was.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from sb3_isaac.rl.run import find_checkpoint, read_meta, read_metrics

TOTAL, PER_ITERATION, KILLS = 512 * 32 * 150, 512 * 32, 5
ARGS = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "512", "-params", "n_steps:32", "batch_size:4096"]


def start(run: Path, root: Path) -> "subprocess.Popen[bytes]":
    resume = ["-i", str(run)] if run.exists() else ["-f", str(root), *ARGS, "--seed", "0"]
    command = [sys.executable, "-m", "sb3_isaac", "train", *resume, "-n", str(TOTAL), "--eval-freq", "-1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main() -> None:
    random.seed(0)
    root = Path(tempfile.mkdtemp(prefix="kill_and_resume_"))
    run = root / "ppo" / "IsaacDoublePendulum-v0_1"
    for kill in range(KILLS):
        process = start(run, root)
        while not (run / "latest").exists():
            time.sleep(0.1)
        before = int(read_meta(find_checkpoint(run))["num_timesteps"])
        while int(read_meta(find_checkpoint(run))["num_timesteps"]) == before:
            time.sleep(0.05)  # at least one new checkpoint in each life
        time.sleep(random.uniform(0.0, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached = int(read_metrics(run / "metrics.csv")["step"][-1])
        checkpoint = find_checkpoint(run)
        saved = int(read_meta(checkpoint)["num_timesteps"])
        torch.load(checkpoint / "policy.pth", weights_only=True)
        lost = (reached - saved) / PER_ITERATION
        print(f"kill {kill + 1}: at iteration {reached // PER_ITERATION}, resumes from {saved // PER_ITERATION} "
              f"({checkpoint.name}), {lost:.0f} lost", flush=True)
        assert lost <= 10, lost
    assert start(run, root).wait() == 0
    table = read_metrics(run / "metrics.csv")
    steps, reward = table["step"], table["rollout/ep_rew_mean"]
    known = np.isfinite(reward)
    assert (np.diff(np.unique(steps)) == PER_ITERATION).all(), "an iteration is missing"
    jump = np.abs(np.diff(reward[known])).max()
    print(f"reward {reward[known][0]:.0f} -> {reward[known][-1]:.0f}, largest change between iterations {jump:.1f}")
    assert (run / "DONE").exists()


if __name__ == "__main__":
    main()
