"""Engines: many worlds of one compiled MuJoCo model, their fields as torch tensors."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Protocol

import torch

from sb3_isaac.contract.recorder import Recorder


class Engine(Protocol):
    """N worlds of one model. Tensors that it hands out keep their address and are refreshed in place.

    ============ =============== =====================================================================
    member       shape, dtype    what
    ============ =============== =====================================================================
    model        MjModel         the compiled model that all worlds share
    num_worlds   int             N
    device       torch.device    where the tensors live
    threads      int             physics threads on the CPU; 1 where the physics runs on a GPU
    timestep_s   float           one physics step, seconds
    diverged     (N,) bool       worlds that the last ``step`` lost: non-finite, or reset by MuJoCo itself
    physics_s    float           seconds spent in physics since construction; reading it may wait for a GPU
    recorder     Recorder        records steps of what stands on this engine, on a GPU; None where there is none
    ============ =============== =====================================================================

    After a step, state fields (qpos, qvel, act, time) are current. All other fields describe the start of the last
    physics step, because that is where MuJoCo computes them: positions of bodies, sensors, and the forces that acted
    during that physics step. After ``reset`` every field is current in the worlds that were reset.
    """

    model: Any
    num_worlds: int
    device: torch.device
    threads: int
    timestep_s: float
    diverged: torch.Tensor
    physics_s: float
    recorder: Optional[Recorder]

    def field(self, name: str) -> torch.Tensor:
        """The ``MjData`` field `name` as (N, ...) float32. It is current at the first call."""

    def live(self, name: str) -> torch.Tensor:
        """The engine's own array of a ``MjData`` field, (N, ...), in its own precision, always current, not copied.

        Writing a state field (qpos, qvel, qfrc_applied, xfrc_applied, ...) changes the worlds' next step."""

    def step(self, ctrl: torch.Tensor, nstep: int) -> None:
        """Apply controls (N, nu), or (nstep, N, nu) with those of each physics step, and advance every world by `nstep`
        physics steps."""

    def update(self) -> None:
        """Bring position and velocity fields to the present state, where ``live`` shows them. Forces are lost: read
        them before."""

    def reset(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor,
              ctrl: Optional[torch.Tensor] = None) -> None:
        """Put the worlds of `mask` (N,) bool into the states qpos (N, nq), qvel (N, nv); other rows are not read.

        Their controls become ctrl (N, nu), by default 0, and nothing of their past is left."""

    def write(self, mask: torch.Tensor, qpos: Optional[torch.Tensor] = None,
              qvel: Optional[torch.Tensor] = None) -> None:
        """Change the state of the worlds of `mask` (N,) bool in flight; other rows of qpos (N, nq) and qvel (N, nv)
        are not read. Forces and other derived fields follow at the next step."""

    def model_field(self, name: str) -> torch.Tensor:
        """A copy of the ``MjModel`` field `name` as it stands in every world, (N, ...) float32."""

    def set_model_field(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """Give the worlds of `mask` (None: all) their own values (N, ...) of a model field.

        Constants that MuJoCo derives from it (``mj_setConst``) follow."""

    def warnings(self) -> Dict[str, int]:
        """How often each warning that ends no episode came since the last call, summed over all worlds, or in how many
        worlds where the engine cannot tell. Every engine has the keys of ``WARNINGS``; asking may wait for a GPU."""

    def mj_data(self, world: int) -> Any:
        """A copy of one world as ``MjData``, its kinematics computed, for pictures or for any ``mj_`` function."""

    def state_dict(self) -> Dict[str, Any]:
        """Physics state, fields handed out, randomised model fields and marks of diverged worlds, as tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``; bit for bit where the engine is deterministic."""

    def close(self) -> None:
        """Release the worker threads and the worlds."""


WARNINGS = ("contact_buffer_full", "constraint_buffer_full", "bad_inertia")
"""Keys of :meth:`Engine.warnings`: contacts or constraints that were dropped because there was no room for them, and
mass matrices that could not be factorised. The simulation goes on, less exactly."""
