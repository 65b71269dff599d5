"""SB3's actor-critic with diagonal Gaussian actions, evaluated without a distribution object.

``torch.distributions`` checks every mean and sample on the host and writes the standard deviation out for each
transition; here both are left out. The numbers are the same.
"""

from __future__ import annotations

import math
from typing import Any, Tuple

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl.algo.chain import run_layers
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.policy.asymmetric import TwoMlps

_STOCK = ("__call__", "forward", "evaluate_actions", "_get_action_dist_from_latent", "extract_features")


def is_plain(policy: Any) -> bool:
    """Whether `policy` computes actions, values and log-probabilities as SB3's own Gaussian actor-critic does.

    A user's own methods, of a class or of one object, network in ``mlp_extractor``, standard deviation or hooks are
    left to the policy's methods.
    """
    return (isinstance(policy, ActorCriticPolicy) and type(policy.action_dist) is DiagGaussianDistribution
            and all(getattr(type(policy), name) is getattr(ActorCriticPolicy, name) and name not in vars(policy)
                    for name in _STOCK)
            and type(policy.mlp_extractor) in (MlpExtractor, TwoMlps)
            and not vars(policy.mlp_extractor).keys() & {"forward_actor", "forward_critic"}
            and not any(map(callable, vars(policy.action_dist).values()))
            and policy.log_std.shape == (policy.action_dist.action_dim,)
            and not has_hooks(policy) and not has_hooks(policy.mlp_extractor))


def act(policy: Any, obs: Any, libraries: MatrixLibraries) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sampled actions (N, ...), values (N,) and log-probabilities (N,); ``policy.forward`` of a plain policy."""
    if not is_plain(policy):
        actions, values, log_prob = policy(obs)
        return actions, values.flatten(), log_prob
    mean, values = _mean_and_value(policy, obs, libraries)
    noise = torch.randn_like(mean)
    actions = torch.addcmul(mean, noise, policy.log_std.exp())
    return actions.reshape(-1, *policy.action_space.shape), values, _log_prob(noise, policy.log_std)


def evaluate(policy: Any, obs: Any, actions: torch.Tensor,
             libraries: MatrixLibraries) -> Tuple[torch.Tensor, torch.Tensor, Any]:
    """Values (B,), log-probabilities (B,) of `actions` and the entropy (a scalar where it is the same for all)."""
    if not is_plain(policy):
        values, log_prob, entropy = policy.evaluate_actions(obs, actions)
        return values.flatten(), log_prob, entropy
    mean, values = _mean_and_value(policy, obs, libraries)
    log_std = policy.log_std
    entropy = (log_std + 0.5 * (1.0 + math.log(2.0 * math.pi))).sum()
    return values, _log_prob((actions - mean) * (-log_std).exp(), log_std), entropy


def _mean_and_value(policy: Any, obs: Any, libraries: MatrixLibraries) -> Tuple[torch.Tensor, torch.Tensor]:
    features = policy.extract_features(obs)
    pi_features, vf_features = (features, features) if policy.share_features_extractor else features
    mean = run_layers((policy.mlp_extractor.policy_net, policy.action_net), pi_features, libraries)
    return mean, run_layers((policy.mlp_extractor.value_net, policy.value_net), vf_features, libraries).flatten()


def _log_prob(standardized: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log density of a diagonal Gaussian at (a − μ) / σ (N, A)."""
    normalizer = log_std.sum() + 0.5 * len(log_std) * math.log(2.0 * math.pi)
    return -0.5 * standardized.square().sum(dim=1) - normalizer
