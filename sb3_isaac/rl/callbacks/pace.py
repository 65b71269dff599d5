"""How long training still takes, by how long its last iterations took."""

from __future__ import annotations

import time
from collections import deque
from typing import Deque, Tuple

ITERATIONS = 40
"""So many of the last ones tell the pace, but for the longest of them."""


def clock(seconds: float) -> str:
    """h:mm:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


class Pace:
    """Transitions a second of the last iterations; one that was held up, as by a process that stood still, does not
    count, and is forgotten after ``ITERATIONS``.

    :param total: transitions at which training ends.
    :param done: transitions before it began.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self._done = total, done
        self._start = self._last = time.perf_counter()
        self._iterations: Deque[Tuple[float, int]] = deque(maxlen=ITERATIONS)

    def add(self, done: int) -> None:
        """An iteration has ended, with so many transitions behind it in all."""
        now = time.perf_counter()
        self._iterations.append((now - self._last, done - self._done))
        self._last, self._done = now, done

    @property
    def passed_s(self) -> float:
        """Seconds since training began."""
        return time.perf_counter() - self._start

    @property
    def per_s(self) -> float:
        """Transitions a second."""
        counted = sorted(self._iterations)[:-1] if len(self._iterations) > 2 else list(self._iterations)
        return sum(count for _, count in counted) / max(sum(seconds for seconds, _ in counted), 1e-9)

    @property
    def left_s(self) -> float:
        """Seconds until the end."""
        return (self.total - self._done) / max(self.per_s, 1e-9)
