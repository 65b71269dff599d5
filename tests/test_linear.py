"""Fast linear layers give torch's own numbers, and leave alone what is not plain."""

from __future__ import annotations

from typing import Any, List

import pytest
import torch
from torch import nn

from sb3_isaac.rl.algo import linear
from sb3_isaac.rl.algo.linear import run_layers


def networks() -> List[nn.Module]:
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Linear(44, 64), nn.ELU(), nn.Linear(64, 32), nn.ELU(alpha=0.5), nn.Linear(32, 3)),
        nn.Sequential(nn.Linear(44, 16), nn.Tanh(), nn.ELU(), nn.Linear(16, 1, bias=False)),
        nn.Sequential(nn.ELU(), nn.Linear(44, 5), nn.ReLU()),
        nn.Linear(44, 7),
        nn.Sequential(),
    ]


@pytest.mark.parametrize("net", networks(), ids=lambda net: type(net).__name__)
@pytest.mark.parametrize("rows", [1, 257])
def test_outputs_and_gradients_are_torchs(net: nn.Module, rows: int) -> None:
    x = torch.randn(rows, 44, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(rows, 64)
    results: List[Any] = []
    for run in (lambda x: net(x), lambda x: run_layers(net, x)):
        given = x.clone().requires_grad_()
        net.zero_grad()
        out = run(given)
        (out * weight[:, :out.shape[1]]).sum().backward()
        results.append([out, given.grad, *(p.grad.clone() for p in net.parameters())])
        assert torch.equal(given, x)  # what was handed in is not written to
    for stock, fast in zip(*results):
        torch.testing.assert_close(fast, stock, rtol=1e-5, atol=1e-5)


def test_the_fast_way_is_taken_and_hooks_and_other_types_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if linear._ONEDNN is None:
        pytest.skip("this torch has no oneDNN")
    calls: List[int] = []
    product = linear._product
    monkeypatch.setattr(linear, "_product", lambda *args: calls.append(1) or product(*args))
    layer, x = nn.Linear(4, 4), torch.randn(8, 4)
    run_layers(layer, x)
    assert len(calls) == 1
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, out: out + 1.0)
    assert torch.equal(run_layers(hooked, x), hooked(x))
    doubled = layer.double()
    assert torch.equal(run_layers(doubled, x.double()), doubled(x.double()))
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        plain = nn.Linear(4, 4)
        assert torch.equal(run_layers(plain, x), plain(x))
    assert run_layers(nn.Linear(4, 4), x[:0]).shape == (0, 4) and run_layers(nn.Linear(4, 4), x[0]).shape == (4,)
    assert len(calls) == 1
