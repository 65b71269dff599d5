"""What a task measures of a step, and what it keeps of it for the next."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Tuple, Union

import torch

from sb3_isaac.tasks.parts.terms import Function

Measure = Union[torch.Tensor, Callable[[], torch.Tensor]]
"""A measure (N, ...), or what gives it."""


class Memory(NamedTuple):
    """What a task keeps of each environment from step to step, a tensor (N, *shape) that is an attribute of the task.

    :param shape: of one environment's value, from the task.
    :param keep: its value after a step, of the step's features; None leaves it to the task's ``act``.
    :param start: its value in an episode's first state, of that state's features; None is 0.
    """

    shape: Callable[[Any], Tuple[int, ...]] = lambda task: ()
    keep: Optional[Function] = None
    start: Optional[Function] = None
