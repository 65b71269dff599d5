"""A long check, run by hand: every verb on every shipped task, with a few robots and iterations.

    MUJOCO_GL=osmesa python tests/long_tasks.py [ENV ...]

Each task trains four iterations, and goes on from the checkpoint of the second to the same weights bit for bit; the run
is evaluated, played into a video, and tuned in two trials. About half a minute a task on two cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import List, Sequence

import torch

from sb3_isaac import load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.contract.ids import TASKS

ROBOTS, STEPS = 16, 8
ITERATION = ROBOTS * STEPS
SMALL = ["--num-envs", str(ROBOTS)]
SHORT = [f"n_steps:{STEPS}", "n_minibatches:2", "n_epochs:1"]


def run(*args: str) -> str:
    """What the command prints; it has to succeed."""
    said = StringIO()
    with redirect_stdout(said):
        code = main(list(args))
    if code != 0:
        raise SystemExit(f"sb3-isaac {' '.join(args)} gave {code}:\n{said.getvalue()}")
    return said.getvalue()


def check(env_id: str, folder: Path) -> None:
    run("train", "--env", env_id, *SMALL, "-n", str(4 * ITERATION), "--seed", "1", "--eval-freq", "-1",
        "--save-freq", str(2 * ITERATION), "-f", str(folder), "-params", *SHORT)
    whole, resumed = (folder / "ppo" / f"{env_id}_{k}" for k in (1, 2))
    run("train", "-i", str(whole / "checkpoints" / str(2 * ITERATION)), "-n", str(4 * ITERATION), "--eval-freq", "-1")
    a, b = (load_policy(str(path)).state_dict() for path in (whole, resumed))
    if a.keys() != b.keys() or not all(torch.equal(a[name], b[name]) for name in a):
        raise SystemExit(f"{env_id}: a resumed run has other weights than one that went through")
    report = json.loads(run("eval", str(whole), "--episodes", "4", "--json"))
    if report["episodes"] != 4:
        raise SystemExit(f"{env_id}: the evaluation says {report}")
    video = folder / "play.mp4"
    run("play", str(whole), "--video", str(video), "--seconds", "0.3", "--robots", "1", "--size", "320x240")
    if not video.stat().st_size:
        raise SystemExit(f"{env_id}: the video is empty")
    run("tune", "--env", env_id, *SMALL, "-n", str(2 * ITERATION), "--n-trials", "2", "--eval-episodes", "4",
        "--n-evaluations", "1", "--final-top", "0", "-f", str(folder), "-params", *SHORT[:1])


def check_all(env_ids: Sequence[str]) -> None:
    failed: List[str] = []
    for env_id in env_ids:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(env_id, Path(folder))
                print(f"{env_id}: train, resume bit for bit, eval, play, tune: {time.monotonic() - start:.0f} s",
                      flush=True)
            except SystemExit as error:
                failed.append(env_id)
                print(f"{env_id}: {error}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    check_all(sys.argv[1:] or list(TASKS))
