"""The layers that ``policy.pth`` can hold: as plain data, as modules, and read from a policy network.

Needs torch alone.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple, Type

import torch.fx
from torch import nn

from sb3_isaac.contract.errors import UserError

Layout = List[Tuple[str, Dict[str, Any]]]
"""A network as (class name in ``torch.nn``, constructor arguments), from input to output."""

ACTIVATIONS = {f"nn.{cls.__name__}": cls
               for cls in (nn.ELU, nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.SiLU, nn.GELU)}
_ARGUMENTS: Dict[Type[nn.Module], Tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"), nn.LayerNorm: ("normalized_shape", "eps"),
    nn.ELU: ("alpha",), nn.ReLU: (), nn.Tanh: (), nn.LeakyReLU: ("negative_slope",), nn.SiLU: (),
    nn.GELU: ("approximate",), nn.Sigmoid: (), nn.Softplus: ("beta", "threshold"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding"), nn.Flatten: (),
}
_BY_NAME = {cls.__name__: cls for cls in _ARGUMENTS}
LAYER_NAMES = tuple(_BY_NAME)
"""Classes of ``torch.nn`` that a policy file may name."""
_NO_OPERATION = (nn.Dropout, nn.Identity, nn.Flatten)  # at evaluation, on observations (N, k)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_ON_ALL = [getattr(nn.modules.module, f"_global{name}", {}) for name in _HOOKS]


def has_hooks(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class says: a hook, or a forward method of this object alone."""
    own = vars(module)
    return "forward" in own or any(map(own.get, _HOOKS)) or any(_HOOKS_ON_ALL)


def chain_of(network: nn.Module) -> List[nn.Module]:
    """The layers that `network` applies one after another to its one input, without those that change nothing.

    Found by following its ``forward`` (``torch.fx``), so a user's own module is read as well as a Sequential.

    :raises UserError: where it computes anything else: branches, sums, functions, hooks, other kinds of layers.
    """
    hooked = [type(module).__name__ for module in network.modules() if has_hooks(module)]
    if hooked:
        raise UserError(f"policy.pth holds plain layers and {hooked[0]} has a hook: remove the hook, or use model.zip.")
    try:
        nodes = list(torch.fx.Tracer().trace(network).nodes)
    except Exception as error:  # the user's own code, run on stand-ins for tensors, may raise anything
        raise UserError("policy.pth holds layers that follow each other and this network decides by values or shapes "
                        f"({' '.join(str(error).split())[:80]}): use model.zip for it.") from error
    layers: List[nn.Module] = []
    for before, node in zip(nodes, nodes[1:]):
        if node.op == "call_module" and node.args == (before,) and not node.kwargs:
            layers.append(network.get_submodule(str(node.target)))
        elif node.op != "output" or node.args != (before,):
            raise UserError("policy.pth holds layers that follow each other and this network computes "
                            f"{node.name!r} besides: use model.zip for it.")
    return [layer for layer in layers if type(layer) not in _NO_OPERATION]


def without_batch_norm(layers: Sequence[nn.Module]) -> List[nn.Module]:
    """`layers` with sb3_contrib's batch renormalisation, as it is at evaluation, put into the linear layer behind it.

    W (s x + t) + b = (W s) x + (W t + b) with s = scale / √(var + ε) and t = bias − s · mean.
    """
    plain: List[nn.Module] = []
    pending: Any = None
    for layer in layers:
        if type(layer).__name__ == "BatchRenorm1d" and not has_hooks(layer):
            pending = layer
        elif pending is not None and type(layer) is nn.Linear:
            norm, pending = pending, None
            with torch.no_grad():
                scale = norm.scale * (norm.ra_var + norm.eps).rsqrt()
                joined = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features)
                joined.weight.copy_(layer.weight * scale)
                joined.bias.copy_(layer.bias + layer.weight @ (norm.bias - scale * norm.ra_mean))
            plain.append(joined)
        else:
            plain.append(layer)
    return plain


