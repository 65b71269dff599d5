"""Fast linear layers give torch's own numbers, and leave alone what is not plain."""

from __future__ import annotations

from typing import Any, List

import pytest
import torch
from torch import nn

from sb3_isaac.rl.algo import activation, linear
from sb3_isaac.rl.algo.linear import ByOneDnn, MatrixLibraries, ProductTimes, run_layers


def networks() -> List[nn.Module]:
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Linear(44, 64), nn.ELU(), nn.Linear(64, 32), nn.ELU(alpha=0.5), nn.Linear(32, 3)),
        nn.Sequential(nn.Linear(44, 16), nn.Tanh(), nn.ELU(), nn.Linear(16, 1, bias=False)),
        nn.Sequential(nn.ELU(), nn.Linear(44, 5), nn.ReLU()),
        nn.Sequential(nn.Linear(44, 8), nn.ELU(alpha=-0.5), nn.Linear(8, 3)),
        nn.Linear(44, 7),
        nn.Sequential(),
    ]


@pytest.mark.parametrize("net", networks(), ids=lambda net: type(net).__name__)
@pytest.mark.parametrize("rows", [1, 257])
@pytest.mark.parametrize("others", [False, True], ids=["usual", "others"])
def test_outputs_and_gradients_are_torchs(net: nn.Module, rows: int, others: bool,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "BLOCK", 1000)  # several blocks, and a shorter one
    choices, by = MatrixLibraries(), ByOneDnn(False, False, True) if others else ByOneDnn()
    choices.load_state_dict({**{f"{layer.in_features}x{layer.out_features}": list(by) for layer in net.modules()
                                if isinstance(layer, nn.Linear)}, "ELU": [others], "Tanh": [others]})
    x = torch.randn(rows, 44, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(rows, 64)
    results: List[Any] = []
    for run in (lambda x: net(x), lambda x: run_layers(net, x, choices)):
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
    calls, usual = [], MatrixLibraries()
    product = linear._product
    monkeypatch.setattr(linear, "_product", lambda *args: calls.append(1) or product(*args))
    layer, x = nn.Linear(4, 4), torch.randn(8, 4)
    run_layers(layer, x, usual)
    assert len(calls) == 1
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, out: out + 1.0)
    assert torch.equal(run_layers(hooked, x, usual), hooked(x))
    doubled = layer.double()
    assert torch.equal(run_layers(doubled, x.double(), usual), doubled(x.double()))
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        plain = nn.Linear(4, 4)
        assert torch.equal(run_layers(plain, x, usual), plain(x))
    assert run_layers(nn.Linear(4, 4), x[:0], usual).shape == (0, 4)
    assert run_layers(nn.Linear(4, 4), x[0], usual).shape == (4,)
    assert len(calls) == 1


def test_the_faster_library_is_measured_and_noise_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Any] = []
    # One product where the other library is twice as fast, one within the margin, one where the usual one is faster.
    times = [ProductTimes(2.0, 1.0), ProductTimes(1.05, 1.0), ProductTimes(2.0, 1.0)]
    monkeypatch.setattr(linear, "_product_times", lambda *shape: asked.append(shape) or times)
    libraries = MatrixLibraries()
    libraries.measure(nn.Sequential(nn.Linear(400, 200), nn.ELU(), nn.Linear(200, 3), nn.Linear(400, 200)), 1000)
    without = linear._ONEDNN is None
    assert asked == ([] if without else [(1000, 400, 200)]), "each shape once, and only where it is worth it"
    if not without:
        assert libraries.of(400, 200) == ByOneDnn(False, True, False)
        assert libraries.of(200, 3) == ByOneDnn()
    other = MatrixLibraries()
    other.load_state_dict(libraries.state_dict())
    assert other.of(400, 200) == libraries.of(400, 200)


def test_times_are_of_this_machine() -> None:
    if linear._ONEDNN is None:
        pytest.skip("this torch has no oneDNN")
    libraries, layer = MatrixLibraries(), nn.Linear(300, 200)
    random_state = torch.get_rng_state()
    libraries.measure(layer, 1000)
    assert all(seconds > 0 for product in libraries.times[300, 200] for seconds in product)
    assert torch.equal(torch.get_rng_state(), random_state), "a run's random numbers do not depend on it"


def test_activations_are_torchs_for_any_number_and_timed_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    if linear._ONEDNN is None:
        pytest.skip("this torch has no oneDNN")
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-30, -1e-30, -90.0, 90.0, -0.5, 0.5]])
    for kind, cheaper in activation._CHEAPER.items():
        torch.testing.assert_close(cheaper.apply(x.clone()), kind()(x), rtol=0.0, atol=1.2e-7, equal_nan=True)
    libraries = MatrixLibraries()
    for own_s, faster in ((2.0, True), (1.05, False)):
        monkeypatch.setattr(activation, "median_seconds", lambda *ways, own_s=own_s: [1.0, own_s])
        libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.ReLU()), 1000)
        assert libraries.activations.by_other == {"Tanh": faster}
        other = MatrixLibraries()
        other.load_state_dict(libraries.state_dict())
        assert other.activations.by_other == {"Tanh": faster}
    monkeypatch.undo()
    libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.ELU()), 999)
    assert libraries.activations.by_other == {"Tanh": False}, "few rows are not worth it"
    libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.ELU()), 1000)
    assert libraries.activations.by_other.keys() == {"Tanh", "ELU"}
