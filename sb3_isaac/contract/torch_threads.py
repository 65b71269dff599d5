"""Torch's threads while robots are stepped on a CPU, whose cores the physics' threads need as well."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator

import torch
from torch import nn

from sb3_isaac.contract.cores import CHOSEN_BY_USER, WAITING

LITTLE_WORK = 1.2e8
"""Robots × parameters of a policy up to which one thread of torch's takes no longer than several with all that they
keep from the physics: measured on two cores with 256 to 2048 robots and MLPs."""


@contextlib.contextmanager
def alone_for_little(robots: int, policy: Any, *devices: torch.device) -> Iterator[None]:
    """In the block torch has one thread where a step of `robots` by `policy` is little work and all on the CPU.

    OpenMP's threads, once they have worked, spin for milliseconds in the hope of more, and the physics that comes next
    has to share its cores with them: 5 ms of physics took 8. Where the environment says how many threads there are or
    how they wait, nothing is changed.
    """
    before = torch.get_num_threads()
    parameters = sum(of.numel() for of in policy.parameters()) if isinstance(policy, nn.Module) else 0
    if (before == 1 or robots * parameters > LITTLE_WORK or any(device.type != "cpu" for device in devices)
            or any(name in os.environ for name in (*CHOSEN_BY_USER, *WAITING))):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() == 1:  # else somebody has chosen in the block
            torch.set_num_threads(before)
