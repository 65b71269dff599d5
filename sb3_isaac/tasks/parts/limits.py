"""Soft limits of joints: how far angles, speeds and torques are beyond them, as reward terms, counts and an ending.

========== ================================================================== ===========
limit      what                                                               default
========== ================================================================== ===========
range      share of a joint's range of angles, about its middle               0.9
speed      rad/s                                                              20
torque     share of a joint's largest torque                                  0.9
end        end an episode when a joint is beyond one of them                  false
========== ================================================================== ===========
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

import torch

from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, number_above_zero, truth, unknown
from sb3_isaac.tasks.parts.terms import Function, Term

DEFAULTS: Mapping[str, Any] = {"range": 0.9, "speed": 20.0, "torque": 0.9, "end": False}
KINDS = ("range", "speed", "torque")
TERMS: Mapping[str, Term] = {f"{kind}_limit": Term(0.0, lambda f, kind=kind: f.beyond[kind].sum(dim=1))  # type: ignore
                             for kind in KINDS}
"""Reward terms, of weight 0 unless one is given: Σ over joints of how far they are beyond, rad, rad/s or N·m."""


class Limits:
    """The soft limits of N robots' joints.

    :param given: changes of :data:`DEFAULTS`.
    :param joint_range: (J, 2) rad, infinite where a joint has none.
    :param torque_limit_nm: (J,).
    """

    def __init__(self, given: Optional[Mapping[str, Any]], joint_range: torch.Tensor,
                 torque_limit_nm: torch.Tensor) -> None:
        settings = {**DEFAULTS, **mapping("limits", given)}
        for name, value in settings.items():
            if name not in DEFAULTS:
                raise unknown("limit", name, DEFAULTS, where="limits")
            if name in ("range", "torque") and not (is_number(value) and 0 < value <= 1):
                raise UserError(f"limits {name} is {brief(value)}: give a share above 0 and at most 1.")
        self._speed = number_above_zero("limits speed", settings["speed"])
        self._end = truth("limits end", settings["end"])
        middle, half = joint_range.mean(dim=1), 0.5 * settings["range"] * (joint_range[:, 1] - joint_range[:, 0])
        endless = ~torch.isfinite(half)
        self._middle, self._half = middle.masked_fill(endless, 0.0), half.masked_fill(endless, float("inf"))
        self._torque = settings["torque"] * torque_limit_nm

    def beyond(self, joint_pos: torch.Tensor, joint_vel: torch.Tensor, torque: torch.Tensor) -> Dict[str, torch.Tensor]:
        """How far each joint is beyond its limits, (N, J) each, 0 where it is within: rad, rad/s, N·m."""
        return {"range": ((joint_pos - self._middle).abs() - self._half).clamp(min=0.0),
                "speed": (joint_vel.abs() - self._speed).clamp(min=0.0),
                "torque": (torque.abs() - self._torque).clamp(min=0.0)}

    def terminations(self) -> Dict[str, Function]:
        """What ends an episode."""
        return {"limits": lambda f: torch.stack([(f.beyond[kind] > 0).any(dim=1) for kind in KINDS]).any(dim=0)} \
            if self._end else {}


def measures(f: Any) -> Dict[str, Callable[[], torch.Tensor]]:
    """How many joints are beyond each limit, (N,) each."""
    return {f"{kind}_violations": lambda kind=kind: (f.beyond[kind] > 0).sum(dim=1) for kind in KINDS}  # type: ignore
