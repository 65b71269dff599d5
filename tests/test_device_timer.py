"""Times of work that a GPU does later: by its events, and read without waiting before they are wanted."""

from __future__ import annotations

import time
from typing import List

import pytest
import torch

from sb3_isaac.contract.device_timer import DeviceTimer


class Event:
    """As ``torch.cuda.Event``, on a GPU whose clock is `now` ms and which has done all up to `done`."""

    now, done = 0.0, 0.0
    waited: List[float] = []

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        self.at = Event.now

    def query(self) -> bool:
        return self.at <= Event.done

    def synchronize(self) -> None:
        if not self.query():
            Event.waited.append(self.at)
            Event.done = self.at

    def elapsed_time(self, end: Event) -> float:
        assert end.query()
        return end.at - self.at


def test_on_a_cpu_the_clock_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5, 20.0, 21.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    timer = DeviceTimer(torch.device("cpu"))
    for _ in range(2):
        with timer:
            pass
    assert timer.seconds == 1.5


def test_on_a_gpu_its_events_tell_and_only_reading_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    timer = DeviceTimer(torch.device("cuda:0"))
    for _ in range(3):
        Event.now += 100.0
        with timer:
            Event.now += 7.0
    assert not Event.waited and len(timer._pairs) == 3
    assert timer.seconds == pytest.approx(0.021)
    assert Event.waited == [107.0, 214.0, 321.0] and not timer._pairs
    Event.done = 1e6
    for _ in range(100):  # done at once: the list stays short without a read
        with timer:
            Event.now += 1.0
    assert not timer._pairs and timer.seconds == pytest.approx(0.121)
