"""``policy.pth``: the policy with its normaliser, in tensors and builtins only. Needs neither SB3 nor a simulator.

Unlike a zip or a pickle it executes nothing when it is loaded: it is the file to share.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Union

import torch
from torch import nn

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.files import current_folder, write_bytes

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

FORMAT_VERSION = 1
ACTIVATIONS = {f"nn.{cls.__name__}": cls
               for cls in (nn.ELU, nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.SiLU, nn.GELU)}


class ExportedPolicy:
    """Observation (N, k) of the ``policy`` group -> action (N, J) within the action space's bounds, deterministic.

    ``info`` holds what the file says besides the network: ``obs_table`` (name -> width, in order), ``action_scale``
    rad, ``default_joint_pos`` rad, ``kp``, ``kd``, ``joint_names``, ``control_dt`` s, ``steps`` (transitions of its
    training); ``env`` and ``env_kwargs`` where a configuration made the run.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.info: Dict[str, Any] = {k: v for k, v in content.items() if k != "state_dict"}
        self._net = _mlp(content["state_dict"], content["activation"])
        self._mean = content["obs_mean"]
        self._scale = (content["obs_var"] + content["epsilon"]).rsqrt()
        self._clip = float(content["clip_obs"])
        self._low, self._high = torch.tensor(content["action_low"]), torch.tensor(content["action_high"])
        self.obs_width = int(self._mean.numel())

    @torch.no_grad()
    def __call__(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions, on the device of the observations, which are as the task gives them, not normalised."""
        if obs.shape[-1] != self.obs_width:
            raise UserError(f"the policy takes observations of width {self.obs_width} and was given "
                            f"{obs.shape[-1]}: use the environment it was trained on, {self.info.get('env')}.")
        normal = ((obs.to(self._mean.device) - self._mean) * self._scale).clamp(-self._clip, self._clip)
        action: torch.Tensor = self._net(normal).clamp(self._low, self._high)
        return action.to(obs.device)


def _mlp(state_dict: Mapping[str, torch.Tensor], activation: str) -> nn.Sequential:
    """Linear layers ``0, 2, 4, ...`` with activations between them."""
    layers: List[nn.Module] = []
    weights = [name for name in state_dict if name.endswith(".weight")]
    for i, name in enumerate(weights):
        rows, columns = state_dict[name].shape
        # Not initialised, so that an evaluation in mid-training draws nothing from the global random stream.
        layers.append(nn.utils.skip_init(nn.Linear, columns, rows))
        layers += [ACTIVATIONS[activation]()] if i < len(weights) - 1 else []
    net = nn.Sequential(*layers)
    net.load_state_dict(dict(state_dict))
    return net.eval()


def policy_content(model: "OnPolicyAlgorithm", normalizer: Optional["VecNormalize"],
                   metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """What ``policy.pth`` holds of an SB3 actor-critic with an MLP on flat observations.

    :raises UserError: for other policies (recurrent, convolutional, squashed, discrete).
    """
    policy: Any = model.policy
    actor = getattr(getattr(policy, "mlp_extractor", None), "policy_net", None)
    action_net = getattr(policy, "action_net", None)
    features = getattr(policy, "pi_features_extractor", None)
    flat = type(features).__name__ == "FlattenExtractor" or getattr(features, "groups", None) == ("policy",)
    if not isinstance(actor, nn.Sequential) or not isinstance(action_net, nn.Linear) or not flat \
            or getattr(policy, "squash_output", False):
        raise UserError(f"policy.pth holds an MlpPolicy with Gaussian actions, not {type(policy).__name__}: "
                        "use model.zip for this one.")
    activation = f"nn.{type(actor[1]).__name__}" if len(actor) > 1 else "nn.Tanh"
    if activation not in ACTIVATIONS:
        raise unknown("activation in a policy.pth", activation, ACTIVATIONS)
    linear = [layer for layer in actor if isinstance(layer, nn.Linear)] + [action_net]
    state_dict = {f"{2 * i}.{name}": value.detach().cpu().clone()
                  for i, layer in enumerate(linear) for name, value in layer.state_dict().items()}
    width = linear[0].in_features
    rms: Any = normalizer.obs_rms if normalizer is not None and normalizer.norm_obs else None
    rms = rms["policy"] if isinstance(rms, dict) else rms
    mean, var = (torch.zeros(width), torch.ones(width)) if rms is None else (
        torch.as_tensor(rms.mean, dtype=torch.float32), torch.as_tensor(rms.var, dtype=torch.float32))
    return {
        "format_version": FORMAT_VERSION, "state_dict": state_dict,
        "activation": activation,
        "action_low": model.action_space.low.tolist(),  # type: ignore[attr-defined]
        "action_high": model.action_space.high.tolist(),  # type: ignore[attr-defined]
        "obs_mean": mean, "obs_var": var,
        "epsilon": float(normalizer.epsilon) if rms is not None and normalizer is not None else 0.0,
        "clip_obs": float(normalizer.clip_obs) if rms is not None and normalizer is not None else float("inf"),
        **metadata,
    }


def torch_bytes(content: Any) -> bytes:
    """What ``torch.save`` writes; on a full disk its own writer raises no OSError, and ours does."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save_policy(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``policy_content(...)`` as a file that is whole or not there."""
    write_bytes(Path(path), torch_bytes(dict(content)))


def load_policy(path: Union[str, Path]) -> ExportedPolicy:
    """The policy of a run folder, a checkpoint folder or a ``policy.pth``.

    :raises UserError: when there is none, or when the file is not one of ours or of a newer format.
    """
    file = find_policy(path)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        version = content["format_version"]
        if version == FORMAT_VERSION:
            return ExportedPolicy(content)
    except (RuntimeError, EOFError, KeyError, IndexError, TypeError, AttributeError, pickle.UnpicklingError,
            zipfile.BadZipFile) as error:
        raise UserError(f"{file} is not a policy file of sb3_isaac: give a run folder or its policy.pth.") from error
    raise UserError(f"{file} has policy format {version} and this version reads {FORMAT_VERSION}: upgrade sb3_isaac.")


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
