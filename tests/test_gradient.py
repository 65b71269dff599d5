"""Gradients as one vector are clipped as torch clips them, and each parameter keeps what is its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sb3_isaac.rl.algo.gradient import clip_norm, gradient_vector, set_gradients


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False), nn.Linear(2, 1).double())
    net[0].bias.requires_grad_(False)
    (100.0 * net[2](net[1](net[0](torch.randn(5, 3))).double())).sum().backward()
    return net


@pytest.mark.parametrize("largest", [0.5, 1e6])
def test_a_vector_is_clipped_as_torch_does(largest: float) -> None:
    net = network()
    stock = copy.deepcopy(net)
    for own, other in zip(net.parameters(), stock.parameters()):
        other.grad = None if own.grad is None else own.grad.clone()
    torch.nn.utils.clip_grad_norm_(stock.parameters(), largest)
    vector = gradient_vector(list(net.parameters()))
    assert vector.shape == (12 + 4 + 8 + 2 + 1,) and torch.equal(vector[12:16], torch.zeros(4, dtype=vector.dtype))
    set_gradients(list(net.parameters()), clip_norm(vector, largest))
    assert net[0].bias.grad is None, "a parameter without a gradient stays without one: Adam would move it"
    for own, other in zip(net.parameters(), stock.parameters()):
        assert (own.grad is None) == (other.grad is None)
        if own.grad is not None and other.grad is not None:
            assert own.grad.dtype == own.dtype and own.grad.shape == own.shape
            torch.testing.assert_close(own.grad, other.grad)


def test_fused_adam_moves_weights_of_any_layout_alike() -> None:
    nets = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 2).to(memory_format=layout)  # type: ignore[call-overload]
        adam, picture = torch.optim.Adam(net.parameters(), lr=0.1, fused=True), torch.randn(2, 3, 5, 5)
        for _ in range(2):
            net.zero_grad()
            net(picture).square().sum().backward()
            set_gradients(list(net.parameters()), clip_norm(gradient_vector(list(net.parameters())), 1.0))
            adam.step()
        nets.append(net)
    torch.testing.assert_close(*(net.weight.detach().contiguous() for net in nets))
