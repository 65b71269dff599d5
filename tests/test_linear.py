"""Fast linear layers give torch's own numbers, and leave alone what is not plain."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest
import torch
from torch import nn

from sb3_isaac.rl.algo import activation, linear, products
from sb3_isaac.rl.algo.chain import run_layers
from sb3_isaac.rl.algo.faster import fastest
from sb3_isaac.rl.algo.layers import Pairs, Plain
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.algo.products import BLAS, BY_THREAD, BY_THREAD_TRANSPOSED, ONEDNN, TRANSPOSED, Shape, Ways


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


WAYS = [Ways(), Ways(ONEDNN, ONEDNN, ONEDNN), Ways(BLAS, ONEDNN, TRANSPOSED),
        Ways(ONEDNN, BLAS, BY_THREAD), Ways(BLAS, BLAS, BY_THREAD_TRANSPOSED)]


def libraries_of(net: nn.Module, ways: Ways, others: bool) -> MatrixLibraries:
    libraries = MatrixLibraries()
    libraries.load_state_dict({**{f"{layer.in_features}x{layer.out_features}": list(ways) for layer in net.modules()
                                  if isinstance(layer, nn.Linear)}, "ELU": [others], "Tanh": [others]})
    return libraries


def outputs_and_gradients(net: nn.Module, x: torch.Tensor, libraries: Optional[MatrixLibraries]) -> List[Any]:
    """By torch, or by `libraries`, for a loss that weighs all outputs differently."""
    given = x.clone().requires_grad_()
    net.zero_grad()
    out = net(given) if libraries is None else run_layers((net,), given, libraries)
    (out * torch.linspace(-1.0, 2.0, out.numel()).view_as(out)).sum().backward()
    assert torch.equal(given, x), "what was handed in is not written to"
    gradients: List[Any] = [p.grad for p in net.parameters()]
    return [out.detach().clone(), given.grad, *(grad.clone() for grad in gradients)]


@pytest.mark.parametrize("net", networks(), ids=lambda net: type(net).__name__)
@pytest.mark.parametrize("rows", [1, 256, 257])
@pytest.mark.parametrize("ways", WAYS, ids=["usual", "oneDNN", "transposed", "by thread", "both"])
def test_outputs_and_gradients_are_torchs(net: nn.Module, rows: int, ways: Ways,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    x = torch.randn(rows, 44, generator=torch.Generator().manual_seed(1))
    libraries = libraries_of(net, ways, others=ways != Ways())
    expected = outputs_and_gradients(net, x, None)
    for _ in range(2):  # the second time in the memory of the first
        torch.testing.assert_close(outputs_and_gradients(net, x, libraries), expected, rtol=1e-5, atol=1e-5)


def test_passes_that_are_not_finished_share_no_memory() -> None:
    net, libraries = networks()[0], MatrixLibraries()
    xs = [torch.randn(rows, 44) for rows in (9, 9, 5)]
    expected = [outputs_and_gradients(net, x, None)[2:] for x in xs]
    weights = [torch.linspace(-1.0, 2.0, 3 * len(x)).view(-1, 3) for x in xs]
    losses = [(run_layers((net,), x, libraries) * weight).sum() for x, weight in zip(xs, weights)]
    for order in ((1, 0, 2), (2, 1, 0)):  # twice, for the graph is kept
        for i in order:
            net.zero_grad()
            losses[i].backward(retain_graph=True)
            torch.testing.assert_close([p.grad for p in net.parameters()], expected[i], rtol=1e-5, atol=1e-5)
    free = libraries.workspace._free[64, 32]
    held = len(free)
    del losses
    assert len(free) == held + 3, "and it goes back"
    with torch.no_grad():
        first = run_layers((net,), xs[0], libraries)
        kept = first.clone()
        run_layers((net,), xs[1], libraries)
    assert torch.equal(first, kept), "a result is not written over by the next"


def test_gradients_of_frozen_layers_are_left_out_as_by_torch() -> None:
    net, libraries = networks()[0], MatrixLibraries()
    net[0].requires_grad_(False)  # type: ignore[index]
    x, gradients = torch.randn(4, 44), []
    for out in (lambda: net(x), lambda: run_layers((net,), x, libraries)):
        net.zero_grad()
        out().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert gradients[1][:2] == [None, None]
    torch.testing.assert_close(gradients[1][2:], gradients[0][2:])


def test_memory_of_a_pass_in_inference_mode_serves_training_too() -> None:
    net, libraries = networks()[0], MatrixLibraries()
    with torch.inference_mode():
        run_layers((net,), torch.randn(4, 44), libraries)
    run_layers((net,), torch.randn(4, 44), libraries).sum().backward()


def test_the_fast_way_is_taken_and_hooks_and_other_types_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: List[Any] = []
    usual = MatrixLibraries()
    lend = usual.workspace.lend
    monkeypatch.setattr(usual.workspace, "lend", lambda *args: calls.append(args) or lend(*args))  # type: ignore
    layer, x = nn.Linear(4, 4), torch.randn(8, 4)
    run_layers((layer, nn.Tanh()), x, usual)
    lent = len(calls)
    assert lent
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, out: out + 1.0)
    assert torch.equal(run_layers((hooked,), x, usual), hooked(x))
    doubled = layer.double()
    assert torch.equal(run_layers((doubled,), x.double(), usual), doubled(x.double()))
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        plain = nn.Linear(4, 4)
        assert torch.equal(run_layers((plain,), x, usual), plain(x))
    assert run_layers((nn.Linear(4, 4),), x[:0], usual).shape == (0, 4)
    assert run_layers((nn.Linear(4, 4),), x[0], usual).shape == (4,)
    assert len(calls) == lent


def test_the_fastest_way_is_measured_and_noise_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Any] = []
    # One product where another way is twice as fast, one within the margin, one where the usual one is fastest.
    times = [{BLAS: 2.0, ONEDNN: 1.0}, {BLAS: 1.02, ONEDNN: 1.0}, {BLAS: 1.0, ONEDNN: 1.2, TRANSPOSED: 1.1}]
    monkeypatch.setattr(linear, "product_times", lambda *shape: asked.append(shape) or times)  # type: ignore
    libraries = MatrixLibraries()
    libraries.measure(nn.Sequential(nn.Linear(400, 200), nn.ELU(), nn.Linear(200, 3), nn.Linear(400, 200)), 1000)
    assert asked == [(1000, (400, 200))], "each shape once, and only where it is worth it"
    assert libraries.of((400, 200)) == Ways(ONEDNN, BLAS, BLAS)
    assert libraries.of((200, 3)) == Ways()
    other = MatrixLibraries()
    other.load_state_dict(libraries.state_dict())
    assert other.of((400, 200)) == libraries.of((400, 200))
    other.load_state_dict({"400x200": [True, False, False], "ELU": [True]})  # as it was written before
    assert other.of((400, 200)) == Ways(ONEDNN, BLAS, BLAS)
    monkeypatch.setattr(products, "_ONEDNN", None)
    assert products.products((400, 200), Ways(ONEDNN, BLAS, BY_THREAD)) == (
        products._OUTPUT[BLAS], products._INPUT_GRAD[BLAS], products._WEIGHT_GRAD[BY_THREAD])
    for seconds, way in (((1.0, 0.98), 0), ((1.0, 0.9, 0.8), 2), ((1.0, 0.81, 0.8), 1), ((1.0, 1.0), 0)):
        assert fastest(seconds) == way


def in_pairs(out_features: int, in_features: int) -> nn.Linear:
    """A layer that is its own mirror image."""
    layer = nn.Linear(in_features, out_features)
    with torch.no_grad():
        for parameter in layer.parameters():
            image = parameter.roll((out_features // 2, in_features // 2), (0, 1)) if parameter.dim() == 2 else \
                parameter.roll(out_features // 2)
            parameter.copy_(0.5 * (parameter + image))
    return layer


@pytest.mark.parametrize("ways", [Ways(), Ways(ONEDNN, ONEDNN, ONEDNN)], ids=["usual", "oneDNN"])
@pytest.mark.parametrize("first", [True, False], ids=["first of the network", "behind another"])
def test_layers_of_mirrored_pairs_give_torchs_numbers_and_the_mean_of_both_sides_gradients(
        ways: Ways, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "WORTH_MEASURING", 1.0)
    torch.manual_seed(0)
    pairs = in_pairs(32, 44)
    net = nn.Sequential(*([] if first else [nn.Linear(44, 44), nn.ELU()]), pairs, nn.ELU(), nn.Linear(32, 3))
    x, libraries = torch.randn(9, 44), libraries_of(net, Ways(), others=False)
    libraries.of_pairs = frozenset([pairs])
    libraries.load_state_dict({**libraries.state_dict(), "2x22x16": list(ways)})
    assert isinstance(libraries.layer(pairs, len(x)), Pairs)
    expected = outputs_and_gradients(net, x, None)
    weight = next(i for i, p in enumerate(net.parameters()) if p is pairs.weight) + 2
    expected[weight] = 0.5 * (expected[weight] + expected[weight].roll((16, 22), (0, 1)))
    for _ in range(2):  # the second time in the memory of the first
        torch.testing.assert_close(outputs_and_gradients(net, x, libraries), expected, rtol=1e-5, atol=1e-5)
    loss = run_layers((net,), x, libraries).sum()
    gradients = []
    for _ in range(2):  # twice, for the graph is kept
        net.zero_grad()
        loss.backward(retain_graph=True)
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("setting", ["dtype", "device"])
def test_torchs_defaults_do_not_matter(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float32 network on the CPU stays one where a program has other defaults."""
    monkeypatch.setattr(linear, "WORTH_MEASURING", 1.0)
    monkeypatch.setattr(activation, "WORTH_MEASURING", 1)
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(44, 44), nn.ELU(), in_pairs(32, 44)), torch.randn(9, 44)
    libraries = MatrixLibraries()
    libraries.of_pairs = frozenset([net[2]])  # type: ignore[list-item]
    expected = net(x)
    try:
        if setting == "dtype":
            torch.set_default_dtype(torch.float64)
        else:
            torch.set_default_device("meta")
        libraries.measure(net, len(x))
        libraries._chosen[2, 22, 16] = Ways()
        assert isinstance(libraries.layer(net[2], len(x)), Pairs)  # type: ignore[arg-type]
        out = run_layers((net,), x, libraries)
        out.sum().backward()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert (44, 44) in libraries.times and libraries.activations.by_other.keys() == {"ELU"}
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("seconds", "chosen"), [([2.0, 1.0], Pairs), ([1.02, 1.0], Plain)])
def test_pairs_are_computed_by_halves_where_that_is_faster(seconds: List[float], chosen: type,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Shape] = []
    times = [{BLAS: 2.0, ONEDNN: 1.0}, {BLAS: 1.0, ONEDNN: 2.0}, {BLAS: 1.0, ONEDNN: 1.0}]
    monkeypatch.setattr(linear, "product_times", lambda rows, shape: asked.append(shape) or times)  # type: ignore
    monkeypatch.setattr(linear, "_times", lambda *args: seconds)
    net, libraries = nn.Sequential(nn.Linear(400, 200), nn.ELU(), nn.Linear(200, 400), nn.Linear(400, 200)), \
        MatrixLibraries()
    pairs: Any = net[3]
    libraries.of_pairs = frozenset([pairs])
    libraries.measure(net, 1000)
    assert asked == [(400, 200), (200, 400), (2, 200, 100)]
    assert type(libraries.layer(pairs, 1000)) is chosen
    assert type(libraries.layer(net[0], 1000)) is Plain, "of the same shape, but of no pairs"  # type: ignore[arg-type]
    assert type(libraries.layer(pairs, 100)) is Plain, "too few rows"
    other = MatrixLibraries()
    other.of_pairs = libraries.of_pairs
    other.load_state_dict(libraries.state_dict())
    assert type(other.layer(pairs, 1000)) is chosen and other.of((2, 200, 100)) == libraries.of((2, 200, 100))


