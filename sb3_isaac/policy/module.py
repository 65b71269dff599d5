"""A trained policy as one ``nn.Module``: normaliser, network and action bounds. Needs torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping

import torch
from torch import nn

from sb3_isaac.contract.errors import UserError
from sb3_isaac.policy.layers import mlp_layout, network_of


class PolicyModule(nn.Module):
    """Observation (N, k) of the ``policy`` group -> action (N, J) within the action space's bounds, deterministic.

    Observations are as the task gives them, not normalised: the normaliser is inside. They have to be on the module's
    device, so an evaluation on a GPU simulator is ``policy.to(env.device)`` once, and nothing is copied at a step.
    ``torch.jit.script(policy)`` compiles it.

    ============== ======= ===============================================================
    buffer         shape   what
    ============== ======= ===============================================================
    ``obs_mean``   (k,)    subtracted from the observation
    ``obs_scale``  (k,)    1 / √(variance + ε), multiplied with the difference
    ``low, high``  (J,)    bounds of the action
    ============== ======= ===============================================================

    ``info`` holds what the file says besides the network: ``obs_table`` (name -> width, in order), ``action_scale``
    rad, ``default_joint_pos`` rad, ``kp``, ``kd``, ``joint_names``, ``control_dt`` s, ``env`` and ``env_kwargs``.

    :param content: what :func:`~sb3_isaac.rl.policy.export.policy_content` gives and ``policy.pth`` holds.
    """

    if TYPE_CHECKING:  # TorchScript reads a class's annotations, and not as strings
        obs_mean: torch.Tensor
        obs_scale: torch.Tensor
        low: torch.Tensor
        high: torch.Tensor

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__()
        self.info: Dict[str, Any] = {key: value for key, value in content.items() if key != "state_dict"}
        weights = content["state_dict"]
        layout = content["layers"] if "layers" in content else mlp_layout(weights, content["activation"])
        self.net = network_of(layout, weights)
        self.clip_obs = float(content["clip_obs"])
        self.squashed = bool(content.get("squashed", False))
        self.obs_width = int(content["obs_mean"].numel())
        self.register_buffer("obs_mean", content["obs_mean"].clone())
        self.register_buffer("obs_scale", (content["obs_var"] + content["epsilon"]).rsqrt())
        self.register_buffer("low", torch.tensor(content["action_low"]))
        self.register_buffer("high", torch.tensor(content["action_high"]))
        self.eval()

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions (N, J) for observations (N, k)."""
        if not torch.jit.is_scripting():
            self._check(obs)
        return self._bounded(self.net(self._normal(obs)))

    def _normal(self, obs: torch.Tensor) -> torch.Tensor:
        return ((obs - self.obs_mean) * self.obs_scale).clamp(-self.clip_obs, self.clip_obs)

    def _bounded(self, action: torch.Tensor) -> torch.Tensor:
        if self.squashed:  # the network ends in a tanh
            return self.low + 0.5 * (action + 1.0) * (self.high - self.low)
        return torch.max(torch.min(action, self.high), self.low)

    @torch.jit.unused
    def _check(self, obs: torch.Tensor) -> None:
        if obs.shape[-1] != self.obs_width:
            raise UserError(f"the policy takes observations of width {self.obs_width} and was given "
                            f"{obs.shape[-1]}: use the environment it was trained on, {self.info.get('env')}.")
        if obs.device != self.obs_mean.device:
            raise UserError(f"the policy is on {self.obs_mean.device} and the observations are on {obs.device}: "
                            "call policy.to(env.device) once.")

    @torch.jit.unused
    def blank(self) -> Any:
        """An observation of zeros, as ``forward`` takes it."""
        return torch.zeros(1, self.obs_width, device=self.obs_mean.device)


class ImagePolicy(PolicyModule):
    """The same for a policy that sees pictures besides: observations {group: (N, ...)} -> action (N, J).

    Each group of pictures (N, C, H, W) uint8 goes, divided by 255, through an encoder of its own; ``net`` sees their
    features and the normalised group ``policy`` beside each other, in the order of ``groups``.

    :param content: that of :class:`PolicyModule`, with ``groups``, and ``images``: group -> its ``shape``, ``layers``
        and ``state_dict``.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        images: Mapping[str, Any] = content["images"]
        self.groups: List[str] = list(content["groups"])
        if sorted(self.groups) != sorted(["policy", *images]):
            raise UserError(f"its groups are {', '.join(self.groups)}, and it has encoders for {', '.join(images)}: "
                            "give a file that sb3_isaac wrote.")
        self.shapes = {group: tuple(image["shape"]) for group, image in images.items()}
        self.encoders = nn.ModuleDict({group: network_of(image["layers"], image["state_dict"])
                                       for group, image in images.items()})

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        """Actions (N, J) for observations {group: (N, ...)}."""
        if set(self.groups) - set(obs):
            raise UserError(f"the policy sees {', '.join(self.groups)} and was given {', '.join(obs)}: use the "
                            f"environment it was trained on, {self.info.get('env')}.")
        self._check(obs["policy"])
        features = [self.encoders[group](obs[group].float() / 255.0) if group in self.encoders
                    else self._normal(obs[group]) for group in self.groups]
        return self._bounded(self.net(torch.cat(features, dim=1)))

    def blank(self) -> Any:
        """See :meth:`PolicyModule.blank`."""
        images = {group: torch.zeros(1, *shape, dtype=torch.uint8, device=self.obs_mean.device)
                  for group, shape in self.shapes.items()}
        return {"policy": super().blank(), **images}


def policy_of(content: Mapping[str, Any]) -> PolicyModule:
    """The module of a policy's content."""
    return ImagePolicy(content) if "images" in content else PolicyModule(content)


def is_finite(module: nn.Module) -> bool:
    """Whether all parameters are: their sum is finite only if each of them is. Waits for the device once."""
    with torch.no_grad():
        sums = [parameter.sum().float() for parameter in module.parameters()]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())
