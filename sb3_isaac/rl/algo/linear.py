"""The matrix products of linear layers on a CPU, each in the fastest way, and the choice of these ways.

``nn.Linear`` multiplies float32 matrices by the BLAS library that torch was built with, MKL in torch's wheels; the same
wheels have oneDNN. Which one is faster depends on the processor, on the shape and on which of a layer's three products
it is: the output, the gradient of the input, or the gradient of the weights. The last is a sum over all rows, so BLAS
may also be given the rows of each thread as a product of its own. Results differ by rounding alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import nn

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.activation import Activations
from sb3_isaac.rl.algo.faster import fastest, least_seconds
from sb3_isaac.rl.algo.workspace import Workspace

# oneDNN's y = x Wᵀ + b; None where this torch was built without it.
_ONEDNN: Any = (getattr(torch.ops.mkldnn, "_linear_pointwise", None)
                if torch.backends.mkldnn.is_available() else None)
WORTH_MEASURING = 2e7
"""Floating-point operations of a product below which the choice of a way saves nothing."""
BLAS, ONEDNN, BY_THREAD = "BLAS", "oneDNN", "BLAS by thread"
TRANSPOSED, BY_THREAD_TRANSPOSED = "BLAS transposed", "BLAS by thread transposed"


def _by_onednn(x: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor] = None) -> torch.Tensor:
    """x @ weight.T + bias by oneDNN."""
    out: torch.Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return out


def _by_thread(x: torch.Tensor) -> torch.Tensor:
    """Rows of x (B, k) by thread (T, B / T, k); fewer parts where B is not a multiple of the threads."""
    return x.reshape(math.gcd(torch.get_num_threads(), len(x)), -1, x.shape[1])


def _weight_grad_by_thread(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.bmm(_by_thread(grad).transpose(1, 2), _by_thread(x)).sum(dim=0)


Way = Callable[..., torch.Tensor]
_OUTPUT: Dict[str, Way] = {  # of x (B, k), weight (m, k), bias (m,)
    BLAS: lambda x, weight, bias, out: torch.addmm(bias, x, weight.t(), out=out),
    ONEDNN: lambda x, weight, bias, out: _by_onednn(x, weight, bias)}
_INPUT_GRAD: Dict[str, Way] = {  # of grad (B, m), weight (m, k)
    BLAS: lambda grad, weight, out: torch.mm(grad, weight, out=out),
    ONEDNN: lambda grad, weight, out: _by_onednn(grad, weight.t())}
_WEIGHT_GRAD: Dict[str, Way] = {  # of grad (B, m), x (B, k)
    BLAS: lambda grad, x: grad.t() @ x,
    ONEDNN: lambda grad, x: _by_onednn(grad.t(), x.t()),
    TRANSPOSED: lambda grad, x: (x.t() @ grad).t(), BY_THREAD: _weight_grad_by_thread,
    BY_THREAD_TRANSPOSED: lambda grad, x: _weight_grad_by_thread(x, grad).t()}


class Ways(NamedTuple):
    """For one shape of layer: how each of its products is computed. The default is torch's own way."""

    output: str = BLAS
    input_grad: str = BLAS
    weight_grad: str = BLAS


class Linear(NamedTuple):
    """The products of a linear layer of one shape, as chosen.

    Each may write to the memory that it is offered, and gives back the matrix that it has written to.
    """

    output: Way
    """x (B, k), weight (m, k), bias (m,), room (B, m) -> x weightᵀ + bias (B, m)."""
    input_grad: Way
    """Gradient of the output (B, m), weight (m, k), room (B, k) -> gradient of x (B, k)."""
    weight_grad: Way
    """Gradient of the output (B, m), x (B, k) -> gradient of the weight (m, k)."""