def layout_of(layers: Sequence[nn.Module]) -> Layout:
    """The layers as plain data, without their weights.

    :raises UserError: for a layer of another kind.
    """
    layout: Layout = []
    for layer in layers:
        if type(layer) not in _ARGUMENTS:
            raise UserError(f"policy.pth cannot hold a {type(layer).__name__} layer: use one of "
                            f"{', '.join(_BY_NAME)} and Dropout, or model.zip for this policy.")
        arguments = {name: getattr(layer, name) for name in _ARGUMENTS[type(layer)]}
        if isinstance(layer, nn.Conv2d):
            if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
                raise UserError("policy.pth holds convolutions without groups, dilation and padding by other numbers "
                                "than 0: leave these out, or use model.zip for this policy.")
            arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
        if isinstance(layer, nn.LayerNorm):
            arguments["normalized_shape"] = list(layer.normalized_shape)
            arguments["elementwise_affine"] = layer.weight is not None
        learns_bias = isinstance(layer, (nn.Linear, nn.LayerNorm, nn.Conv2d))
        if learns_bias and layer.bias is None and layer.weight is not None:
            arguments["bias"] = False
        layout.append((type(layer).__name__, arguments))
    return layout


def network_of(layout: Layout, state_dict: Mapping[str, torch.Tensor]) -> nn.Sequential:
    """The network of a layout with its weights, which need no gradient."""
    layers: List[nn.Module] = []
    for i, (name, arguments) in enumerate(layout):
        cls = _BY_NAME[name]
        shape = tuple(getattr(state_dict.get(f"{i}.weight"), "shape", ()))
        if cls is nn.Linear and shape != (arguments.get("out_features"), arguments.get("in_features")):
            raise UserError(f"layer {i} is Linear with {arguments} and its weight has shape {shape}: give weights that "
                            "fit.")  # said before memory is taken for a layer of any size
        if cls is nn.Conv2d:
            _check_convolution(i, arguments, shape)
        # Without numbers, so that an evaluation in mid-training draws none from the global random stream.
        layers.append(cls(**arguments, **({"device": "meta"} if cls in (nn.Linear, nn.Conv2d) else {})))
    network = nn.Sequential(*layers)
    # nn.utils.skip_init does the same, and imports sympy for it: 0.3 s.
    network.load_state_dict({name: value.detach().float().clone() for name, value in state_dict.items()}, assign=True)
    return network.requires_grad_(False).eval()


def _check_convolution(i: int, arguments: Mapping[str, Any], shape: Tuple[int, ...]) -> None:
    """Raise a UserError where a convolution is not that of its weight, or would make its picture larger."""
    sizes = [arguments.get(name) for name in ("kernel_size", "stride", "padding")]
    fits = all(isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size) for size in sizes)
    if not fits or shape != (arguments.get("out_channels"), arguments.get("in_channels"), *(sizes[0] or ())) or any(
            step < 1 or not 0 <= 2 * edge <= side for side, step, edge in zip(*sizes)):
        raise UserError(f"layer {i} is Conv2d with {arguments} and its weight has shape {shape}: give weights that "
                        "fit.")


def mlp_layout(state_dict: Mapping[str, torch.Tensor], activation: str) -> Layout:
    """The layout of format version 1: linear layers ``0, 2, 4, ...`` with one kind of activation between them."""
    layout: Layout = []
    for name in (name for name in state_dict if name.endswith(".weight")):
        rows, columns = state_dict[name].shape
        if layout:
            layout += layout_of([ACTIVATIONS[activation]()])
        layout.append(("Linear", {"in_features": columns, "out_features": rows}))
    return layout


def mlp_activation(layout: Layout) -> str:
    """The activation with which :func:`mlp_layout` gives `layout`; empty where version 1 cannot hold it."""
    kinds = [name for name, _ in layout]
    activation = f"nn.{kinds[1]}" if len(kinds) > 1 else "nn.Tanh"
    if len(kinds) % 2 == 0 or activation not in ACTIVATIONS:
        return ""
    between = layout_of([ACTIVATIONS[activation]()])[0]
    linear = all(name == "Linear" and "bias" not in arguments for name, arguments in layout[::2])
    return activation if linear and all(layer == between for layer in layout[1::2]) else ""
