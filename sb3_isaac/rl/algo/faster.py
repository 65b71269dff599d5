"""Which of several ways to compute the same numbers is fastest on this machine."""

from __future__ import annotations

import time
from typing import Any, Callable, List, Sequence

MARGIN = 1.03
"""A way has to be faster than those before it by this factor, so that noise seldom decides."""


def least_seconds(*ways: Callable[[], Any], repeats: int = 5) -> List[float]:
    """The least seconds of each way, by turns in each of `repeats` rounds, after a round that does not count.

    The least, for other programs can only make a time longer.
    """
    rounds = [[_seconds(way) for way in ways] for _ in range(repeats + 1)][1:]
    return [min(column) for column in zip(*rounds)]


def fastest(seconds: Sequence[float]) -> int:
    """Which way to take, by their seconds: the first, from the usual one on, that is as fast as any but for noise."""
    return next(way for way, taken in enumerate(seconds) if taken <= MARGIN * min(seconds))


def _seconds(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start