class MatrixLibraries:
    """How the products of linear layers are computed, by the layer's (inputs, outputs); and activations; and where.

    Unmeasured shapes are computed in torch's own way. What was chosen decides how numbers round, so a resumed run takes
    over the choice of the run that it goes on with: :meth:`state_dict`.
    """

    def __init__(self) -> None:
        self.activations, self.workspace = Activations(), Workspace()
        self._chosen: Dict[Tuple[int, int], Ways] = {}
        self.measured = False
        self.times: Dict[Tuple[int, int], List[Dict[str, float]]] = {}
        """Seconds of the output, the input's gradient and the weight's gradient, by way."""

    def of(self, inputs: int, outputs: int) -> Ways:
        """The choice for a layer of this shape."""
        return self._chosen.get((inputs, outputs), Ways())

    def products(self, inputs: int, outputs: int) -> Linear:
        """The products of a layer of this shape in the chosen ways; torch's own where this torch lacks one."""
        ways = Ways(*(BLAS if way == ONEDNN and _ONEDNN is None else way for way in self.of(inputs, outputs)))
        return Linear(_OUTPUT[ways.output], _INPUT_GRAD[ways.input_grad], _WEIGHT_GRAD[ways.weight_grad])

    def measure(self, module: nn.Module, rows: int) -> None:
        """Time the products and activations of the layers inside `module` on `rows` rows; usual ones take a second."""
        self.measured = True
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and is_fast(layer, layer.weight)]
        if layers:
            self.activations.measure(module, rows)
        for shape in dict.fromkeys((layer.in_features, layer.out_features) for layer in layers):
            if 2.0 * rows * shape[0] * shape[1] >= WORTH_MEASURING:
                self.times[shape] = _product_times(rows, *shape)
                self._chosen[shape] = Ways(*(list(times)[fastest(list(times.values()))]
                                             for times in self.times[shape]))

    def state_dict(self) -> Dict[str, List[Any]]:
        """The measured choices as plain data: ``"44x256"`` to :class:`Ways`, ``"ELU"`` to whether another function than
        torch's computes it; empty if not measured."""
        if not self.measured:
            return {}
        return {**{f"{k}x{m}": list(ways) for (k, m), ways in self._chosen.items()},
                **{name: [by] for name, by in self.activations.by_other.items()}}

    def load_state_dict(self, state: Dict[str, List[Any]]) -> None:
        """Take over what :meth:`state_dict` gave, or gave when it held whether oneDNN computes a product."""
        names: Dict[Any, str] = {True: ONEDNN, False: BLAS}
        shapes = {name: ways for name, ways in state.items() if name[0].isdigit()}
        self._chosen = {(int(k), int(m)): Ways(*(names.get(way, way) for way in ways))
                        for (k, m), ways in ((shape.split("x"), ways) for shape, ways in shapes.items())}
        self.activations.by_other = {name: bool(by[0]) for name, by in state.items() if name not in shapes}
        self.measured = bool(state)


def is_fast(layer: Any, x: torch.Tensor) -> bool:
    """Whether `layer` is a linear one without hooks and x a float32 matrix on a CPU.

    ``torch.compile`` makes products of its own choice.
    """
    return (type(layer) is nn.Linear and not torch.compiler.is_compiling()
            and layer.bias is not None and not has_hooks(layer)
            and x.device.type == "cpu" and x.dtype is torch.float32 and layer.weight.dtype is torch.float32
            and x.dim() == 2 and len(x) > 0)


def _product_times(rows: int, inputs: int, outputs: int) -> List[Dict[str, float]]:
    """Seconds of the output, the input's gradient and the weights' gradient of a layer, by way."""
    x, weight, grad = (torch.full(shape, 0.5) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs)))
    bias, out, grad_x = torch.zeros(outputs), torch.empty_like(grad), torch.empty_like(x)
    products: Tuple[Tuple[Dict[str, Way], Tuple[torch.Tensor, ...]], ...] = (
        (_OUTPUT, (x, weight, bias, out)), (_INPUT_GRAD, (grad, weight, grad_x)), (_WEIGHT_GRAD, (grad, x)))
    with torch.no_grad():
        return [_times_of(ways, given) for ways, given in products]


def _times_of(ways: Dict[str, Way], given: Tuple[torch.Tensor, ...]) -> Dict[str, float]:
    lacking = {*([ONEDNN] if _ONEDNN is None else []),
               *([BY_THREAD, BY_THREAD_TRANSPOSED] if torch.get_num_threads() == 1 else [])}
    usable = [name for name in ways if name not in lacking]
    seconds = least_seconds(*(functools.partial(ways[name], *given) for name in usable))
    return dict(zip(usable, seconds))
