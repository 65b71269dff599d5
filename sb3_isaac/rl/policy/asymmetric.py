"""An actor that sees what a robot can sense, and a critic that sees what a simulator knows besides."""

from __future__ import annotations

import sys
from typing import Any, ContextManager, Dict, Optional, Sequence, Tuple

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor, NatureCNN
from torch import nn

from sb3_isaac.contract import errors
from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.policy.portable import portable_policy_class

ACTOR_GROUPS, CRITIC_GROUPS = ("policy",), ("policy", "critic")
IMAGE_FEATURES = 256  # as in SB3's CombinedExtractor


def saved_with_its_policy(model: Any) -> ContextManager[None]:
    """While it lasts, ``model.save`` writes a policy class of this file so that stock SB3 loads it as well."""
    return portable_policy_class(model, (sys.modules[__name__], errors))


class GroupExtractor(BaseFeaturesExtractor):
    """Features (B, Σk) of some observation groups, each by an encoder of its own.

    A flat group goes on as it is, an image (C, H, W) through SB3's NatureCNN (Mnih et al. 2015) to 256 features.

    :param groups: names in `observation_space`, in the order of their features.
    :param normalized_image: images are not uint8 but scaled already, as SB3's ``normalize_images=False`` says.
    """

    def __init__(self, observation_space: spaces.Dict, groups: Sequence[str], normalized_image: bool = False) -> None:
        images = {group: observation_space[group] for group in groups
                  if is_image_space(observation_space[group], normalized_image=normalized_image)}
        widths = [IMAGE_FEATURES if group in images else spaces.flatdim(observation_space[group]) for group in groups]
        super().__init__(observation_space, sum(widths))
        self.groups = tuple(groups)
        self.encoders = nn.ModuleDict({group: NatureCNN(space, IMAGE_FEATURES, normalized_image)
                                       for group, space in images.items()})

    def forward(self, observations: Any) -> torch.Tensor:
        """Features of the observations."""
        parts = [self.encoders[group](observations[group]) if group in self.encoders
                 else observations[group].flatten(1) for group in self.groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class TwoMlps(MlpExtractor):
    """SB3's MlpExtractor with inputs of different widths for actor and critic."""

    def __init__(self, actor: MlpExtractor, critic: MlpExtractor) -> None:
        nn.Module.__init__(self)
        self.policy_net, self.value_net = actor.policy_net, critic.value_net
        self.latent_dim_pi, self.latent_dim_vf = actor.latent_dim_pi, critic.latent_dim_vf


class AsymmetricPolicy(ActorCriticPolicy):
    """SB3's actor-critic where actor and critic see observation groups of their own.

    By default the actor sees the group ``policy`` and the critic ``policy`` and ``critic``, for an environment with
    both, such as ``IsaacVecEnv(..., privileged=True)`` (Pinto et al. 2017, arXiv 1710.06542); with other groups the
    two sets are named in ``policy_kwargs``. Each group has its encoder, see :class:`GroupExtractor`.
    An exported ``policy.pth`` needs the group ``policy`` alone, and is written where the actor sees no other.
    A zip that our PPO wrote names this class, and holds it written out for stock SB3 without sb3_isaac, where it loads
    in the Python version that wrote it.

    :param actor_groups: what the actor sees, such as ``["policy", "image"]``.
    :param critic_groups: what the critic sees.
    :raises UserError: where a group is unknown, or none are named and the environment has others than the default.
    """

    def __init__(self, observation_space: spaces.Space, *args: Any, actor_groups: Optional[Sequence[str]] = None,
                 critic_groups: Optional[Sequence[str]] = None, **kwargs: Any) -> None:
        given = tuple(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else ()
        self._groups = {"actor": _groups("actor", actor_groups, given), "critic": _groups("critic", critic_groups,
                                                                                          given)}
        super().__init__(observation_space, *args, **{**kwargs, "share_features_extractor": False})

    def _get_constructor_parameters(self) -> Dict[str, Any]:
        return {**super()._get_constructor_parameters(), "actor_groups": list(self._groups["actor"]),
                "critic_groups": list(self._groups["critic"])}

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The actor's; SB3 makes the critic's in the same way, and ``_build_mlp_extractor`` puts the right one."""
        return self._extractor("actor")

    def _extractor(self, which: str) -> GroupExtractor:
        assert isinstance(self.observation_space, spaces.Dict)
        return GroupExtractor(self.observation_space, self._groups[which], not self.normalize_images)

    def _build_mlp_extractor(self) -> None:
        self.vf_features_extractor = self._extractor("critic")
        actor, critic = (MlpExtractor(extractor.features_dim, self.net_arch, self.activation_fn, self.device)
                         for extractor in (self.pi_features_extractor, self.vf_features_extractor))
        self.mlp_extractor = TwoMlps(actor, critic)


def _groups(whose: str, named: Optional[Sequence[str]], given: Tuple[str, ...]) -> Tuple[str, ...]:
    """The observation groups of the actor or the critic, of those that the environment has."""
    if named is None:
        if set(given) != set(CRITIC_GROUPS):
            raise UserError(f"AsymmetricPolicy needs observations with the groups policy and critic and was given "
                            f"{', '.join(given) or 'a single one'}: pass privileged=True to the environment, or name "
                            "the groups with actor_groups and critic_groups in policy_kwargs.")
        return ACTOR_GROUPS if whose == "actor" else CRITIC_GROUPS
    if isinstance(named, str) or not named or len(set(named)) != len(named) or not set(named) <= set(given):
        raise UserError(f"{whose}_groups is {named!r}: give a list of different names of {', '.join(given) or 'none'}, "
                        "the groups that the environment has.")
    return tuple(named)
