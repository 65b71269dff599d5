"""The one interface that learning code sees: many environments as one object that speaks tensors."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Protocol, runtime_checkable

import torch
from gymnasium import spaces

Obs = Dict[str, torch.Tensor]


class Step(NamedTuple):
    """What one control step of N environments gives back.

    ============ ====================== ===============================================================
    field        shape, dtype           what
    ============ ====================== ===============================================================
    obs          {group: (N, k)} f32    where an episode ended: the first observation of the next one
    reward       (N,) f32
    terminated   (N,) bool              the episode ended in a state of no return (a fall)
    truncated    (N,) bool              the episode ran out of time; never true together with terminated
    final_obs    {group: (N, k)} f32    the observation this step led to: where an episode ended, its true
                                        last one; elsewhere ``obs``, but for a command drawn anew
    log          {name: (N, ...)}       measures of this step before any reset: ``reward/<term>``, ...
    ============ ====================== ===============================================================

    ``log["bad_world"]`` (N,) bool, where present, marks episodes that the simulator lost; they are reported as
    terminated with reward 0 and belong in no statistic.
    The tensors are the environment's own and change at its next step: copy what is kept.
    """

    obs: Obs
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final_obs: Obs
    log: Dict[str, torch.Tensor]


@runtime_checkable
class TensorEnv(Protocol):
    """N environments that step together; an episode that ends is followed by the next in the same step.

    ``observation_space`` is a ``Dict`` of one environment's groups: ``policy`` always, ``critic`` and ``image``
    where the task has them. ``action_space`` is one environment's.
    """

    num_envs: int
    device: torch.device
    observation_space: spaces.Dict
    action_space: spaces.Space
    render_mode: Optional[str]
    physics_s: float
    """Seconds spent in the physics engine since construction (0 where that cannot be told apart)."""

    def reset(self, seed: Optional[int] = None) -> Obs:
        """Start every episode anew; a seed makes what follows reproducible."""

    def step(self, actions: torch.Tensor) -> Step:
        """Advance by one control step with actions (N, ...) on ``device``."""

    def metadata(self) -> Dict[str, Any]:
        """Plain facts that an exported policy carries, such as ``obs_table`` and ``joint_names``."""

    def render(self) -> Any:
        """An image (h, w, 3) uint8 of the first environments, or None without a render mode."""

    def state_dict(self) -> Dict[str, Any]:
        """All that a later, identical continuation needs: tensors and builtins only.

        Empty where that cannot be had: a continuation begins with a reset.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()`` of an environment of the same kind and size."""

    def close(self) -> None:
        """Release threads, windows and memory."""
