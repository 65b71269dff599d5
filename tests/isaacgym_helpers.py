"""What tests of programs written for Isaac Gym share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Mapping, Optional

import pytest

from sb3_isaac.gymcompat.install import install
from sb3_isaac.gymcompat.runtime.settings import current, use

NVIDIAS = {"__init__.py": "import sys\nassert 'torch' not in sys.modules, 'too late'\nNVIDIA = True\n",
           "gymapi.py": "", "gymtorch.py": ""}
"""Stands where NVIDIA's package is installed: it can be imported, and no more."""


@pytest.fixture
def emulation() -> Iterator[None]:
    """``import isaacgym`` gives the emulation, for one test."""
    settings = current()
    install("mujoco", threads=1)
    yield
    use(settings)
    for name in [name for name in sys.modules if name.split(".")[0] == "isaacgym" or name == "sb3_isaac.sim.isaacgym"]:
        del sys.modules[name]


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """`files`, by their names, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def python(*args: str, cwd: Path, path: Optional[Path] = None) -> "subprocess.CompletedProcess[str]":
    """Run this Python in `cwd`, with `path` in front of PYTHONPATH."""
    paths = [str(path)] * (path is not None) + [os.environ.get("PYTHONPATH", "")] * ("PYTHONPATH" in os.environ)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True)
