"""The layers of a policy's networks, with the fastest matrix products that torch has for a CPU.

``nn.Linear`` multiplies float32 by the BLAS that torch was built with. The MKL of torch's wheels takes slower kernels
on processors that are not Intel's; oneDNN, which the wheels hold as well, does not. The numbers are the same but for
the order of sums.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional as F

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
    """``layers(x)`` of x (B, k): a module, or a Sequential whose plain linear layers go the fast way on a CPU."""
    parts = layers if isinstance(layers, nn.Sequential) else (layers,)
    fresh = False
    for layer in parts:
        if _is_fast(layer, x):
            x, fresh = _Linear.apply(x, layer.weight, layer.bias), True
        elif fresh and type(layer) is nn.ELU:
            # In place, for nobody else holds x: saves its memory, and the backward pass an exponential.
            x, fresh = F.elu(x, layer.alpha, inplace=True), False
        else:
            x, fresh = layer(x), False
    return x


def _is_fast(layer: nn.Module, x: torch.Tensor) -> bool:
    """Whether `layer` is a linear one without hooks and x a matrix that oneDNN multiplies.

    ``torch.compile`` makes products of its own choice, and cannot compile this one's gradient.
    """
    return (_ONEDNN is not None and not torch.compiler.is_compiling()
            and type(layer) is nn.Linear and layer.bias is not None
            and not layer._forward_hooks and not layer._forward_pre_hooks
            and x.device.type == "cpu" and x.dtype is torch.float32 and layer.weight.dtype is torch.float32
            and x.dim() == 2 and len(x) > 0)
