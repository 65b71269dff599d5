"""Torch's number of threads is set before torch is imported, and stays what it is while tests run; signals arrive; slow
files go first.

``train`` would choose another number on busy cores, and tests compare results bit for bit. Where tests run on each
core at the same time (``pytest -n auto``) a process takes one thread.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, List

import pytest

from sb3_isaac.contract.cores import available_cores

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(available_cores()))

# What is started in the background, or by nohup, is told to ignore these, and tests send them.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)

SLOWEST = ("test_project.py", "test_tune_workers.py", "test_tune.py", "test_rl_zoo.py", "test_bench.py",
           "test_train.py", "test_distributed.py", "test_contract.py", "test_clients.py", "test_quadruped.py",
           "test_ppo.py", "test_run.py", "test_docs.py", "test_gymcompat_viewer.py", "test_trpo.py",
           "test_run_ends.py", "test_sim_isaacgym.py", "test_algorithms.py")
"""Files that take about ten seconds and more, the slowest first."""


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are not looked at, as on a GPU: work for them is done though they are empty."""
    import torch

    from sb3_isaac.contract.device import copy_where, known_empty

    for name, module in list(sys.modules.items()):
        if name.startswith("sb3_isaac.") and getattr(module, "known_empty", None) is known_empty:
            monkeypatch.setattr(module, "known_empty", lambda mask: False)
        if name.startswith("sb3_isaac.") and getattr(module, "copy_where", None) is copy_where:
            monkeypatch.setattr(module, "copy_where", lambda mask, values, own: torch.where(mask, values, own, out=own))


def pytest_configure(config: Any) -> None:
    """By itself ``--dist loadfile`` begins with the files of most tests, and one process waits for a slow last one."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: List[Any]) -> None:
    """The slowest files go first, so that all processes end at about the same time."""
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))
