"""Environment ids and where their tasks are; a module of its own because registering them must not import torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import Mapping

TASKS: Mapping[str, str] = MappingProxyType({
    "IsaacQuadrupedFlat-v0": "sb3_isaac.tasks.quadruped:QuadrupedFlat",
    "IsaacDoublePendulum-v0": "sb3_isaac.tasks.double_pendulum:DoublePendulum",
})
"""Environment id -> ``module:class`` of its task."""
