"""The matrix products of linear layers on a CPU, each in the ways that there are.

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

from sb3_isaac.rl.algo.faster import least_seconds
from sb3_isaac.rl.algo.workspace import FLOATS

# oneDNN's y = x Wᵀ + b; None where this torch was built without it.
_ONEDNN: Any = (getattr(torch.ops.mkldnn, "_linear_pointwise", None)
                if torch.backends.mkldnn.is_available() else None)
BLAS, ONEDNN, BY_THREAD = "BLAS", "oneDNN", "BLAS by thread"
TRANSPOSED, BY_THREAD_TRANSPOSED = "BLAS transposed", "BLAS by thread transposed"

Way = Callable[..., Any]
Shape = Tuple[int, ...]
"""Of a layer, (inputs, outputs); of two layers of one size that are computed together, (2, inputs, outputs)."""


class Ways(NamedTuple):
    """For one shape of layer: how each of its products is computed. The default is torch's own way."""

    output: str = BLAS
    input_grad: str = BLAS
    weight_grad: str = BLAS


class Products(NamedTuple):
    """The products of a linear layer, as chosen; of two layers, of matrices (2, ...), they give two.

    Each may write to the memory that it is offered, and gives back what it has written to.
    """

    output: Way
    """x (B, k), weight (m, k), bias (m,), room (B, m) -> x weightᵀ + bias (B, m); of two layers, bias is (2, 1, m)."""
    input_grad: Way
    """Gradient of the output (B, m), weight (m, k), room (B, k) -> gradient of x (B, k)."""
    weight_grad: Way
    """Gradient of the output (B, m), x (B, k) -> gradient of the weight (m, k)."""


def products(shape: Shape, ways: Ways) -> Products:
    """The products of layers of `shape` in `ways`; torch's own where this torch lacks one."""
    tables = _tables(shape)
    return Products(*(table[BLAS if way == ONEDNN and _ONEDNN is None else way] for table, way in zip(tables, ways)))


def product_times(rows: int, shape: Shape) -> List[Dict[str, float]]:
    """Seconds of the output, the input's gradient and the weights' gradient of layers of `shape`, by way."""
    *two, inputs, outputs = shape
    x, weight, grad = (torch.full((*two, *size), 0.5, **FLOATS)
                       for size in ((rows, inputs), (outputs, inputs), (rows, outputs)))
    bias = torch.zeros(*two, 1, outputs, **FLOATS) if two else torch.zeros(outputs, **FLOATS)
    out, grad_x = torch.empty_like(grad), torch.empty_like(x)
    given = ((x, weight, bias, out), (grad, weight, grad_x), (grad, x))
    with torch.no_grad():
        return [_times_of(ways, of) for ways, of in zip(_tables(shape), given)]


def _times_of(ways: Dict[str, Way], given: Tuple[torch.Tensor, ...]) -> Dict[str, float]:
    lacking = {*([ONEDNN] if _ONEDNN is None else []),
               *([BY_THREAD, BY_THREAD_TRANSPOSED] if torch.get_num_threads() == 1 else [])}
    usable = [name for name in ways if name not in lacking]
    seconds = least_seconds(*(functools.partial(ways[name], *given) for name in usable))
    return dict(zip(usable, seconds))


def _tables(shape: Shape) -> Tuple[Dict[str, Way], Dict[str, Way], Dict[str, Way]]:
    return (_OUTPUT, _INPUT_GRAD, _WEIGHT_GRAD) if len(shape) == 2 else (_OUTPUTS, _INPUT_GRADS, _WEIGHT_GRADS)


def _by_onednn(x: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor] = None) -> torch.Tensor:
    """x @ weight.T + bias by oneDNN."""
    out: torch.Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return out


def _by_thread(x: torch.Tensor) -> torch.Tensor:
    """Rows of x (B, k) by thread (T, B / T, k); fewer parts where B is not a multiple of the threads."""
    return x.reshape(math.gcd(torch.get_num_threads(), len(x)), -1, x.shape[1])


def _weight_grad_by_thread(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.bmm(_by_thread(grad).transpose(1, 2), _by_thread(x)).sum(dim=0)


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

# The same of two layers, by matrices (2, ...).
_OUTPUTS: Dict[str, Way] = {
    BLAS: lambda x, weight, bias, out: torch.baddbmm(bias, x, weight.transpose(1, 2), out=out),
    ONEDNN: lambda x, weight, bias, out: [_by_onednn(x[i], weight[i], bias[i, 0]) for i in (0, 1)]}
_INPUT_GRADS: Dict[str, Way] = {
    BLAS: lambda grad, weight, out: torch.bmm(grad, weight, out=out),
    ONEDNN: lambda grad, weight, out: [_by_onednn(grad[i], weight[i].t()) for i in (0, 1)]}
_WEIGHT_GRADS: Dict[str, Way] = {
    BLAS: lambda grad, x: torch.bmm(grad.transpose(1, 2), x),
    ONEDNN: lambda grad, x: [_by_onednn(grad[i].t(), x[i].t()) for i in (0, 1)]}
