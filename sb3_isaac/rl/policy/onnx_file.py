"""A policy as an ONNX file: normaliser, network, bounds and joint targets, for a computer without PyTorch.

The graph is written by the ``onnx`` package, operator by operator: a policy is a chain of a few kinds of layers, so
that neither a tracer nor a version of torch comes between it and the file.
"""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Type

import numpy as np
import torch
from torch import nn

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_bytes
from sb3_isaac.policy.module import PolicyModule

OPSET, IR_VERSION = 17, 8
"""Of the file: ONNX Runtime reads them since 1.12."""
CHECKED, TOLERANCE = 10_000, 1e-5
"""Observations that a file is compared with its policy on, and the largest difference of an action: of an action above
1, its share."""
_OF_TARGETS = {"default_joint_pos", "action_scale", "joint_range"}
"""What joint targets are made of; actions of a task that does not tell all of it, such as torques, are none."""


class _Graph:
    """An ONNX graph that grows by an operator at a time; values are known by their names."""

    def __init__(self) -> None:
        self.onnx: Any = _package("onnx")
        self.nodes: List[Any] = []
        self.constants: List[Any] = []

    def constant(self, value: Any, name: str = "") -> str:
        """A float32 constant."""
        name = name or f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """An operator on values; the name of its result."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def limited(self, x: str, low: Any, high: Any, output: str = "") -> str:
        """`x` within bounds, numbers or a vector of them."""
        return self.add("Max", self.add("Min", x, self.constant(high)), self.constant(low), output=output)


def _linear(g: _Graph, x: str, layer: Any) -> str:
    bias = [] if layer.bias is None else [g.constant(layer.bias)]
    return g.add("Gemm", x, g.constant(layer.weight), *bias, transB=1)


def _layer_norm(g: _Graph, x: str, layer: Any) -> str:
    width = layer.normalized_shape
    weight = torch.ones(width) if layer.weight is None else layer.weight
    bias = [] if layer.bias is None else [g.constant(layer.bias)]
    return g.add("LayerNormalization", x, g.constant(weight), *bias, axis=-1, epsilon=layer.eps)


def _gelu(g: _Graph, x: str, layer: Any) -> str:
    """x Φ(x), or its approximation by a tanh (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    if layer.approximate == "tanh":
        cubed = g.add("Mul", g.add("Mul", x, g.add("Mul", x, x)), g.constant(0.044715))
        bell = g.add("Tanh", g.add("Mul", g.add("Add", x, cubed), g.constant(math.sqrt(2.0 / math.pi))))
    else:
        bell = g.add("Erf", g.add("Mul", x, g.constant(math.sqrt(0.5))))
    return g.add("Mul", g.add("Mul", x, g.constant(0.5)), g.add("Add", bell, g.constant(1.0)))


def _softplus(g: _Graph, x: str, layer: Any) -> str:
    scaled = g.add("Softplus", g.add("Mul", x, g.constant(layer.beta)))
    return g.add("Div", scaled, g.constant(layer.beta))


_LAYERS: Dict[Type[nn.Module], Callable[[_Graph, str, Any], str]] = {
    nn.Linear: _linear, nn.LayerNorm: _layer_norm, nn.GELU: _gelu, nn.Softplus: _softplus,
    nn.ELU: lambda g, x, layer: g.add("Elu", x, alpha=layer.alpha),
    nn.LeakyReLU: lambda g, x, layer: g.add("LeakyRelu", x, alpha=layer.negative_slope),
    nn.ReLU: lambda g, x, layer: g.add("Relu", x),
    nn.Tanh: lambda g, x, layer: g.add("Tanh", x),
    nn.Sigmoid: lambda g, x, layer: g.add("Sigmoid", x),
    nn.SiLU: lambda g, x, layer: g.add("Mul", x, g.add("Sigmoid", x)),
}
"""How each kind of layer that a policy may have is written."""


def write_onnx(policy: PolicyModule, facts: Mapping[str, Any], path: Path) -> float:
    """Write `policy` as an ONNX file, once it was seen to give the same actions; returns their largest difference.

    ================ ======== =================================================================
    value            shape    what
    ================ ======== =================================================================
    ``obs``          (N, k)   in: the observation as the task gives it, not normalised
    ``action``       (N, J)   out: within the bounds; the next observation may hold it
    ``joint_target`` (N, J)   out: rad, within the joints' ranges, if known
    ================ ======== =================================================================

    :param facts: what the file's metadata say, see :func:`~sb3_isaac.rl.policy.deploy.deploy_facts`: each value as
        JSON below its name.
    :raises UserError: where the packages ``onnx`` and ``onnxruntime`` are not installed, or the file differs.
    """
    content = _model(policy, facts).SerializeToString()
    error = _largest_difference(policy, content)
    if not error <= TOLERANCE:
        raise UserError(f"the ONNX file gives actions that differ by up to {error:.1e} from policy.pth, more than "
                        f"{TOLERANCE:g}: nothing was written; report this with the run's config.yml.")
    write_bytes(path, content)
    return error


def _model(policy: PolicyModule, facts: Mapping[str, Any]) -> Any:
    g = _Graph()
    helper, number = g.onnx.helper, g.onnx.TensorProto.FLOAT
    x = g.add("Mul", g.add("Sub", "obs", g.constant(policy.obs_mean, "obs_mean")),
              g.constant(policy.obs_scale, "obs_scale"))
    if math.isfinite(policy.clip_obs):
        x = g.limited(x, -policy.clip_obs, policy.clip_obs)
    for layer in policy.net:
        x = _LAYERS[type(layer)](g, x, layer)
    if policy.squashed:
        half = g.constant(0.5 * (policy.high - policy.low))
        action = g.add("Add", g.add("Mul", g.add("Add", x, g.constant(1.0)), half), g.constant(policy.low),
                       output="action")
    else:
        action = g.limited(x, policy.low, policy.high, output="action")
    outputs = [action]
    if facts.keys() >= _OF_TARGETS:
        turned = g.add("Mul", action, g.constant(facts["action_scale"]))
        target = g.add("Add", turned, g.constant(facts["default_joint_pos"], "default_joint_pos"))
        low, high = ([sign * math.inf if end is None else end for end in ends]
                     for sign, ends in zip((-1.0, 1.0), zip(*facts["joint_range"])))
        outputs.append(g.limited(target, low, high, output="joint_target"))
    joints = int(policy.low.numel())
    graph = helper.make_graph(
        g.nodes, "policy", [helper.make_tensor_value_info("obs", number, ["N", policy.obs_width])],
        [helper.make_tensor_value_info(name, number, ["N", joints]) for name in outputs], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                              producer_name="sb3_isaac")
    helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    g.onnx.checker.check_model(model, full_check=True)
    return model


def _largest_difference(policy: PolicyModule, content: bytes) -> float:
    """Between the actions of the file and of the policy, on observations within and beyond what it was trained on."""
    session = _package("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    noise = torch.randn(CHECKED, policy.obs_width, generator=torch.Generator().manual_seed(0))
    spread = torch.linspace(0.1, 20.0, CHECKED).unsqueeze(1)
    obs = policy.obs_mean + noise * spread / policy.obs_scale
    with torch.no_grad():
        wanted = policy(obs).numpy()
    got: Sequence[Any] = session.run(["action"], {"obs": obs.numpy()})
    return float((np.abs(got[0] - wanted) / np.maximum(1.0, np.abs(wanted))).max())


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"an ONNX file is written and checked with onnx and onnxruntime, and {error.name} is not "
                        "installed: pip install 'sb3_isaac[onnx]', or onnx and onnxruntime.") from error
