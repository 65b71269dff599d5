"""How a linear layer of a network is computed on a CPU, forwards and backwards: as it is, or by mirrored pairs."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Protocol, Tuple

import torch

from sb3_isaac.rl.algo.products import Products
from sb3_isaac.rl.algo.workspace import FLOATS, Loan, Workspace

Gradients = Tuple[Optional[torch.Tensor], torch.Tensor, torch.Tensor]
"""Of the input (B, k), of the weight (m, k) and of the bias (m,)."""


class Layer(Protocol):
    """y (B, m) = x (B, k) weightᵀ + bias, and its gradients."""

    def output(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
               room: torch.Tensor) -> Tuple[torch.Tensor, Any]:
        """y, which may be written to `room` (B, m), and what :meth:`gradients` needs of it."""

    def gradients(self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, room: Optional[torch.Tensor],
                  kept: Any) -> Gradients:
        """By the gradient of y, `grad` (B, m). That of x is left out without `room` (B, k), which it may be written
        to."""


class Plain(NamedTuple):
    """A layer as it is."""

    products: Products

    def output(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
               room: torch.Tensor) -> Tuple[torch.Tensor, Any]:
        """See :class:`Layer`."""
        return self.products.output(x, weight, bias, room), None

    def gradients(self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, room: Optional[torch.Tensor],
                  kept: Any) -> Gradients:
        """See :class:`Layer`."""
        of_parameters = self.products.weight_grad(grad, x), grad.sum(dim=0)
        return None if room is None else self.products.input_grad(grad, weight, room), *of_parameters


class Pairs(NamedTuple):
    """A layer whose inputs i and i + k/2 are each other's mirror image, and whose outputs j and j + m/2 are.

    Its weight is [[A, B], [B, A]] and its bias [b, b], so sums and differences of pairs do not mix:
    y₁ ± y₂ = (A ± B)(x₁ ± x₂), and 2 b for the sums. These two products have half the operations of the one.

    The gradient of the weight is that of A and B, in equal parts where each of them stands: the mean of the gradients
    of a minibatch and of its mirror image.
    """

    products: Products
    """Of two layers of k/2 inputs and m/2 outputs."""
    workspace: Workspace

    def output(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
               room: torch.Tensor) -> Tuple[torch.Tensor, Any]:
        """See :class:`Layer`."""
        of_x, of_y = self._lend(x), self._lend(room)
        halves = _halves(weight)
        _split(x, of_x.matrices[0])
        of_sums = bias.view(2, 1, -1) * _OF_SUMS
        _join(self.products.output(of_x.matrices[0], halves, of_sums, of_y.matrices[0]), room)
        return room, (halves, of_x)

    def gradients(self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, room: Optional[torch.Tensor],
                  kept: Any) -> Gradients:
        """See :class:`Layer`."""
        halves, of_x = kept
        of_y = self._lend(grad)
        _split(grad, of_y.matrices[0])
        of_weight = _of_halves(*self.products.weight_grad(of_y.matrices[0], of_x.matrices[0]))
        if room is not None:
            _join(self.products.input_grad(of_y.matrices[0], halves, self._lend(x).matrices[0]), room)
        return room, of_weight, grad.sum(dim=0)

    def _lend(self, like: torch.Tensor) -> Loan:
        """Two matrices (2, B, n/2), as much as one (B, n)."""
        rows, width = like.shape
        loan = self.workspace.lend(rows, (width,))
        loan.matrices[0] = loan.matrices[0].view(2, rows, width // 2)
        return loan


_OF_SUMS = torch.tensor([1.0, 0.0], **FLOATS).view(2, 1, 1)


def _halves(weight: torch.Tensor) -> torch.Tensor:
    """½ (A + B) and ½ (A − B), (2, m/2, k/2), of a weight [[A, B], [B, A]]."""
    a, b = weight[:len(weight) // 2].chunk(2, dim=1)
    halves = weight.new_empty(2, *a.shape)
    torch.lerp(a, b, 0.5, out=halves[0])
    torch.sub(a, halves[0], out=halves[1])
    return halves


def _of_halves(of_sums: torch.Tensor, of_differences: torch.Tensor) -> torch.Tensor:
    """The gradient of a weight (m, k) by those of its halves."""
    a, b = of_sums + of_differences, of_sums - of_differences
    return torch.cat((torch.cat((a, b), dim=1), torch.cat((b, a), dim=1))).mul_(0.25)


def _split(x: torch.Tensor, out: torch.Tensor) -> None:
    """Write the sums and the differences of the pairs of x (B, k) to `out` (2, B, k/2)."""
    first, second = x.chunk(2, dim=1)
    torch.add(first, second, out=out[0])
    torch.sub(first, second, out=out[1])


def _join(halves: torch.Tensor, out: torch.Tensor) -> None:
    """Write s + d and s − d to the halves of `out` (B, m), by s and d (B, m/2)."""
    first, second = out.chunk(2, dim=1)
    torch.add(halves[0], halves[1], out=first)
    torch.sub(halves[0], halves[1], out=second)
