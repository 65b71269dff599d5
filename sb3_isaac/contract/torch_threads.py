"""Torch's threads while robots are stepped on a CPU, whose cores the physics' threads need as well."""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch

FEW_ROBOTS = 1024
"""Up to so many, one thread of torch's is no slower than several: operations on their tensors are that small."""


@contextlib.contextmanager
def alone_for_few(robots: int, *devices: torch.device) -> Iterator[None]:
    """In the block torch has one thread where few robots are stepped and all of `devices` are the CPU.

    OpenMP's threads, once they have worked, spin for milliseconds in the hope of more, and the physics that comes next
    has to share its cores with them: 5 ms of physics took 8.
    """
    before = torch.get_num_threads()
    if before == 1 or robots > FEW_ROBOTS or any(device.type != "cpu" for device in devices):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
