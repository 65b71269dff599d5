"""Seconds of work that a device may do later than it is told to."""

from __future__ import annotations

import time
from typing import Any, List, Tuple

import torch


class DeviceTimer:
    """Seconds spent in all that it was put round, ``with timer: ...``.

    On a CPU the clock on the wall tells. A GPU works later than it is told to, so there the time between two of its own
    events counts, and launching takes no time: nothing waits before ``seconds`` is read.

    :param device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._seconds = device, 0.0
        self._start: Any = None
        self._pairs: List[Tuple[Any, Any]] = []
        """Events of a GPU whose times were not read yet: where a part began and ended."""

    def __enter__(self) -> "DeviceTimer":
        self._start = self._now()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._device.type == "cuda":
            self._pairs.append((self._start, self._now()))
            while self._pairs and self._pairs[0][1].query():  # those that are over, which keeps the list short
                self._add(*self._pairs.pop(0))
        else:
            self._seconds += self._now() - self._start

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _add(self, start: Any, end: Any) -> None:
        self._seconds += start.elapsed_time(end) / 1e3

    @property
    def seconds(self) -> float:
        """All of it, s; waits for a GPU to have done it."""
        for start, end in self._pairs:
            end.synchronize()
            self._add(start, end)
        self._pairs.clear()
        return self._seconds
