"""From a live SB3 model to a policy that is evaluated or written to ``policy.pth``."""

from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Obs
from sb3_isaac.policy.layers import chain_of, has_hooks, layout_of, mlp_activation, without_batch_norm
from sb3_isaac.policy.module import ImagePolicy, PolicyModule, policy_of

MLP_FORMAT, LAYERS_FORMAT, IMAGES_FORMAT = 1, 2, 3
_OFF_POLICY = ("stable_baselines3.sac.policies", "stable_baselines3.td3.policies", "sb3_contrib.tqc.policies",
               "sb3_contrib.crossq.policies")
_STOCK = ("predict", "_predict", "get_distribution", "_get_action_dist_from_latent")


class _Actor(nn.Module):
    """What an SB3 actor-critic does between an observation (N, k) and the mean action (N, J)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        extractor = policy.pi_features_extractor
        plain = _passes_observations_on(extractor) or _encoders(policy)
        self.features = nn.Identity() if plain else extractor
        self.latent, self.mean = policy.mlp_extractor, policy.action_net
        self.squash = nn.Tanh() if policy.squash_output else nn.Identity()

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.squash(self.mean(self.latent.forward_actor(self.features(obs))))


class _OffPolicyActor(nn.Module):
    """What the actor of SAC, TD3, TQC or CrossQ does between an observation (N, k) and the action without noise."""

    def __init__(self, actor: Any) -> None:
        super().__init__()
        extractor = actor.features_extractor
        self.features = nn.Identity() if _passes_observations_on(extractor) else extractor
        self.net = (nn.Sequential(*without_batch_norm([*actor.latent_pi, actor.mu]), nn.Tanh())
                    if hasattr(actor, "latent_pi") else actor.mu)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.net(self.features(obs))
        return action


def _is_stock_off_policy(policy: Any) -> bool:
    """Whether policy and actor are exactly classes of SB3's or sb3_contrib's off-policy algorithms, without hooks."""
    actor = getattr(policy, "actor", None)
    latent = getattr(actor, "latent_pi", None)
    return actor is not None and (latent is None or (type(latent) is nn.Sequential and not has_hooks(latent))) and all(
        type(part).__module__ in _OFF_POLICY and not has_hooks(part) for part in (policy, actor))


def _passes_observations_on(extractor: Any) -> bool:
    """Whether the features are the flat observations of the group ``policy``, unchanged."""
    groups = getattr(extractor, "groups", None)  # also of a class that was loaded from a zip by value
    return type(extractor) is FlattenExtractor or (type(extractor).__name__ == "GroupExtractor"
                                                   and groups == ("policy",))


def _encoders(policy: Any) -> Optional[Dict[str, Optional[nn.Module]]]:
    """The groups that the actor of `policy` sees, in the order of its features, and how it encodes those of pictures.

    None where it sees no pictures, or does anything else to a group than a stock NatureCNN to pictures and nothing to
    numbers.
    """
    extractor: Any = getattr(policy, "pi_features_extractor", None)
    if type(extractor) is CombinedExtractor:
        parts = {group: None if type(part) is nn.Flatten else part for group, part in extractor.extractors.items()}
    elif type(extractor).__name__ == "GroupExtractor":
        parts = {group: extractor.encoders[group] if group in extractor.encoders else None
                 for group in extractor.groups}
    else:
        return None
    images = [part for part in parts.values() if part is not None]
    stock = all(type(part) is NatureCNN and not has_hooks(part) for part in images) and not has_hooks(extractor)
    flat = [group for group, part in parts.items() if part is None]
    uint8 = all(policy.observation_space[group].dtype == "uint8" for group, part in parts.items() if part is not None)
    return parts if images and stock and flat == ["policy"] and uint8 and policy.normalize_images else None


def _image(space: Any, encoder: Any) -> Dict[str, Any]:
    """How pictures of a space are encoded, as plain data."""
    layers = [*encoder.cnn, *encoder.linear]
    return {"shape": list(space.shape), "layers": layout_of(layers), "state_dict": _weights(layers)}


def _weights(layers: List[nn.Module]) -> Dict[str, torch.Tensor]:
    return {f"{i}.{name}": value.detach().cpu().clone()
            for i, layer in enumerate(layers) for name, value in layer.state_dict().items()}


def _policy_space(model: Any) -> Optional[spaces.Space]:
    """The space of the group ``policy``, or of the only one."""
    space: Any = model.observation_space
    return space.spaces.get("policy") if isinstance(space, spaces.Dict) else space


def _actor_layers(model: Any) -> List[nn.Module]:
    """The layers of `model`'s actor, or a UserError in one sentence."""
    policy, space, group = model.policy, model.observation_space, _policy_space(model)
    name = type(policy).__name__
    stock = isinstance(policy, ActorCriticPolicy) and type(policy.action_dist) in (
        DiagGaussianDistribution, StateDependentNoiseDistribution) and all(
        getattr(type(policy), method) is getattr(ActorCriticPolicy, method) for method in _STOCK)
    off_policy = _is_stock_off_policy(policy)
    if not (stock or off_policy) or not isinstance(group, spaces.Box) or len(group.shape) != 1:
        raise UserError(f"policy.pth holds actors with Gaussian or deterministic actions on one flat observation group "
                        f"'policy', not {name}: use model.zip for this one.")
    if _encoders(policy):
        return chain_of(_Actor(policy))
    extractor = policy.actor.features_extractor if off_policy else policy.pi_features_extractor
    if isinstance(space, spaces.Dict) and not _passes_observations_on(extractor):
        raise UserError(f"policy.pth holds actors that see the group 'policy' alone, or with pictures, not {name} with "
                        f"a {type(extractor).__name__}: use model.zip for this one.")
    return chain_of(_OffPolicyActor(policy.actor) if off_policy else _Actor(policy))


