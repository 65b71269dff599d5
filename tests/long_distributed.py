"""A long check, run by hand: training by two processes through torchrun, on one machine.

`python tests/long_distributed.py resume kill` resumes a run of two processes, and kills one, which goes on by itself
(``--max-restarts``); two minutes. `python tests/long_distributed.py speed` compares one process of two threads with two
processes of one: steps/s, and seconds until the flat quadruped's episodes are worth REWARD. Five minutes on free cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import find_checkpoint, read_meta

PENDULUM, PER_ITERATION = "IsaacDoublePendulum-v0", 256 * 16
REWARD, LIMIT = 100.0, 1_000_000
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def train(processes: int, *arguments: str, restarts: int = 0, threads: int = 1) -> "subprocess.Popen[str]":
    """``sb3-isaac train`` by one process, or by two through torchrun."""
    start = [sys.executable] if processes == 1 else [*TORCHRUN, "--max-restarts", str(restarts)]
    return subprocess.Popen([*start, "-m", "sb3_isaac", "train", *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})


def finished(process: "subprocess.Popen[str]") -> str:
    """What it printed, once it has ended well."""
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def pendulum(root: Path, iterations: int) -> List[str]:
    return ["--env", PENDULUM, "--num-envs", "256", "--seed", "0", "-f", str(root), "-n",
            str(iterations * PER_ITERATION), "--eval-freq", "-1", "--save-freq", str(PER_ITERATION)]


def check_resume(root: Path) -> None:
    """Ten iterations at once, and in two parts: the same rewards in every iteration."""
    finished(train(2, *pendulum(root / "whole", 10)))
    finished(train(2, *pendulum(root / "parts", 5)))
    run = root / "parts" / "ppo" / f"{PENDULUM}_1"
    finished(train(2, "-i", str(run), "-n", str(10 * PER_ITERATION)))
    whole, parts = (read_metrics(root / name / "ppo" / f"{PENDULUM}_1" / "metrics.csv") for name in ("whole", "parts"))
    np.testing.assert_array_equal(whole["rollout/ep_rew_mean"], parts["rollout/ep_rew_mean"])
    print("resumed: ten iterations in two parts have the rewards of ten at once")


def check_kill(root: Path) -> None:
    """One of two processes is killed; torchrun starts both again, and they go on from the last checkpoint."""
    process = train(2, *pendulum(root, 40), restarts=1)
    run = root / "ppo" / f"{PENDULUM}_1"
    while steps_in(run) < 5 * PER_ITERATION:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    at = steps_in(run)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    output = finished(process)
    assert read_meta(run)["num_timesteps"] == 40 * PER_ITERATION and (run / "DONE").exists()
    assert len(list((root / "ppo").iterdir())) == 1 and "resuming" in output
    assert read_metrics(run / "metrics.csv")["step"].tolist() == [PER_ITERATION * k for k in range(1, 41)]
    print(f"killed after {at} steps: torchrun started it again, and it went on to {40 * PER_ITERATION}")


def steps_in(run: Path) -> int:
    with contextlib.suppress(UserError, OSError):
        return int(read_meta(find_checkpoint(run))["num_timesteps"])
    return 0


def worker_of(parent: int) -> int:
    """The last process that `parent` has started, which is rank 1."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[-1])


def seconds_to(run: Path, reward: float) -> Optional[float]:
    """Seconds of training until an iteration's episodes were worth `reward`."""
    table: Dict[str, np.ndarray] = read_metrics(run / "metrics.csv")
    good = np.flatnonzero(table["rollout/ep_rew_mean"] >= reward)
    return float(table["time/time_elapsed"][good[0]]) if len(good) else None


def compare_speed(root: Path) -> None:
    for processes, threads in ((1, 2), (2, 1)):
        folder = root / str(processes)
        finished(train(processes, "--seed", "0", "-f", str(folder), "-n", str(LIMIT), "--eval-freq", "-1",
                       threads=threads))
        run = folder / "ppo" / "IsaacQuadrupedFlat-v0_1"
        table = read_metrics(run / "metrics.csv")
        rewards = table["rollout/ep_rew_mean"]
        print(f"{processes} process(es) of {threads} thread(s): {float(np.median(table['time/fps'])):.0f} steps/s, "
              f"reward {REWARD:g} after {seconds_to(run, REWARD)} s, {rewards[-1]:.0f} at the end", flush=True)


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(prefix="distributed_"))
    checks = {"resume": check_resume, "kill": check_kill, "speed": compare_speed}
    for name in sys.argv[1:] or ("resume", "kill"):
        checks[name](place / name)
