"""Engines: many worlds of one compiled MuJoCo model, their fields as torch tensors."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Protocol

import torch


class Engine(Protocol):
    """N worlds of one model. Tensors that it hands out keep their address and are refreshed in place.

    ============ =============== =====================================================================
    member       shape, dtype    what
    ============ =============== =====================================================================
    num_worlds   int             N
    device       torch.device    where the tensors live
    timestep_s   float           one physics step, seconds
    diverged     (N,) bool       worlds that the last ``step`` lost: non-finite, or reset by MuJoCo itself
    physics_s    float           seconds spent in physics since construction
    ============ =============== =====================================================================
    """

    num_worlds: int
    device: torch.device
    timestep_s: float
    diverged: torch.Tensor
    physics_s: float

    def field(self, name: str) -> torch.Tensor:
        """The ``MjData`` field `name` as (N, ...) float32; position and velocity fields are current after a step,
        forces are those of its last substep."""

    def live(self, name: str) -> torch.Tensor:
        """The engine's own array of a ``MjData`` field, (N, ...), in its own precision, always current, not copied.

        Writing a state field (qpos, qvel, qfrc_applied, xfrc_applied, ...) changes the worlds' next step."""

    def step(self, ctrl: torch.Tensor, nstep: int, current: bool = True) -> None:
        """Apply controls (N, nu) and advance every world by `nstep` physics steps.

        Without `current` only the state and the forces of the last substep are valid afterwards, which costs less;
        ``update`` brings the rest up to date when it is wanted."""

    def update(self) -> None:
        """Make position and velocity fields those of the present state. Forces are lost: read them before."""

    def reset(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor,
              ctrl: Optional[torch.Tensor] = None) -> None:
        """Put the worlds of `mask` (N,) bool into the states qpos (N, nq), qvel (N, nv); other rows are ignored.

        Their controls become ctrl (N, nu), by default 0."""

    def model_field(self, name: str) -> torch.Tensor:
        """A copy of the ``MjModel`` field `name` as it stands in every world, (N, ...) float32."""

    def set_model_field(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """Give the worlds of `mask` (None: all) their own values (N, ...) of a model field."""

    def state_dict(self) -> Dict[str, Any]:
        """Physics state, randomised model fields and marks of diverged worlds, as tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``, bit for bit."""

    def close(self) -> None:
        """Release the worker threads and the worlds."""