def group_moments(normalizer: Optional[VecNormalize], group: str) -> Optional[Tuple[torch.Tensor, torch.Tensor]]:
    """Mean and variance, float32, by which `normalizer` normalises a group; None where it leaves it alone."""
    if normalizer is None or not normalizer.norm_obs:
        return None
    rms: Any = normalizer.obs_rms
    rms = rms.get(group) if isinstance(rms, dict) else rms
    if rms is None:
        return None
    return torch.as_tensor(rms.mean, dtype=torch.float32), torch.as_tensor(rms.var, dtype=torch.float32)


def policy_content(model: Any, normalizer: Optional[VecNormalize], metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """What ``policy.pth`` holds of an SB3 actor-critic whose actor is a chain of plain layers on flat observations.

    An MLP with one kind of activation is written in format version 1, anything else in version 2: there ``layers``
    stands in place of ``activation``, a list of (class name in ``torch.nn``, arguments). Version 3 has ``groups`` and
    ``images`` besides, see :class:`~sb3_isaac.policy.module.ImagePolicy`.

    :raises UserError: for other policies (recurrent, discrete, with branches), in one sentence.
    """
    layers = _actor_layers(model)
    layout = layout_of(layers)
    width = spaces.flatdim(_policy_space(model))  # type: ignore[arg-type]
    moments = group_moments(normalizer, "policy")
    mean, var = (torch.zeros(width), torch.ones(width)) if moments is None else moments
    normalised = moments is not None and normalizer is not None
    activation, squashed = mlp_activation(layout), bool(model.policy.squash_output)
    seen = _encoders(model.policy) or {}
    plain = bool(activation) and not squashed and not seen
    images = {group: _image(model.observation_space[group], part) for group, part in seen.items() if part is not None}
    return {
        "format_version": IMAGES_FORMAT if seen else MLP_FORMAT if plain else LAYERS_FORMAT,
        "state_dict": _weights(layers), **({"groups": list(seen), "images": images} if seen else {}),
        **({"activation": activation} if plain else {"layers": layout, "squashed": squashed}),
        "action_low": model.action_space.low.tolist(), "action_high": model.action_space.high.tolist(),
        "obs_mean": mean, "obs_var": var,
        "epsilon": float(normalizer.epsilon) if normalised and normalizer is not None else 0.0,
        "clip_obs": float(normalizer.clip_obs) if normalised and normalizer is not None else float("inf"),
        **metadata,
    }


def policy_module(model: Any, normalizer: Optional[VecNormalize], metadata: Mapping[str, Any]) -> PolicyModule:
    """The policy of an SB3 model with its normaliser, as a module of its own that shares nothing with the model.

    :raises UserError: where :func:`policy_content` does.
    """
    return policy_of(policy_content(model, normalizer, metadata))


class ModelPolicy:
    """The deterministic policy of a live SB3 model, for policies that a :class:`PolicyModule` cannot be.

    Takes observations as the task gives them, a dict {group: (N, ...)}, and gives actions (N, J) on their device. Where
    the learner is on another device, observations and actions travel at each step.
    """

    def __init__(self, model: Any, normalizer: Optional[VecNormalize],
                 info: Optional[Mapping[str, Any]] = None) -> None:
        self._model, self._space = model, model.observation_space
        self.info = dict(info or {})
        """What it was trained on, as of a :class:`PolicyModule`."""
        self._memory: Any = None
        self._begins: Optional[np.ndarray] = None
        self._clip = float(normalizer.clip_obs) if normalizer is not None else float("inf")
        self._normal: Dict[str, Tuple[torch.Tensor, torch.Tensor]] = {}
        groups = self._space.spaces if isinstance(self._space, spaces.Dict) else ("policy",)
        for group in groups:
            moments = group_moments(normalizer, group)
            if moments is not None and normalizer is not None:
                scale = (moments[1] + normalizer.epsilon).rsqrt()
                self._normal[group] = (moments[0].to(model.device), scale.to(model.device))

    @property
    def action_space(self) -> spaces.Space:
        """Of its actions."""
        space: spaces.Space = self._model.action_space
        return space

    def forget(self) -> None:
        """Forget all that was seen: for episodes that begin, of any number of environments."""
        self._memory = self._begins = None

    def to(self, device: Union[str, torch.device]) -> ModelPolicy:
        """Itself, for its model stays where it is."""
        return self

    def begin(self, over: torch.Tensor) -> None:
        """Forget, before the next call, what was seen in the environments of `over` (N,) bool."""
        self._begins = over.cpu().numpy()

    @torch.no_grad()
    def __call__(self, obs: Obs) -> torch.Tensor:
        """Actions within the action space's bounds."""
        policy, device = self._model.policy, next(iter(obs.values())).device
        policy.set_training_mode(False)
        seen = {group: self._prepared(group, value) for group, value in obs.items()}
        if hasattr(policy, "lstm_actor"):
            return self._recurrent(seen).to(device)
        actions: torch.Tensor = policy._predict(seen if isinstance(self._space, spaces.Dict) else seen["policy"],
                                                deterministic=True)
        space = self._model.action_space
        if isinstance(space, spaces.Box):
            low, high = (torch.as_tensor(bound, device=actions.device) for bound in (space.low, space.high))
            if policy.squash_output:
                actions = low + 0.5 * (actions + 1.0) * (high - low)
            actions = actions.clamp(low, high)
        return actions.to(device)

    def _recurrent(self, seen: Obs) -> torch.Tensor:
        """Of sb3_contrib's RecurrentPPO, through arrays; it remembers all since the first call, or :meth:`begin`."""
        arrays: Any = {group: value.cpu().numpy() for group, value in seen.items()}
        seen_by_it = arrays if isinstance(self._space, spaces.Dict) else arrays["policy"]
        actions, self._memory = self._model.policy.predict(seen_by_it, self._memory, self._begins, deterministic=True)
        self._begins = None
        return torch.as_tensor(actions)

    def _prepared(self, group: str, value: torch.Tensor) -> torch.Tensor:
        value = value.to(self._model.device)
        if group not in self._normal:
            return value
        mean, scale = self._normal[group]
        return ((value - mean) * scale).clamp(-self._clip, self._clip)


def warn_without_policy_file(model: Any) -> None:
    """Say that, and why, a training run of `model` has no ``policy.pth``, if so it is."""
    try:
        policy_content(model, model.get_vec_normalize_env(), {})
    except UserError as error:
        warnings.warn(f"no policy.pth will be written: {error}", stacklevel=2)


Actor = Union[PolicyModule, ModelPolicy]


def evaluation_policy(model: Any, normalizer: Optional[VecNormalize], metadata: Mapping[str, Any],
                      device: Union[str, torch.device]) -> Actor:
    """The policy of `model` for an evaluation on `device`: a PolicyModule, or a ModelPolicy where it cannot be one."""
    try:
        return policy_module(model, normalizer, metadata).to(device)
    except UserError:
        return ModelPolicy(model, normalizer)


def acts_on_groups(policy: Union[Actor, Callable[[torch.Tensor], torch.Tensor]]) -> Callable[[Obs], torch.Tensor]:
    """`policy` as a function of all observation groups, whether it takes them all or the group ``policy`` alone."""
    if isinstance(policy, (ModelPolicy, ImagePolicy)):
        return policy
    alone = policy
    return lambda obs: alone(obs["policy"])


def starts_anew(policy: Any) -> None:
    """Let a policy that remembers forget what it saw, for the environments have been reset."""
    if isinstance(policy, ModelPolicy):
        policy.forget()
