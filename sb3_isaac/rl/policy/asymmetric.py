"""An actor that sees what a robot can sense, and a critic that sees what a simulator knows besides."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterator, Sequence

import cloudpickle
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import nn

from sb3_isaac.contract import errors
from sb3_isaac.contract.errors import UserError

ACTOR_GROUPS, CRITIC_GROUPS = ("policy",), ("policy", "critic")


@contextlib.contextmanager
def pickled_by_value() -> Iterator[None]:
    """Have cloudpickle, by which SB3 saves a policy's class, write our classes out instead of naming them."""
    modules = (sys.modules[__name__], errors)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


class GroupExtractor(BaseFeaturesExtractor):
    """Joins observation groups {name: (B, k)} to features (B, Σk)."""

    def __init__(self, observation_space: spaces.Dict, groups: Sequence[str]) -> None:
        super().__init__(observation_space, sum(spaces.flatdim(observation_space[group]) for group in groups))
        self.groups = tuple(groups)

    def forward(self, observations: Any) -> torch.Tensor:
        """Features of the observations."""
        return torch.cat([observations[group].flatten(1) for group in self.groups], dim=1)


class TwoMlps(MlpExtractor):
    """SB3's MlpExtractor with inputs of different widths for actor and critic."""

    def __init__(self, actor: MlpExtractor, critic: MlpExtractor) -> None:
        nn.Module.__init__(self)
        self.policy_net, self.value_net = actor.policy_net, critic.value_net
        self.latent_dim_pi, self.latent_dim_vf = actor.latent_dim_pi, critic.latent_dim_vf


class AsymmetricPolicy(ActorCriticPolicy):
    """SB3's actor-critic where the actor sees the group ``policy`` and the critic ``policy`` and ``critic``.

    For an environment with both groups, such as ``IsaacVecEnv(..., privileged=True)`` (Pinto et al. 2017, arXiv
    1710.06542). An exported ``policy.pth`` needs the actor's group alone. A zip that our PPO wrote loads in stock SB3
    without sb3_isaac, in the Python version that wrote it.
    """

    def __init__(self, observation_space: spaces.Space, *args: Any, **kwargs: Any) -> None:
        groups = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
        if set(groups) != set(CRITIC_GROUPS):
            raise UserError(f"AsymmetricPolicy needs observations with the groups policy and critic and was given "
                            f"{', '.join(groups) or 'a single one'}: pass privileged=True to the environment.")
        super().__init__(observation_space, *args, **{**kwargs, "share_features_extractor": False})

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The actor's; SB3 makes the critic's in the same way, and ``_build_mlp_extractor`` puts the right one."""
        assert isinstance(self.observation_space, spaces.Dict)
        return GroupExtractor(self.observation_space, ACTOR_GROUPS)

    def _build_mlp_extractor(self) -> None:
        assert isinstance(self.observation_space, spaces.Dict)
        self.vf_features_extractor = GroupExtractor(self.observation_space, CRITIC_GROUPS)
        actor, critic = (MlpExtractor(extractor.features_dim, self.net_arch, self.activation_fn, self.device)
                         for extractor in (self.pi_features_extractor, self.vf_features_extractor))
        self.mlp_extractor = TwoMlps(actor, critic)
