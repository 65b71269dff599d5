"""What a task measures of a step, and what it keeps of it for the next."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple, Union

import torch

from sb3_isaac.contract.errors import UserError
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


def remember(task: Any, memories: Mapping[str, Memory], features: Any) -> None:
    """Keep of this step what the features of the next need."""
    kept = {name: memory.keep(features) for name, memory in memories.items() if memory.keep is not None}
    for name, value in kept.items():  # once all are computed, for they may depend on each other's last values
        getattr(task, name).copy_(value)


def begin_anew(task: Any, memories: Mapping[str, Memory], mask: torch.Tensor, features: Any) -> None:
    """Set what is remembered of the environments of `mask` (N,) bool, which are in the first state of an episode."""
    for name, memory in memories.items():
        kept = getattr(task, name)
        of_mask = mask.reshape(-1, *[1] * (kept.dim() - 1))
        if memory.start is None:
            kept.masked_fill_(of_mask, 0)  # filled, not multiplied: an action may hold NaN
        else:
            torch.where(of_mask, memory.start(features), kept, out=kept)


def restore(own: torch.Tensor, saved: Optional[torch.Tensor], what: str) -> None:
    """Set `own` to what was saved of it; UserError where that is missing or of another shape."""
    if saved is None or saved.shape != own.shape:
        found = "missing" if saved is None else f"of shape {tuple(saved.shape)}"
        raise UserError(f"{what} of the saved task is {found}, and here its shape is {tuple(own.shape)}: continue with "
                        "the task, the options and the number of environments that were saved, or train anew.")
    own.copy_(saved)
