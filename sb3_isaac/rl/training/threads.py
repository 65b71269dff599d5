"""How many threads torch takes where other programs use the cores: measured, since none can know."""

from __future__ import annotations

import os
import statistics
import time
from typing import Dict, List

import torch

from sb3_isaac.contract.cores import CHOSEN_BY_USER, cores_are_busy
from sb3_isaac.contract.output import say

ROUNDS, WORTH = 5, 1.3
"""Fewer threads are taken where they are at least so many times as fast."""


def choose_torch_threads() -> int:
    """Let torch take fewer threads where that is faster now, and say so; the number that it takes.

    On free cores, and where ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` is set, nothing is measured or changed: results
    depend on the number of threads in their last bits.
    """
    most = torch.get_num_threads()
    if most == 1 or not cores_are_busy() or any(name in os.environ for name in CHOSEN_BY_USER):
        return most
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    seconds = product_seconds(counts)
    best = min(counts, key=lambda count: seconds[count])
    chosen = best if seconds[most] > WORTH * seconds[best] else most
    torch.set_num_threads(chosen)
    if chosen != most:
        say(f"doctor: other programs use the cores, and {chosen} torch thread{'s' if chosen > 1 else ''} are "
            f"{seconds[most] / seconds[chosen]:.1f} times as fast as {most} now: {chosen} will be used; "
            "OMP_NUM_THREADS=N chooses otherwise.")
    return chosen


def product_seconds(counts: List[int]) -> Dict[int, float]:
    """Seconds of a layer's product, (4096, 256) by (256, 256), by the number of threads; medians of turns."""
    x, weight = torch.zeros(4096, 256), torch.zeros(256, 256)
    measured: Dict[int, List[float]] = {count: [] for count in counts}
    before = torch.get_num_threads()
    for _ in range(ROUNDS):
        for count in counts:
            torch.set_num_threads(count)
            torch.mm(x, weight)  # starts the threads
            start = time.perf_counter()
            torch.mm(x, weight)
            measured[count].append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return {count: statistics.median(values) for count, values in measured.items()}
