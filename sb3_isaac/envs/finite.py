"""Whether all that passes through an environment is a finite number, found out without waiting for the device."""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.errors import NotFinite
from sb3_isaac.contract.tensor_env import Obs, Step

Quantity = Tuple[str, str, int]
"""Kind (``start``, ``action``, ``obs``, ``final_obs`` or ``reward``), observation group, component in it (−1: all)."""


class FiniteWatch:
    """Notes at which step of a rollout each quantity first held a NaN or an infinite number, in any environment.

    Sums over the environments are looked at, for a sum is finite only where all that it is made of is. ``add`` runs at
    each step and stays on the device; ``first`` is asked once an iteration.
    """

    def __init__(self) -> None:
        self._start_obs: Optional[torch.Tensor] = None
        self._steps_good: Optional[torch.Tensor] = None
        self._quantities: List[Quantity] = []

    def begin(self, obs: Obs) -> None:
        """Take in the observations of a reset."""
        self._start_obs = _sums(obs)

    def clear(self) -> None:
        """A new rollout begins."""
        if self._steps_good is not None:
            self._still_good.fill_(True)
            self._steps_good.zero_()

    def add(self, actions: torch.Tensor, step: Step) -> None:
        """Take in a step and the actions (N, ...) that led to it."""
        if self._start_obs is None:
            self._start_obs = torch.zeros_like(_sums(step.obs))
        late = [torch.where(step.truncated, value.flatten(1).sum(dim=1), 0.0).sum()
                for value in step.final_obs.values() if value.is_floating_point()]
        alone = torch.stack([actions.sum().float(), *(value.float() for value in late), step.reward.sum().float()])
        finite = torch.isfinite(torch.cat((self._start_obs, alone, _sums(step.obs))))
        if self._steps_good is None:
            self._quantities = _quantities(step)
            with torch.inference_mode(False):  # else they could not be written to outside of that mode
                self._still_good = torch.ones_like(finite)
                self._steps_good = torch.zeros_like(finite, dtype=torch.int32)
        self._still_good &= finite
        self._steps_good += self._still_good

    def first(self) -> Tuple[int, List[Quantity]]:
        """The first step (from 1 on) with numbers that are not finite, and which quantities they were; (0, []) if none.

        Waits for the device.
        """
        if self._steps_good is None:
            return 0, []
        good, steps = self._still_good.tolist(), self._steps_good.tolist()
        bad = [count for count, fine in zip(steps, good) if not fine]
        if not bad:
            return 0, []
        return min(bad) + 1, [quantity for quantity, count, fine in zip(self._quantities, steps, good)
                              if not fine and count == min(bad)]


def not_finite(step: int, found: Sequence[Quantity], obs_table: Mapping[str, int],
               terms: Mapping[str, float]) -> NotFinite:
    """What to say of :meth:`FiniteWatch.first`.

    :param obs_table: name -> width of what the group ``policy`` is joined from; empty where that is not known.
    :param terms: reward term -> its mean over the rollout, among which the faulty ones are looked for.
    """
    kinds = {kind for kind, _, _ in found}
    if "action" in kinds and "start" not in kinds:
        return NotFinite(f"actions were NaN or infinite, first at step {step} of this rollout: the policy's network "
                         "gives no numbers any more, so try a smaller learning_rate.")
    names = _names(found, obs_table, [name for name, mean in terms.items() if not math.isfinite(mean)])
    return NotFinite(f"{' and '.join(names)} of this rollout has values that are NaN or infinite, first at step "
                     f"{step}: correct the function that makes them.")


def _sums(obs: Obs) -> torch.Tensor:
    """Sums over the environments of each component of flat groups and of whole images; integers are always finite."""
    device = next(iter(obs.values())).device
    return torch.cat([torch.zeros(0, device=device),
                      *(value.sum(dim=0).float() if value.dim() == 2 else value.sum().float().reshape(1)
                        for value in _floating(obs).values())])


def _floating(obs: Obs) -> Dict[str, torch.Tensor]:
    return {group: value for group, value in obs.items() if value.is_floating_point()}


def _quantities(step: Step) -> List[Quantity]:
    """What the sums of ``add`` are of, in their order."""
    components = [(group, i) for group, value in _floating(step.obs).items()
                  for i in (range(value.shape[1]) if value.dim() == 2 else (-1,))]
    return [*(("start", group, i) for group, i in components), ("action", "", -1),
            *(("final_obs", group, -1) for group in _floating(step.final_obs)), ("reward", "", -1),
            *(("obs", group, i) for group, i in components)]


def _names(found: Sequence[Quantity], obs_table: Mapping[str, int], terms: List[str]) -> List[str]:
    """What a person calls the quantities, each once."""
    names: List[str] = []
    for kind, group, component in found:
        if kind == "reward":
            names += terms or ["the reward"]
        elif kind != "action":
            name = _observation(group, component, obs_table)
            names.append(f"the final {name}" if kind == "final_obs" else name)
    return list(dict.fromkeys(names))


def _observation(group: str, component: int, obs_table: Mapping[str, int]) -> str:
    if component < 0:
        return f"observation group {group!r}"
    end = 0
    for name, width in obs_table.items() if group == "policy" else ():
        end += width
        if component < end:
            return f"observation {name!r}"
    return f"component {component} of observation group {group!r}"
