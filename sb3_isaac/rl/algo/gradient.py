"""The gradients of parameters as one vector: few operations, whatever the number of parameters."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import torch
from torch import nn


def gradient_vector(parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """The gradients (P,) of the P numbers of all `parameters`; 0 where a parameter has none."""
    return torch.cat([(torch.zeros_like(of) if of.grad is None else of.grad).reshape(-1) for of in parameters])


def by_parameter(parameters: Sequence[nn.Parameter], vector: torch.Tensor) -> List[Tuple[nn.Parameter, torch.Tensor]]:
    """Each parameter with its part of `vector` (P,), in the parameter's shape."""
    return [(of, part.view_as(of)) for of, part in zip(parameters, vector.split([of.numel() for of in parameters]))]


def set_gradients(parameters: Sequence[nn.Parameter], vector: torch.Tensor) -> None:
    """Replace the gradients of `parameters` by `vector` (P,); None stays None.

    Each gets the dtype and layout of its parameter, as autograd gives it: fused optimizers read memory as it lies.
    """
    for parameter, part in by_parameter(parameters, vector):
        if parameter.grad is None:
            continue
        alike = parameter.is_contiguous() and part.dtype is parameter.dtype
        parameter.grad = part if alike else torch.empty_like(parameter, requires_grad=False).copy_(part)


def clip_norm(vector: torch.Tensor, largest: float) -> torch.Tensor:
    """`vector`, in place, no longer than `largest`, as ``torch.nn.utils.clip_grad_norm_`` computes it."""
    return vector.mul_((largest / (torch.linalg.vector_norm(vector) + 1e-6)).clamp_max(1.0))
