"""``policy.pth``: the policy with its normaliser, in tensors and builtins only. Needs neither SB3 nor a simulator.

Unlike a zip or a pickle it executes nothing when it is loaded: it is the file to share.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, Union

import torch

from sb3_isaac.contract.errors import NotFinite, UserError
from sb3_isaac.contract.files import current_folder, write_bytes
from sb3_isaac.contract.records import (
    Check,
    anything,
    choice,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    refused,
    text,
    truth,
    whole,
)
from sb3_isaac.policy.layers import ACTIVATIONS, LAYER_NAMES, Layout
from sb3_isaac.policy.module import PolicyModule, is_finite, policy_of
from sb3_isaac.policy.torch_files import read_torch, torch_bytes

FORMAT_VERSIONS = (1, 2, 3)
MOST_PIXELS = 2**24
TRAINED = Path(__file__).with_name("trained")
"""Holds a trained policy of each of our tasks, by the task's id."""


def save_policy(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``policy_content(...)`` as a file that is whole or not there."""
    write_bytes(Path(path), torch_bytes(dict(content)))


def load_policy(path: Union[str, Path]) -> PolicyModule:
    """The policy of a run folder, a checkpoint folder or a ``policy.pth``, or a trained one of sb3_isaac's own, by its
    task's id, such as ``IsaacQuadrupedVelocity-v0``; on the CPU.

    :raises UserError: when there is none, when the file is not one of ours or of a newer format, or holds NaN.
    """
    file = find_policy(path)
    content = read_torch(file, "a policy file of sb3_isaac")
    try:
        content = record("policy file", content, _FIELDS, needed=_NEEDED)
        if content["format_version"] not in FORMAT_VERSIONS:
            raise UserError(f"it has policy format {content['format_version']} and this version reads up to "
                            f"{FORMAT_VERSIONS[-1]}: upgrade sb3_isaac.")
        policy = _checked_module(content)
    except UserError as error:
        raise UserError(f"{file} is not a policy file of sb3_isaac that can be used here: {error}") from error
    if not is_finite(policy) or not bool((policy.obs_mean + policy.obs_scale).isfinite().all()):
        raise NotFinite(f"{file} holds a network of NaN or infinite numbers: its training has diverged, so give an "
                        "earlier checkpoint, or train anew with a smaller learning_rate.")
    return policy


def _checked_module(content: Mapping[str, Any]) -> PolicyModule:
    """The module, once its network was seen to make actions of observations of their widths."""
    try:
        policy = policy_of(content)
        action = policy(policy.blank())
    except Exception as error:  # torch raises many kinds of errors for a network that does not fit
        raise UserError(f"its network cannot be computed ({' '.join(str(error).split())[:120]}): give a file that "
                        "sb3_isaac wrote.") from error
    if action.shape != (1, *policy.low.shape) or policy.low.shape != policy.high.shape:
        raise UserError(f"its network gives actions of shape {tuple(action.shape[1:])} and their bounds have shape "
                        f"{tuple(policy.low.shape)}: give a file that sb3_isaac wrote.")
    return policy


def _tensor(dims: int) -> Check:
    """A tensor of floats with `dims` dimensions."""
    def check(name: str, value: Any) -> torch.Tensor:
        if not isinstance(value, torch.Tensor) or value.dim() != dims or value.dtype is not torch.float32:
            raise refused(name, value, f"a float32 tensor of {dims} dimensions")
        return value
    return check


def _weights(name: str, value: Any) -> Dict[str, torch.Tensor]:
    """A state_dict: names to float tensors."""
    weights: Dict[str, torch.Tensor] = mapping_of(lambda _, item: item)(name, value)
    for key, item in weights.items():
        if not isinstance(item, torch.Tensor) or not item.is_floating_point() or item.dim() not in (1, 2, 4):
            raise refused(f"{name} at {key!r}", item, "a tensor of floats with 1, 2 or 4 dimensions")
    return weights


def _layers(name: str, value: Any) -> Layout:
    """(class name, arguments) of each layer; widths are bounded by those of the weights, which the file holds."""
    layout: Layout = []
    for item in list_of(list_of(anything, 2))(name, value):
        arguments = mapping_of(anything)(name, item[1])
        layout.append((choice(*LAYER_NAMES)(name, item[0]), arguments))
    return layout


def _shape(name: str, value: Any) -> List[int]:
    """(C, H, W) of a picture."""
    shape: List[int] = list_of(whole(1, 65_536), 3)(name, value)
    if math.prod(shape) > MOST_PIXELS:
        raise refused(name, value, f"a picture of at most {MOST_PIXELS:,} numbers")
    return shape


def _image(name: str, value: Any) -> Dict[str, Any]:
    """How a picture is encoded."""
    fields: Dict[str, Check] = {"shape": _shape, "layers": _layers, "state_dict": _weights}
    return record(name, value, fields, needed=tuple(fields))


_BOUND = number(-math.inf, math.inf)
_FIELDS: Dict[str, Check] = {
    "format_version": whole(0, 10_000), "state_dict": _weights, "activation": choice(*ACTIVATIONS), "layers": _layers,
    "groups": list_of(text(64)), "images": mapping_of(_image), "squashed": truth,
    "action_low": list_of(_BOUND), "action_high": list_of(_BOUND), "obs_mean": _tensor(1),
    "obs_var": _tensor(1), "epsilon": number(0.0), "clip_obs": number(0.0, math.inf),
    "env": optional(text(256)), "env_kwargs": mapping_of(anything), "obs_table": optional(mapping_of(whole())),
    "steps": whole(), "control_dt": number(0.0),
}
"""What a policy file holds; other keys are handed on as ``info``."""
_NEEDED = ("format_version", "state_dict", "action_low", "action_high", "obs_mean", "obs_var", "epsilon", "clip_obs")


class NoPolicyFile(UserError):
    """A run has a model that no ``policy.pth`` can hold."""


def find_policy(path: Union[str, Path]) -> Path:
    """The ``policy.pth`` of a checkpoint folder, the newest one of a run folder, the file itself, or a task's in
    ``TRAINED``.

    In a run folder the newest is that with the most ``num_timesteps`` in the meta.json beside it, of the folder's own,
    ``latest/`` and ``checkpoints/*/``; of equal ones the first in this order.
    """
    path = Path(path)
    if path.is_file():
        return path
    trained = TRAINED / f"{path.name}.pth"
    if not path.exists() and len(path.parts) == 1 and trained.is_file():
        return trained
    if not path.is_dir():
        raise UserError(f"there is no run folder or policy file {str(path)!r}: give one that 'sb3-isaac train' wrote.")
    folders = [path, current_folder(path / "latest"), *sorted((path / "checkpoints").glob("[0-9]*"))]
    found = [folder for folder in folders if (folder / "policy.pth").is_file()]
    if found:
        return max(found, key=_steps_in_meta) / "policy.pth"
    models = [folder for folder in folders if (folder / "model.zip").is_file()]
    if models and not (models[0] / "config.yml").is_file():
        raise UserError(f"{str(path)!r} holds model.zip and no policy.pth or config.yml, so it is of a program's own "
                        "training: load model.zip and vecnormalize.pkl as that program does.")
    if models:
        raise NoPolicyFile(f"{str(path)!r} holds no policy.pth, for its policy cannot be written as one: give it to "
                           "sb3-isaac eval or play, which take it as it is, or to load_run in Python.")
    runs = sorted(run.name for run in path.iterdir()
                  if any((run / name).is_file() for name in ("policy.pth", "model.zip")))
    if runs:
        raise UserError(f"{str(path)!r} is not a run folder but holds some: give one of {', '.join(runs)} in it.")
    raise UserError(f"{str(path)!r} holds no policy.pth: give a folder that 'sb3-isaac train' wrote, "
                    "or wait for its first checkpoint.")


def _steps_in_meta(folder: Path) -> int:
    """``num_timesteps`` of the folder's meta.json, -1 where there is none that can be read."""
    try:
        return int(json.loads((folder / "meta.json").read_text(encoding="utf-8"))["num_timesteps"])
    except Exception:  # a file of anybody's: what cannot be read has no steps
        return -1
