"""A policy that does in the mirror what it does: a network whose weights are their own mirror image."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import nn

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror, Mirrors
from sb3_isaac.policy.layers import ACTIVATIONS, has_hooks
from sb3_isaac.rl.algo.gaussian import is_plain
from sb3_isaac.rl.algo.gradient import by_parameter
from sb3_isaac.rl.policy.asymmetric import GroupExtractor


class Symmetry:
    """Keeps a Gaussian actor-critic of MLPs mirror-symmetric: π(M s) = M π(s), V(M s) = V(s).

    Every hidden layer consists of pairs of units, i and i + n/2, that are each other's mirror image. A weight matrix
    W then has to be P W Q, with the signed permutations P of its outputs and Q of its inputs. Weights that begin so
    and whose gradients G are replaced by ½ (G + P G Q) stay so under Adam, which treats each of them alike. That is
    the gradient of a minibatch together with its mirror image, at no further cost, and the network stays a plain MLP.

    :param policy: of SB3's or ours, with Linear layers of even width and activations between them.
    :param mirrors: what the environment says of its observations and actions.
    :raises UserError: for another network.
    """

    def __init__(self, policy: Any, mirrors: Mirrors) -> None:
        if not is_plain(policy):
            raise UserError(f"symmetry needs a Gaussian actor-critic of MLPs and was given {type(policy).__name__}: "
                            "take MlpPolicy or AsymmetricPolicy, or leave symmetry out.")
        self._policy = policy
        self._tied: Dict[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]] = {}
        self.between_pairs: List[nn.Linear] = []
        """Layers from one hidden layer to the next."""
        actor_in, critic_in = (_seen_by(policy, which, mirrors) for which in ("pi", "vf"))
        latent = self._tie_chain(policy.mlp_extractor.policy_net, actor_in)
        self._tie(policy.action_net, latent, mirrors.action)
        self._tie_vector(policy.log_std, Mirror(mirrors.action.source, (1,) * len(mirrors.action.sign)))
        latent = self._tie_chain(policy.mlp_extractor.value_net, critic_in)
        self._tie(policy.value_net, latent, Mirror.same(1))
        with torch.no_grad():
            for parameter, (index, sign) in self._tied.items():
                image = _mean_image(parameter.flatten(), index.flatten(), sign.flatten()).view_as(parameter)
                size = image.norm()  # kept, so that half of a random start is not lost
                parameter.copy_(image * (parameter.norm() / size) if size > 0 else image)
        self._index, self._sign = self._of_vector(list(policy.parameters()))

    def of_gradients(self, vector: torch.Tensor) -> torch.Tensor:
        """The mean of the policy's gradients as a vector (P,) and their mirror image."""
        return _mean_image(vector, self._index, self._sign)

    def symmetrise_weights(self) -> None:
        """Undo what rounding did."""
        with torch.no_grad():
            parameters = list(self._policy.parameters())
            weights = torch.cat([parameter.flatten() for parameter in parameters])
            for parameter, part in by_parameter(parameters, _mean_image(weights, self._index, self._sign)):
                parameter.copy_(part)

    def _tie_chain(self, layers: nn.Sequential, mirror: Mirror) -> Mirror:
        first = next((layer for layer in layers if isinstance(layer, nn.Linear)), None)
        for layer in layers:
            if isinstance(layer, nn.Linear):
                if layer.out_features % 2:
                    raise UserError(f"symmetry needs hidden layers of pairs of units and net_arch has one of "
                                    f"{layer.out_features}: give even numbers.")
                half = layer.out_features // 2
                hidden = Mirror((*range(half, 2 * half), *range(half)), (1,) * (2 * half))
                self._tie(layer, mirror, hidden)
                if layer is not first:
                    self.between_pairs.append(layer)
                mirror = hidden
            elif type(layer) not in ACTIVATIONS.values():
                raise UserError(f"symmetry needs linear layers and activations and the network has a "
                                f"{type(layer).__name__}: leave symmetry out.")
        return mirror

    def _tie(self, layer: nn.Linear, inputs: Mirror, outputs: Mirror) -> None:
        rows, columns = (torch.tensor(mirror.source, device=layer.weight.device) for mirror in (outputs, inputs))
        sign = torch.tensor(outputs.sign)[:, None] * torch.tensor(inputs.sign)
        self._tied[layer.weight] = rows[:, None] * len(columns) + columns, sign.to(layer.weight)
        if layer.bias is not None:
            self._tie_vector(layer.bias, outputs)

    def _tie_vector(self, vector: torch.Tensor, mirror: Mirror) -> None:
        self._tied[vector] = (torch.tensor(mirror.source, device=vector.device), torch.tensor(mirror.sign).to(vector))

    def _of_vector(self, parameters: Sequence[torch.Tensor]) -> Tuple[torch.Tensor, torch.Tensor]:
        """Indices and signs (P,) of the mirror image of all parameters as one vector; those not tied are their own."""
        indices, signs, start = [], [], 0
        for parameter in parameters:
            count = parameter.numel()
            own = (torch.arange(count, device=parameter.device), torch.ones_like(parameter))
            index, sign = self._tied.get(parameter, own)
            indices.append(start + index.flatten())
            signs.append(sign.flatten())
            start += count
        return torch.cat(indices), torch.cat(signs)


def _mean_image(value: torch.Tensor, index: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """The mean of a vector and its mirror image, a new vector."""
    return value.index_select(0, index).mul_(sign).add_(value).mul_(0.5)


def _seen_by(policy: Any, which: str, mirrors: Mirrors) -> Mirror:
    """The mirror of what the actor (``pi``) or the critic (``vf``) sees.

    :raises UserError: where that is other than observations side by side.
    """
    extractor = policy.features_extractor if policy.share_features_extractor else getattr(
        policy, f"{which}_features_extractor")
    groups: Sequence[str] = ()
    if type(extractor) is FlattenExtractor:
        groups = ("policy",)
    elif type(extractor) is GroupExtractor and not extractor.encoders:
        groups = extractor.groups
    elif type(extractor) is CombinedExtractor and all(type(of) is nn.Flatten for of in extractor.extractors.values()):
        groups = tuple(extractor.extractors)
    if not groups or has_hooks(extractor):
        raise UserError(f"symmetry needs observations as they are and the policy has a {type(extractor).__name__} of "
                        "its own: leave symmetry or the features extractor out.")
    return Mirror.joined([mirrors.observation[group] for group in groups])
