"""Isaac Gym's bridge to torch: state tensors are wrapped once, control tensors are unwrapped at every call."""

from __future__ import annotations

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.types.structs import Tensor

# A star import must not bring a second ``Tensor`` into a program whose type comments mean torch's.
__all__ = ["unwrap_tensor", "wrap_tensor"]


def wrap_tensor(gym_tensor: Tensor) -> torch.Tensor:
    """The torch tensor of a handle that an ``acquire_`` call returned: the same memory each time."""
    if not isinstance(gym_tensor, Tensor) or gym_tensor.torch is None:
        raise UserError(f"gymtorch.wrap_tensor was given {type(gym_tensor).__name__}: "
                        "give what one of gym's acquire_* calls returned.")
    return gym_tensor.torch


def unwrap_tensor(torch_tensor: torch.Tensor) -> Tensor:
    """A handle of `torch_tensor` for gym's ``set_`` and ``apply_`` calls. The tensor must be contiguous."""
    if not isinstance(torch_tensor, torch.Tensor):
        raise UserError(f"gymtorch.unwrap_tensor was given {type(torch_tensor).__name__}: give a torch tensor.")
    if not torch_tensor.is_contiguous():
        raise UserError(f"gymtorch.unwrap_tensor was given a tensor of shape {tuple(torch_tensor.shape)} that is not "
                        "contiguous: pass tensor.contiguous().")
    return Tensor(torch_tensor.detach())
