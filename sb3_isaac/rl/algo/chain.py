"""Linear layers and the activations behind them as one function of autograd, which computes in memory of its own."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.activation import gradient, is_known
from sb3_isaac.rl.algo.linear import MatrixLibraries, is_fast, is_for_chains


class Link(NamedTuple):
    """A linear layer and the activation behind it."""

    linear: nn.Linear
    activation: Optional[nn.Module]


def run_layers(layers: Sequence[nn.Module], x: torch.Tensor, libraries: MatrixLibraries) -> torch.Tensor:
    """x (B, k) through `layers` one after another, with products and activations as `libraries` says.

    A module of another type, a subclass or one with hooks is called as it is.
    """
    parts = [part for layer in layers
             for part in (layer if type(layer) is nn.Sequential and not has_hooks(layer) else [layer])]
    while parts:
        links = _links(parts, x)
        if links:
            parts = parts[sum(1 + (link.activation is not None) for link in links):]
            parameters = [parameter for link in links for parameter in (link.linear.weight, link.linear.bias)]
            x = _Chain.apply(x, links, libraries, *parameters)
        else:
            x = parts.pop(0)(x)
    return x


def _links(parts: Sequence[nn.Module], x: torch.Tensor) -> List[Link]:
    """The links that `parts` begin with."""
    links: List[Link] = []
    i = 0
    while i < len(parts) and (i > 0 or is_for_chains(x)) and is_fast(parts[i]):
        activation = parts[i + 1] if i + 1 < len(parts) and is_known(parts[i + 1]) else None
        links.append(Link(parts[i], activation))  # type: ignore[arg-type]
        i += 1 if activation is None else 2
    return links


class _Chain(torch.autograd.Function):
    """Links of x (B, k); the gradients are those of x, where it is asked for, and of each weight and bias.

    What lies between two links is kept in a loan of the workspace; the last result is a matrix of its own.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, links: Sequence[Link], libraries: MatrixLibraries,
                *parameters: torch.Tensor) -> torch.Tensor:
        """The output of the last link (B, m)."""
        rows, widths = x.shape[0], [link.linear.out_features for link in links]
        layers = [libraries.layer(link.linear, rows) for link in links]
        loan = libraries.workspace.lend(rows, tuple(widths[:-1]))
        last = x.new_empty(rows, widths[-1])
        for_activations = libraries.workspace.lend(rows, (max(widths),)).matrices[0].view(-1)
        results: List[torch.Tensor] = []
        kept: List[Any] = []
        result = x
        for i, (link, room) in enumerate(zip(links, (*loan.matrices, last))):
            result, of_layer = layers[i].output(result, parameters[2 * i], parameters[2 * i + 1], room)
            kept.append(of_layer)
            if link.activation is not None:
                room = for_activations[:rows * widths[i]].view(rows, widths[i])
                libraries.activations.apply(link.activation, result, room)
            results.append(result)
        needed = results if links[-1].activation is not None else results[:-1]
        ctx.save_for_backward(x, *parameters, *needed)
        ctx.links, ctx.layers, ctx.workspace, ctx.loan, ctx.kept = links, layers, libraries.workspace, loan, kept
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        """Gradients by that of the output, `grad` (B, m)."""
        count = len(ctx.links)
        x, *saved = ctx.saved_tensors
        weights, results = saved[:2 * count:2], saved[2 * count:]
        inputs = [x, *results][:count]
        loan = ctx.workspace.lend(len(x), tuple(value.shape[1] for value in inputs[1:]))
        rooms = [x.new_empty(x.shape) if ctx.needs_input_grad[0] else None, *loan.matrices]
        of_parameters: List[torch.Tensor] = []
        grad_room = torch.empty_like(grad) if ctx.links[-1].activation is not None else grad
        for i in reversed(range(count)):
            activation = ctx.links[i].activation
            if activation is not None:
                gradient(activation, grad, results[i], out=grad_room)
                grad = grad_room
            of_input, *of_layer = ctx.layers[i].gradients(grad, inputs[i], weights[i], rooms[i], ctx.kept[i])
            of_parameters = [*of_layer, *of_parameters]
            if of_input is not None:
                grad = grad_room = of_input
        return (grad if rooms[0] is not None else None, None, None, *of_parameters)
