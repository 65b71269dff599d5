"""The processor's cores: how many are ours, and whether other programs use them."""

from __future__ import annotations

import os
import sys

CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def processes_here() -> int:
    """Processes of this training on this machine, as torchrun says; 1 without torchrun."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return int(count) if count.isdigit() and count != "0" else 1


def available_cores() -> int:
    """Cores this process may run on, which in a container are fewer than the machine has; its share under torchrun."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes_here())


def cores_are_busy() -> bool:
    """Whether more than half of the cores have had work in the last minute; False where the system does not tell."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5 * available_cores()


def sleep_while_waiting() -> None:
    """On busy cores, let the threads of OpenMP (torch's) sleep while they wait for each other, as by
    ``OMP_WAIT_POLICY=passive``; by default they spin, which keeps the very thread from the core that they wait for.

    Acts before torch is imported. On free cores, and where the user has chosen, nothing is changed.
    """
    chosen = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    if "torch" not in sys.modules and cores_are_busy() and not any(name in os.environ for name in chosen):
        os.environ["OMP_WAIT_POLICY"] = "passive"
