"""Which of two ways to compute the same numbers is faster on this machine."""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, List

MARGIN = 1.1
"""A way other than the usual one has to be faster by this factor, so that noise seldom decides."""


def median_seconds(*ways: Callable[[], Any], repeats: int = 3) -> List[float]:
    """Median seconds of each way, by turns in each of `repeats` rounds, after a round that does not count."""
    rounds = [[_seconds(way) for way in ways] for _ in range(repeats + 1)][1:]
    return [statistics.median(column) for column in zip(*rounds)]


def prefers_first(first_s: float, second_s: float, usual: bool) -> bool:
    """Whether to take the first of two ways; `usual` says whether it is the usual one."""
    return second_s > first_s / MARGIN if usual else second_s > first_s * MARGIN


def _seconds(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start
