"""The gradients of a module's parameters as one vector: few operations, whatever the number of parameters."""

from __future__ import annotations

from typing import List, Tuple

import torch
from torch import nn


def gradient_vector(module: nn.Module) -> torch.Tensor:
    """The gradients (P,) of all P numbers that are parameters of `module`; 0 where a parameter has none."""
    return torch.cat([(torch.zeros_like(of) if of.grad is None else of.grad).reshape(-1)
                      for of in module.parameters()])


def by_parameter(module: nn.Module, vector: torch.Tensor) -> List[Tuple[nn.Parameter, torch.Tensor]]:
    """Each parameter of `module` with its part of `vector` (P,), in the parameter's shape."""
    parameters = list(module.parameters())
    return [(of, part.view_as(of)) for of, part in zip(parameters, vector.split([of.numel() for of in parameters]))]


def set_gradients(module: nn.Module, vector: torch.Tensor) -> None:
    """Replace the gradients of `module` by `vector` (P,); None stays None.

    Each gets the dtype and layout of its parameter, as autograd gives it: fused optimizers read memory as it lies.
    """
    for parameter, part in by_parameter(module, vector):
        if parameter.grad is None:
            continue
        alike = parameter.is_contiguous() and part.dtype is parameter.dtype
        parameter.grad = part if alike else torch.empty_like(parameter, requires_grad=False).copy_(part)


def clip_norm(vector: torch.Tensor, largest: float) -> torch.Tensor:
    """`vector`, in place, no longer than `largest`, as ``torch.nn.utils.clip_grad_norm_`` computes it."""
    return vector.mul_((largest / (torch.linalg.vector_norm(vector) + 1e-6)).clamp_max(1.0))
