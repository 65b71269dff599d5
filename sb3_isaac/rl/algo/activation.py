"""Activations of float32 numbers on a CPU, computed in place, by the functions that are fastest there.

ELU may be computed as max(x, 2^min(x log₂e, 0) − 1) and Tanh as 2 sigmoid(2 x) − 1, in place of torch's own kernels.
Results differ by rounding alone, at most 1.2e-7. Which way is faster depends on the processor, so both are timed.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Type

import torch
from torch import nn
from torch.nn import functional as F

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.faster import fastest, least_seconds
from sb3_isaac.rl.algo.workspace import FLOATS

WIDTH = 256
"""Columns of what is timed."""
WORTH_MEASURING = 1000
"""Rows below which the choice saves nothing, and would be one of noise: two runs alike should round alike."""


def _elu_by_powers(x: torch.Tensor, room: torch.Tensor) -> None:
    below = torch.mul(x, math.log2(math.e), out=room).clamp_max_(0.0).exp2_().sub_(1.0)
    torch.maximum(x, below, out=x)  # below is 0 where x is positive, and above x where it is not


def _tanh_by_sigmoid(x: torch.Tensor, _: torch.Tensor) -> None:
    x.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


_CHEAPER: Dict[Type[nn.Module], Callable[[torch.Tensor, torch.Tensor], None]] = {
    nn.ELU: _elu_by_powers, nn.Tanh: _tanh_by_sigmoid}
_OWN: Dict[Type[nn.Module], Callable[[Any, torch.Tensor], Any]] = {
    nn.ELU: lambda layer, x: F.elu(x, layer.alpha, inplace=True), nn.Tanh: lambda layer, x: x.tanh_(),
    nn.ReLU: lambda layer, x: x.relu_()}


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
            self.by_other[kind.__name__] = fastest(_times(kind, rows)) == 1

    def apply(self, layer: nn.Module, x: torch.Tensor, room: torch.Tensor) -> None:
        """Replace x (B, k) by ``layer(x)``, with `room` (B, k) to write in."""
        if self.by_other.get(type(layer).__name__) and getattr(layer, "alpha", 1.0) == 1.0:
            _CHEAPER[type(layer)](x, room)
        else:
            _OWN[type(layer)](layer, x)


def is_known(layer: nn.Module) -> bool:
    """Whether :class:`Activations` computes `layer`: no subclass, without hooks, and no ELU of a negative alpha, whose
    gradient needs the input that computing in its place overwrites."""
    return type(layer) in _OWN and not has_hooks(layer) and getattr(layer, "alpha", 1.0) >= 0.0


def gradient(layer: Any, grad: torch.Tensor, result: torch.Tensor, out: torch.Tensor) -> None:
    """Write to `out` the gradient of an activation's input, from `grad`, that of its `result`; all are (B, k)."""
    if isinstance(layer, nn.ELU):
        torch.ops.aten.elu_backward.grad_input(grad, layer.alpha, 1.0, 1.0, True, result, grad_input=out)
    elif isinstance(layer, nn.Tanh):
        torch.ops.aten.tanh_backward.grad_input(grad, result, grad_input=out)
    else:
        torch.ops.aten.threshold_backward.grad_input(grad, result, 0.0, grad_input=out)


def _times(kind: Type[nn.Module], rows: int) -> List[float]:
    """Seconds of torch's own way and of the other one."""
    numbers = torch.arange(float(rows * WIDTH), **FLOATS)
    given = 2.0 * numbers.cos_().view(rows, WIDTH)  # of both signs, in any few neighbours
    layer, x, room = kind(), torch.empty_like(given), torch.empty_like(given)
    with torch.no_grad():
        return least_seconds(lambda: _OWN[kind](layer, x.copy_(given)), lambda: _CHEAPER[kind](x.copy_(given), room))
