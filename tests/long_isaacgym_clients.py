"""Unmodified upstream programs for Isaac Gym, trained for a few iterations on the emulation.

    python tests/long_isaacgym_clients.py REPOSITORY... [--iterations 3] [--num-envs 64] [--task TASK]

Each REPOSITORY is a checkout of legged_gym, unitree_rl_gym or humanoid-gym, told apart by its folder's name; the first
two need ``rsl_rl`` v1.0.2 on PYTHONPATH, all need scipy, the last also wandb and opencv. A repository is copied, its
``train.py`` runs there by ``sb3-isaac run``, and every file of the copy that git tracks must be the commit's before (of
data such as meshes a difference is only told) and unchanged after. A task passes if its program ends without an error,
after the iterations that were asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Optional

TASKS = {"legged_gym": ("a1", "anymal_c_flat", "anymal_c_rough", "cassie"), "unitree_rl_gym": ("go2", "g1"),
         "humanoid-gym": ("humanoid_ppo",)}
CODE = (".py", ".urdf", ".xml", ".yaml", ".yml", ".json", ".txt", ".sh")
SCRIPT = {"legged_gym": "legged_gym/scripts/train.py", "unitree_rl_gym": "legged_gym/scripts/train.py",
          "humanoid-gym": "humanoid/scripts/train.py"}


def tracked(repository: Path) -> List[str]:
    """The files that git tracks and that are there."""
    out = subprocess.run(["git", "-C", str(repository), "ls-tree", "-r", "--name-only", "HEAD"], check=True,
                         capture_output=True, text=True).stdout
    return [name for name in out.splitlines() if (repository / name).is_file()]


def hashes(folder: Path, names: List[str]) -> Dict[str, str]:
    """What each file holds."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def differs_from_commit(repository: Path, names: List[str]) -> List[str]:
    """Tracked files whose content is not the commit's."""
    out = subprocess.run(["git", "-C", str(repository), "ls-tree", "-r", "HEAD"], check=True, capture_output=True,
                         text=True).stdout
    blobs = {line.split("\t")[1]: line.split()[2] for line in out.splitlines()}
    now = subprocess.run(["git", "-C", str(repository), "hash-object", "--stdin-paths"], check=True,
                         capture_output=True, text=True, input="\n".join(names)).stdout.split()
    return [name for name, blob in zip(names, now) if blobs[name] != blob]


def train(copy: Path, kind: str, task: str, num_envs: int, iterations: int) -> Optional[str]:
    """Run one task; None, or what went wrong."""
    env = dict(os.environ, WANDB_MODE="disabled",
               PYTHONPATH=os.pathsep.join([str(copy), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "sb3_isaac", "run", "--legacy-numpy", "--cuda-to-cpu", SCRIPT[kind],
               f"--task={task}", "--headless", "--num_envs", str(num_envs), "--max_iterations", str(iterations)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    seen = re.findall(r"Learning iteration (\d+)/", done.stdout)
    rewards = re.findall(r"Mean reward: +(\S+)", done.stdout)
    print(f"  {kind} {task}: {len(seen)} iterations of {num_envs} environments in {time.perf_counter() - start:.0f} s, "
          f"mean rewards {' '.join(rewards) or 'none yet'}", flush=True)
    if done.returncode != 0:
        return f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return None if len(seen) == iterations else f"{len(seen)} iterations in place of {iterations}"


def check(repository: Path, only: Optional[str], num_envs: int, iterations: int) -> List[str]:
    """All tasks of one repository; the failures."""
    kind = repository.resolve().name
    names = tracked(repository)
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], check=True, capture_output=True,
                            text=True).stdout.strip()
    edited = differs_from_commit(repository, names)
    print(f"{kind} at {commit[:12]}, {len(names)} tracked files, edited before: {', '.join(edited) or 'none'}")
    failures = [f"{kind}: {name} is not the commit's" for name in edited if name.endswith(CODE)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / kind
        shutil.copytree(repository, copy)
        before = hashes(copy, names)
        for task in TASKS[kind]:
            if only in (None, task):
                problem = train(copy, kind, task, num_envs, iterations)
                failures += [f"{kind} {task}: {problem}"] if problem else []
        after = hashes(copy, names)
    failures += [f"{kind}: {name} was changed by the run" for name in names if before[name] != after[name]]
    return failures


def main() -> int:
    """0 if all tasks ran and nothing was edited."""
    parser = argparse.ArgumentParser()
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--task")
    args = parser.parse_args()
    failures = [f for repository in args.repositories
                for f in check(repository, args.task, args.num_envs, args.iterations)]
    print("\n".join(failures) or "all ran; no program differs from its commit, and no tracked file was changed")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
