"""The processor's cores: how many are ours, and whether other programs use them."""

from __future__ import annotations

import os
import sys

CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SPINS = "30000"
"""Turns of the loop in which a thread of GNU's OpenMP waits for work before it sleeps; ten times as many by default."""


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


def share_cores() -> None:
    """Let the threads of OpenMP (torch's) leave the cores to others while they wait for work.

    By default they spin for milliseconds, and keep the physics' threads from the cores. Here they spin for a quarter of
    a millisecond, long enough to reach the next operation. On busy cores they sleep at once, as by
    ``OMP_WAIT_POLICY=passive``, for there one that spins keeps the very thread from the core that it waits for.

    Acts before torch is imported. Where the user has chosen nothing is changed.
    """
    if "torch" in sys.modules or any(name in os.environ for name in WAITING):
        return
    if cores_are_busy():
        os.environ["OMP_WAIT_POLICY"] = "passive"
    else:
        os.environ["GOMP_SPINCOUNT"] = SPINS
