"""The layers of a policy's networks, each matrix product by the faster of torch's two libraries on a CPU, and each
activation in the faster way.

``nn.Linear`` multiplies float32 matrices by the BLAS library that torch was built with, MKL in torch's wheels; the same
wheels have oneDNN. Which one is faster depends on the processor, on the shape and on which of a layer's three products
it is: the output, the gradient of the input, or the gradient of the weights. Results differ by rounding alone.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional as F

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.activation import Activations, is_known
from sb3_isaac.rl.algo.faster import median_seconds, prefers_first

# oneDNN's y = x Wᵀ + b; None where this torch was built without it, and then nn.Linear is used.
_ONEDNN: Any = (getattr(torch.ops.mkldnn, "_linear_pointwise", None)
                if torch.backends.mkldnn.is_available() else None)
WORTH_MEASURING = 5e7
"""Floating-point operations of a product below which the choice of a library saves nothing."""


class ByOneDnn(NamedTuple):
    """For one shape of layer: which of its products oneDNN computes; BLAS computes the others.

    The defaults are what was faster on most of the processors that were measured.
    """

    output: bool = True
    input_grad: bool = True
    weight_grad: bool = False


class ProductTimes(NamedTuple):
    """Seconds of one product, by each library."""

    onednn_s: float
    blas_s: float


class MatrixLibraries:
    """Which library computes which product of a linear layer, by the layer's (inputs, outputs); and the activations.

    Unmeasured shapes have the default of :class:`ByOneDnn`. What was chosen decides how numbers round, so a resumed run
    takes over the choice of the run that it goes on with: :meth:`state_dict`.
    """

    def __init__(self) -> None:
        self.activations = Activations()
        self._chosen: Dict[Tuple[int, int], ByOneDnn] = {}
        self.measured = False
        self.times: Dict[Tuple[int, int], List[ProductTimes]] = {}

    def of(self, inputs: int, outputs: int) -> ByOneDnn:
        """The choice for a layer of this shape."""
        return self._chosen.get((inputs, outputs), ByOneDnn())

    def measure(self, module: nn.Module, rows: int) -> None:
        """Time the products and activations of the layers inside `module` on `rows` rows, about a third of a second."""
        self.measured = True
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and _is_fast(layer, layer.weight)]
        if layers:
            self.activations.measure(module, rows)
        for shape in dict.fromkeys((layer.in_features, layer.out_features) for layer in layers):
            if 2.0 * rows * shape[0] * shape[1] >= WORTH_MEASURING:
                self.times[shape] = _product_times(rows, *shape)
                self._chosen[shape] = ByOneDnn(*(prefers_first(*times, usual=usual)
                                                 for times, usual in zip(self.times[shape], ByOneDnn())))

    def state_dict(self) -> Dict[str, List[bool]]:
        """The measured choices as plain data: ``"44x256"`` to :class:`ByOneDnn`'s three, ``"ELU"`` to whether another
        function than torch's computes it; empty if not measured."""
        if not self.measured:
            return {}
        return {**{f"{k}x{m}": list(by) for (k, m), by in self._chosen.items()},
                **{name: [by] for name, by in self.activations.by_other.items()}}

    def load_state_dict(self, state: Dict[str, List[bool]]) -> None:
        """Take over what :meth:`state_dict` gave."""
        shapes = {name: by for name, by in state.items() if name[0].isdigit()}
        self._chosen = {(int(k), int(m)): ByOneDnn(*map(bool, by))
                        for (k, m), by in ((shape.split("x"), by) for shape, by in shapes.items())}
        self.activations.by_other = {name: bool(by[0]) for name, by in state.items() if name not in shapes}
        self.measured = bool(state)


def _product_times(rows: int, inputs: int, outputs: int) -> List[ProductTimes]:
    """Median seconds of the output, the input's gradient and the weights' gradient of a layer, libraries in turn."""
    x, weight, grad = (torch.full(shape, 0.5) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs)))
    bias = torch.zeros(outputs)
    pairs: Tuple[Tuple[Callable[[], Any], Callable[[], Any]], ...] = (
        (lambda: _product(x, weight, bias), lambda: F.linear(x, weight, bias)),
        (lambda: _product(grad, weight.t()), lambda: grad @ weight),
        (lambda: _product(grad.t(), x.t()), lambda: grad.t() @ x))
    with torch.no_grad():
        return [ProductTimes(*median_seconds(*pair)) for pair in pairs]


def _product(x: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor] = None) -> torch.Tensor:
    """x @ weight.T + bias by oneDNN."""
    out: torch.Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b of x (B, k), W (m, k), b (m,), and its gradients, each by the library chosen for it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, by: ByOneDnn) -> torch.Tensor:
        """x (B, k) · weightᵀ + bias, (B, m)."""
        ctx.save_for_backward(x, weight)
        ctx.by = by
        return _product(x, weight, bias) if by.output else F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        """Gradients of x (B, k), weight (m, k) and bias (m,), by that of the result, `grad` (B, m)."""
        x, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _product(grad, weight.t()) if ctx.by.input_grad else grad @ weight
        grad_weight = _product(grad.t(), x.t()) if ctx.by.weight_grad else grad.t() @ x
        return grad_x, grad_weight, grad.sum(dim=0), None


def run_layers(layers: nn.Module, x: torch.Tensor, libraries: MatrixLibraries) -> torch.Tensor:
    """``layers(x)`` of x (B, k), where linear layers, alone or in a Sequential, are multiplied as `libraries` says, and
    activations behind them computed so.

    A module of another type, a subclass or one with hooks is called as it is.
    """
    parts = layers if type(layers) is nn.Sequential and not has_hooks(layers) else (layers,)
    fresh = False  # whether x was made here and is held by nothing else
    for layer in parts:
        if _is_fast(layer, x):
            x, fresh = _multiply(layer, x, libraries), True
        elif fresh and is_known(layer):
            x, fresh = libraries.activations(layer, x), False
        else:
            x, fresh = layer(x), False
    return x


def _multiply(layer: Any, x: torch.Tensor, libraries: MatrixLibraries) -> torch.Tensor:
    by = libraries.of(layer.in_features, layer.out_features)
    out: torch.Tensor = _Linear.apply(x, layer.weight, layer.bias, by)
    return out


def _is_fast(layer: nn.Module, x: torch.Tensor) -> bool:
    """Whether `layer` is a linear one without hooks and x a matrix that oneDNN multiplies.

    ``torch.compile`` makes products of its own choice, and cannot compile this one's gradient.
    """
    return (_ONEDNN is not None and not torch.compiler.is_compiling()
            and type(layer) is nn.Linear and layer.bias is not None and not has_hooks(layer)
            and x.device.type == "cpu" and x.dtype is torch.float32 and layer.weight.dtype is torch.float32
            and x.dim() == 2 and len(x) > 0)
