"""``policy.pth``: the policy with its normaliser, in tensors and builtins only. Needs neither SB3 nor a simulator.

Unlike a zip or a pickle it executes nothing when it is loaded: it is the file to share.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any, Mapping, Union

import torch

from sb3_isaac.contract.errors import NotFinite, UserError
from sb3_isaac.contract.files import current_folder, write_bytes
from sb3_isaac.rl.policy.finite import is_finite
from sb3_isaac.rl.policy.module import PolicyModule

FORMAT_VERSIONS = (1, 2)


def torch_bytes(content: Any) -> bytes:
    """What ``torch.save`` writes; on a full disk its own writer raises no OSError, and ours does."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save_policy(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``policy_content(...)`` as a file that is whole or not there."""
    write_bytes(Path(path), torch_bytes(dict(content)))


def load_policy(path: Union[str, Path]) -> PolicyModule:
    """The policy of a run folder, a checkpoint folder or a ``policy.pth``, on the CPU.

    :raises UserError: when there is none, when the file is not one of ours or of a newer format, or holds NaN.
    """
    file = find_policy(path)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        version = content["format_version"]
        if version in FORMAT_VERSIONS:
            policy = PolicyModule(content)
            if is_finite(policy):
                return policy
    except (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, pickle.UnpicklingError,
            zipfile.BadZipFile) as error:
        raise UserError(f"{file} is not a policy file of sb3_isaac: give a run folder or its policy.pth.") from error
    if version in FORMAT_VERSIONS:
        raise NotFinite(f"{file} holds a network of NaN or infinite numbers: its training has diverged, so give an "
                        "earlier checkpoint, or train anew with a smaller learning_rate.")
    raise UserError(f"{file} has policy format {version} and this version reads up to {FORMAT_VERSIONS[-1]}: "
                    "upgrade sb3_isaac.")


def find_policy(path: Union[str, Path]) -> Path:
    """The ``policy.pth`` of a checkpoint folder, the newest one of a run folder, or the file itself.

    In a run folder the newest is that with the most ``num_timesteps`` in the meta.json beside it, of the folder's own,
    ``latest/`` and ``checkpoints/*/``; of equal ones the first in this order.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"there is no run folder or policy file {str(path)!r}: give one that 'sb3-isaac train' wrote.")
    folders = [path, current_folder(path / "latest"), *sorted((path / "checkpoints").glob("[0-9]*"))]
    found = [folder for folder in folders if (folder / "policy.pth").is_file()]
    if found:
        return max(found, key=_steps_in_meta) / "policy.pth"
    runs = sorted(run.name for run in path.iterdir() if (run / "policy.pth").is_file())
    if runs:
        raise UserError(f"{str(path)!r} is not a run folder but holds some: give one of {', '.join(runs)} in it.")
    raise UserError(f"{str(path)!r} holds no policy.pth: give a folder that 'sb3-isaac train' wrote, "
                    "or wait for its first checkpoint.")


def _steps_in_meta(folder: Path) -> int:
    """``num_timesteps`` of the folder's meta.json, -1 where there is none that can be read."""
    try:
        return int(json.loads((folder / "meta.json").read_text(encoding="utf-8"))["num_timesteps"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