def test_times_are_of_this_machine() -> None:
    libraries, layer = MatrixLibraries(), nn.Linear(300, 200)
    random_state = torch.get_rng_state()
    libraries.measure(layer, 1000)
    libraries.of_pairs = frozenset([layer])
    libraries.measure(layer, 1000)
    assert (2, 150, 100) in libraries.times
    of = libraries.times[300, 200]
    assert next(iter(of[2])) == BLAS and TRANSPOSED in of[2]
    assert all(seconds > 0 for product in of for seconds in product.values())
    assert torch.equal(torch.get_rng_state(), random_state), "a run's random numbers do not depend on it"


def test_activations_are_torchs_for_any_number_and_timed_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-30, -1e-30, -90.0, 90.0, -0.5, 0.5]])
    for kind in activation._OWN:
        for other in (False, True):
            activations, given = activation.Activations(), x.clone()
            activations.by_other[kind.__name__] = other and kind in activation._CHEAPER
            activations.apply(kind(), given, torch.empty_like(x))
            torch.testing.assert_close(given, kind()(x), rtol=0.0, atol=1.2e-7, equal_nan=True)
    libraries = MatrixLibraries()
    for own_s, faster in ((2.0, True), (1.02, False)):
        monkeypatch.setattr(activation, "least_seconds", lambda *ways, own_s=own_s: [own_s, 1.0])
        libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.ReLU()), 1000)
        assert libraries.activations.by_other == {"Tanh": faster}
        other_libraries = MatrixLibraries()
        other_libraries.load_state_dict(libraries.state_dict())
        assert other_libraries.activations.by_other == {"Tanh": faster}
    monkeypatch.undo()
    libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.ELU()), 999)
    assert libraries.activations.by_other == {"Tanh": False}, "few rows are not worth it"
    libraries.measure(nn.Sequential(nn.Linear(3, 2), nn.ELU()), 1000)
    assert libraries.activations.by_other.keys() == {"Tanh", "ELU"}
