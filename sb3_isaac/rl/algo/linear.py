"""In which way each linear layer of a network is computed on a CPU: what is fastest there, by measurement."""

from __future__ import annotations

import functools
from typing import Any, Dict, FrozenSet, List

import torch
from torch import nn

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.activation import Activations
from sb3_isaac.rl.algo.faster import fastest, least_seconds
from sb3_isaac.rl.algo.layers import Layer, Pairs, Plain
from sb3_isaac.rl.algo.products import BLAS, ONEDNN, Shape, Ways, product_times, products
from sb3_isaac.rl.algo.workspace import FLOATS, Workspace

WORTH_MEASURING = 2e7
"""Floating-point operations of a product below which the choice of a way saves nothing."""


class MatrixLibraries:
    """How the products of linear layers are computed, by the layer's shape; and activations; and where.

    Unmeasured shapes are computed in torch's own way. What was chosen decides how numbers round, so a resumed run takes
    over the choice of the run that it goes on with: :meth:`state_dict`.
    """

    def __init__(self) -> None:
        self.activations, self.workspace = Activations(), Workspace()
        self.of_pairs: FrozenSet[nn.Linear] = frozenset()
        """Layers from mirrored pairs to mirrored pairs, see :class:`~sb3_isaac.rl.algo.layers.Pairs`."""
        self._chosen: Dict[Shape, Ways] = {}
        self.measured = False
        self.times: Dict[Shape, List[Dict[str, float]]] = {}
        """Seconds of the output, the input's gradient and the weight's gradient, by way."""

    def of(self, shape: Shape) -> Ways:
        """The choice for layers of this shape."""
        return self._chosen.get(shape, Ways())

    def layer(self, linear: nn.Linear, rows: int) -> Layer:
        """How `linear` is computed on `rows` rows."""
        shape, halves = _shape(linear), _halves(linear)
        if linear in self.of_pairs and halves in self._chosen and _is_worth_it(rows, shape):
            return self._pairs(halves)
        return self._plain(shape)

    def measure(self, module: nn.Module, rows: int) -> None:
        """Time the products and activations of the layers inside `module` on `rows` rows; usual ones take a second."""
        self.measured = True
        layers: List[Any] = [layer for layer in module.modules() if is_fast(layer)]
        if layers:
            self.activations.measure(module, rows)
        for shape in dict.fromkeys(map(_shape, layers)):
            if _is_worth_it(rows, shape):
                self._measure(rows, shape)
        for shape, halves in {_shape(layer): _halves(layer) for layer in layers if layer in self.of_pairs}.items():
            if _is_worth_it(rows, shape):
                self._measure(rows, halves)
                if fastest(_times(rows, shape, self._plain(shape), self._pairs(halves))) == 0:
                    del self._chosen[halves]

    def _measure(self, rows: int, shape: Shape) -> None:
        self.times[shape] = product_times(rows, shape)
        self._chosen[shape] = Ways(*(list(times)[fastest(list(times.values()))] for times in self.times[shape]))

    def _plain(self, shape: Shape) -> Layer:
        return Plain(products(shape, self.of(shape)))

    def _pairs(self, halves: Shape) -> Layer:
        return Pairs(products(halves, self.of(halves)), self.workspace)

    def state_dict(self) -> Dict[str, List[Any]]:
        """The measured choices as plain data: ``"44x256"`` to :class:`Ways`, ``"2x128x64"`` to those of the pairs of a
        256x128 layer, ``"ELU"`` to whether another function than torch's computes it; empty if not measured."""
        if not self.measured:
            return {}
        return {**{"x".join(map(str, shape)): list(ways) for shape, ways in self._chosen.items()},
                **{name: [by] for name, by in self.activations.by_other.items()}}

    def load_state_dict(self, state: Dict[str, List[Any]]) -> None:
        """Take over what :meth:`state_dict` gave, or gave when it held whether oneDNN computes a product."""
        names: Dict[Any, str] = {True: ONEDNN, False: BLAS}
        shapes = {name: ways for name, ways in state.items() if name[0].isdigit()}
        self._chosen = {tuple(map(int, shape.split("x"))): Ways(*(names.get(way, way) for way in ways))
                        for shape, ways in shapes.items()}
        self.activations.by_other = {name: bool(by[0]) for name, by in state.items() if name not in shapes}
        self.measured = bool(state)


def is_fast(layer: Any) -> bool:
    """Whether `layer` is a float32 linear one with a bias and without hooks, on a CPU."""
    return (type(layer) is nn.Linear and layer.bias is not None and not has_hooks(layer)
            and layer.weight.dtype is torch.float32 and layer.weight.device.type == "cpu")


def is_for_chains(x: torch.Tensor) -> bool:
    """Whether x is a float32 matrix on a CPU. ``torch.compile`` makes products of its own choice."""
    return (x.dtype is torch.float32 and x.device.type == "cpu" and x.dim() == 2 and x.shape[0] > 0
            and not torch.compiler.is_compiling())


def _shape(linear: nn.Linear) -> Shape:
    return linear.in_features, linear.out_features


def _halves(linear: nn.Linear) -> Shape:
    """The shape of the two products by which pairs are computed."""
    return 2, linear.in_features // 2, linear.out_features // 2


def _is_worth_it(rows: int, shape: Shape) -> bool:
    return 2.0 * rows * shape[0] * shape[1] >= WORTH_MEASURING


def _times(rows: int, shape: Shape, *ways: Layer) -> List[float]:
    """Seconds of a pass forwards and backwards through a layer of `shape` in each of `ways`."""
    inputs, outputs = shape
    x, weight, grad = (torch.full(size, 0.5, **FLOATS)
                       for size in ((rows, inputs), (outputs, inputs), (rows, outputs)))
    bias, room, room_x = torch.zeros(outputs, **FLOATS), torch.empty_like(grad), torch.empty_like(x)

    def both_ways(layer: Layer) -> None:
        _, kept = layer.output(x, weight, bias, room)
        layer.gradients(grad, x, weight, room_x, kept)

    with torch.no_grad():
        return least_seconds(*(functools.partial(both_ways, layer) for layer in ways))
