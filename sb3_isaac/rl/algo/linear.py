"""The layers of a policy's networks, with matrix products by oneDNN on a CPU.

``nn.Linear`` multiplies float32 matrices by the BLAS library that torch was built with, MKL in torch's wheels, which is
slower than oneDNN (in the same wheels) on processors of other makers than Intel. Results differ by rounding alone.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional as F

from sb3_isaac.rl.policy.layers import has_hooks

# oneDNN's y = x Wᵀ + b; None where this torch was built without it, and then nn.Linear is used.
_ONEDNN: Any = (getattr(torch.ops.mkldnn, "_linear_pointwise", None)
                if torch.backends.mkldnn.is_available() else None)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor] = None) -> torch.Tensor:
    """x @ weight.T + bias."""
    out: torch.Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b of x (B, k), W (m, k), b (m,), and its gradients, by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        x, weight = ctx.saved_tensors
        grad_x = _product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        return grad_x, _product(grad.t(), x.t()), grad.sum(dim=0)


def run_layers(layers: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``layers(x)`` of x (B, k), where a linear layer, alone or in a Sequential, is multiplied by oneDNN on a CPU.

    A module of another type, a subclass or one with hooks is called as it is.
    """
    parts = layers if type(layers) is nn.Sequential and not has_hooks(layers) else (layers,)
    fresh = False  # whether x was made here and is held by nothing else
    for layer in parts:
        if _is_fast(layer, x):
            x, fresh = _Linear.apply(x, layer.weight, layer.bias), True
        elif fresh and type(layer) is nn.ELU and not has_hooks(layer):
            # In place: saves the memory of x, and an exponential in the backward pass.
            x, fresh = F.elu(x, layer.alpha, inplace=True), False
        else:
            x, fresh = layer(x), False
    return x


def _is_fast(layer: nn.Module, x: torch.Tensor) -> bool:
    """Whether `layer` is a linear one without hooks and x a matrix that oneDNN multiplies.

    ``torch.compile`` makes products of its own choice, and cannot compile this one's gradient.
    """
    return (_ONEDNN is not None and not torch.compiler.is_compiling()
            and type(layer) is nn.Linear and layer.bias is not None and not has_hooks(layer)
            and x.device.type == "cpu" and x.dtype is torch.float32 and layer.weight.dtype is torch.float32
            and x.dim() == 2 and len(x) > 0)
