"""What is done to a minibatch before a gradient step."""

from __future__ import annotations

from typing import Any, List

import torch
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_isaac.policy.layers import has_hooks
from sb3_isaac.rl import distributed
from sb3_isaac.rl.algo.gaussian import is_plain
from sb3_isaac.rl.algo.rollout_buffer import Minibatch
from sb3_isaac.rl.policy.asymmetric import GroupExtractor

BLOCK_ROWS = 4096
"""Transitions for each thread, two at least: a processor's caches hold the outputs of a layer for so many."""

_OF_ROWS = tuple(f"torch.nn.modules.{name}" for name in ("linear", "activation", "container"))
"""Modules of layers that compute each transition by itself."""


def with_normal_advantages(batch: Minibatch) -> Minibatch:
    """With advantages of mean 0 and standard deviation 1, as SB3 computes them."""
    if len(batch.advantages) < 2:
        return batch
    mean, std = distributed.mean_and_std(batch.advantages)
    return batch._replace(advantages=(batch.advantages - mean) / (std + 1e-8))


def block_rows() -> int:
    """Transitions of a block on this CPU."""
    return max(2, torch.get_num_threads()) * BLOCK_ROWS


def in_blocks(batch: Minibatch, policy: Any) -> List[Minibatch]:
    """A minibatch in parts whose gradients add up to its own; the whole one where that is not faster.

    On a CPU a layer's outputs for ten thousand transitions do not stay in its caches until the next layer, or the
    backward pass, reads them. A policy that is not plain may depend on which transitions are computed together.
    """
    count = len(batch.advantages)
    blocks = -(-count // block_rows())
    rows = -(-count // blocks)
    if blocks == 1 or batch.advantages.device.type != "cpu" or not (is_plain(policy) and _row_by_row(policy)):
        return [batch]
    observations = batch.observations
    columns = [value.split(rows) for value in batch[1:]]
    if isinstance(observations, torch.Tensor):
        of_blocks: List[Any] = list(observations.split(rows))
    else:
        groups = {name: value.split(rows) for name, value in observations.items()}
        of_blocks = [{name: parts[i] for name, parts in groups.items()} for i in range(-(-count // rows))]
    return [Minibatch(*fields) for fields in zip(of_blocks, *columns)]


def _row_by_row(policy: Any) -> bool:
    """Whether what is computed of a transition depends on no other, and nobody looks on: a user's own extractor or
    layer may depend, and a hook sees what is computed together."""
    extractors = (policy.pi_features_extractor, policy.vf_features_extractor)
    nets = (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net, policy.action_net, policy.value_net)
    return (all(type(one) is FlattenExtractor or (type(one) is GroupExtractor and not one.encoders)
                for one in extractors)
            and all(type(layer).__module__ in _OF_ROWS and not has_hooks(layer)
                    for net in nets for layer in net.modules())
            and not any(parameter._backward_hooks for parameter in policy.parameters()))
