"""Activations of float32 numbers on a CPU, by functions that its libraries compute faster than torch's own kernel.

ELU is computed as max(x, 2^min(x log₂e, 0) − 1) and Tanh as 2 sigmoid(2 x) − 1. Results differ by rounding alone, at
most 1.2e-7. Which way is faster depends on the processor, so both are timed.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Type

import torch
from torch import nn
from torch.nn import functional as F

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.faster import median_seconds, prefers_first

BLOCK = 98_304
"""Numbers that a thread computes at a time: they stay in the processor's cache from one operation to the next."""
WIDTH = 256
"""Columns of what is timed."""
WORTH_MEASURING = 1000
"""Rows below which the choice saves nothing, and would be one of noise: two runs alike should round alike."""


class _Elu(torch.autograd.Function):
    """ELU of x (B, k) with alpha 1, in place."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """x where it is positive, else exp(x) − 1."""
        blocks = x.view(-1).split(BLOCK * torch.get_num_threads())
        room = torch.empty_like(blocks[0])
        for block in blocks:
            below = room[:len(block)]
            torch.mul(block, math.log2(math.e), out=below).clamp_max_(0.0).exp2_().sub_(1.0)
            torch.maximum(block, below, out=block)  # below is 0 where x is positive, and above x where it is not
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """The gradient of x (B, k)."""
        out: torch.Tensor = torch.ops.aten.elu_backward(grad, 1.0, 1.0, 1.0, True, *ctx.saved_tensors)
        return out


class _Tanh(torch.autograd.Function):
    """tanh of x (B, k), in place."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """tanh(x)."""
        for block in x.view(-1).split(BLOCK * torch.get_num_threads()):
            block.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """The gradient of x (B, k)."""
        out: torch.Tensor = torch.ops.aten.tanh_backward(grad, *ctx.saved_tensors)
        return out


_CHEAPER: Dict[Type[nn.Module], Any] = {nn.ELU: _Elu, nn.Tanh: _Tanh}


class Activations:
    """Which kinds of activations are computed by other functions than torch's own; none before they are timed."""

    def __init__(self) -> None:
        self.by_other: Dict[str, bool] = {}
        """By the name of a class in ``torch.nn``."""

    def measure(self, module: nn.Module, rows: int) -> None:
        """Time the kinds of activations inside `module` on `rows` rows, a few milliseconds in all; not on few rows."""
        if rows < WORTH_MEASURING:
            return
        for kind in {type(layer) for layer in module.modules()} & _CHEAPER.keys():
            other_s, own_s = _times(kind, rows)
            self.by_other[kind.__name__] = prefers_first(other_s, own_s, usual=False)

    def __call__(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """``layer(x)`` of x (B, k), float32 on a CPU, in the place of x, which nothing else may need."""
        if self.by_other.get(type(layer).__name__) and getattr(layer, "alpha", 1.0) == 1.0:
            out: torch.Tensor = _CHEAPER[type(layer)].apply(x)
            return out
        return _own(layer, x)


def is_known(layer: nn.Module) -> bool:
    """Whether :class:`Activations` computes `layer`: no subclass, without hooks, and no ELU of a negative alpha, whose
    gradient needs the input that computing in its place overwrites."""
    return type(layer) in _CHEAPER and not has_hooks(layer) and getattr(layer, "alpha", 1.0) >= 0.0


def _own(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """By torch's own kernel in the place of x: saves its memory, and an exponential in the backward pass of ELU."""
    return F.elu(x, layer.alpha, inplace=True) if isinstance(layer, nn.ELU) else x.tanh_()


def _times(kind: Type[nn.Module], rows: int) -> List[float]:
    """Median seconds of the other way and of torch's own."""
    given = 2.0 * torch.arange(float(rows * WIDTH)).cos_().view(rows, WIDTH)  # of both signs, in any few neighbours
    layer, x = kind(), torch.empty_like(given)
    with torch.no_grad():
        return median_seconds(lambda: _CHEAPER[kind].apply(x.copy_(given)), lambda: _own(layer, x.copy_(given)))
