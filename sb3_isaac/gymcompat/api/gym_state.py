"""Gym's calls on state and control tensors."""

from __future__ import annotations

from typing import Callable, Optional

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import rotate
from sb3_isaac.gymcompat.api.gym_assets import checked
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import CoordinateSpace
from sb3_isaac.gymcompat.types.structs import Tensor


def _acquire(kind: str) -> Callable[..., Tensor]:
    def acquire(self: "StateCalls", sim: Sim) -> Tensor:
        return Tensor(checked(f"acquire ({kind} tensor)", "sim", sim, Sim).running("acquire").tensors.acquire(kind))

    acquire.__doc__ = f"The {kind} tensor (see ``tensors``), the same each time."
    return acquire


def _refresh(kind: str) -> Callable[..., bool]:
    def refresh(self: "StateCalls", sim: Sim) -> bool:
        sim.running("refresh").tensors.refresh(kind)
        return True

    refresh.__doc__ = f"Write the physics' present state into the {kind} tensor."
    return refresh


def torch_of(call: str, argument: str, tensor: Tensor) -> torch.Tensor:
    """The torch tensor of a handle."""
    if not isinstance(tensor, Tensor) or tensor.torch is None:
        raise UserError(f"{call}: {argument} is a {type(tensor).__name__}: give gymtorch.unwrap_tensor(tensor).")
    return tensor.torch


class StateCalls:
    """Acquire, refresh, set."""

    acquire_actor_root_state_tensor = _acquire("root")
    acquire_dof_state_tensor = _acquire("dof")
    acquire_rigid_body_state_tensor = _acquire("body")
    acquire_net_contact_force_tensor = _acquire("contact")
    refresh_actor_root_state_tensor = _refresh("root")
    refresh_dof_state_tensor = _refresh("dof")
    refresh_rigid_body_state_tensor = _refresh("body")
    refresh_net_contact_force_tensor = _refresh("contact")

    def set_actor_root_state_tensor(self, sim: Sim, states: Tensor) -> bool:
        """Push the roots of all actors."""
        return self._set_roots("set_actor_root_state_tensor", sim, states)

    def set_actor_root_state_tensor_indexed(self, sim: Sim, states: Tensor, indices: Tensor, count: int) -> bool:
        """Push the roots of the listed actors; `states` holds all rows."""
        return self._set_roots("set_actor_root_state_tensor_indexed", sim, states, indices, count)

    def set_dof_state_tensor(self, sim: Sim, states: Tensor) -> bool:
        """Push the joints of all actors."""
        return self._set_dofs("set_dof_state_tensor", sim, states)

    def set_dof_state_tensor_indexed(self, sim: Sim, states: Tensor, indices: Tensor, count: int) -> bool:
        """Push the joints of the listed actors; `states` holds all rows."""
        return self._set_dofs("set_dof_state_tensor_indexed", sim, states, indices, count)

    def set_dof_actuation_force_tensor(self, sim: Sim, forces: Tensor) -> bool:
        """Efforts of all joints, N·m or N, until they are set again."""
        return self._control("set_dof_actuation_force_tensor", sim, forces, "effort")

    def set_dof_actuation_force_tensor_indexed(self, sim: Sim, forces: Tensor, indices: Tensor, count: int) -> bool:
        """Efforts of the joints of the listed actors."""
        return self._control("set_dof_actuation_force_tensor_indexed", sim, forces, "effort", indices, count)

    def set_dof_position_target_tensor(self, sim: Sim, targets: Tensor) -> bool:
        """Position targets of all joints, rad or m."""
        return self._control("set_dof_position_target_tensor", sim, targets, "pos_target")

    def set_dof_position_target_tensor_indexed(self, sim: Sim, targets: Tensor, indices: Tensor, count: int) -> bool:
        """Position targets of the joints of the listed actors."""
        return self._control("set_dof_position_target_tensor_indexed", sim, targets, "pos_target", indices, count)

    def set_dof_velocity_target_tensor(self, sim: Sim, targets: Tensor) -> bool:
        """Velocity targets of all joints, rad/s or m/s."""
        return self._control("set_dof_velocity_target_tensor", sim, targets, "vel_target")

    def set_dof_velocity_target_tensor_indexed(self, sim: Sim, targets: Tensor, indices: Tensor, count: int) -> bool:
        """Velocity targets of the joints of the listed actors."""
        return self._control("set_dof_velocity_target_tensor_indexed", sim, targets, "vel_target", indices, count)

    def apply_rigid_body_force_tensors(self, sim: Sim, forceTensor: Optional[Tensor] = None,
                                       torqueTensor: Optional[Tensor] = None,
                                       space: int = CoordinateSpace.ENV_SPACE) -> bool:
        """Forces N at the bodies' centres of mass and torques N·m, for the next ``simulate`` only.

        In ``LOCAL_SPACE`` they are in each body's frame.
        """
        running = sim.running("apply_rigid_body_force_tensors")
        bodies = torch.from_numpy(running.scene.bodies.astype("int64"))
        for start, given, argument in ((0, forceTensor, "forceTensor"), (3, torqueTensor, "torqueTensor")):
            if given is not None:
                values = running.tensors.rows("apply_rigid_body_force_tensors", torch_of(
                    "apply_rigid_body_force_tensors", argument, given), "body", 3).double()
                if space == CoordinateSpace.LOCAL_SPACE:
                    values = rotate(running.engine.live("xquat")[:, bodies], values)
                running.body_force[:, bodies, start:start + 3] = values
                running.pushed = True
        return True

    def _set_roots(self, call: str, sim: Sim, states: Tensor, indices: Optional[Tensor] = None,
                   count: int = 0) -> bool:
        tensors = checked(call, "sim", sim, Sim).running(call).tensors
        rows = tensors.rows(call, torch_of(call, "states", states), "root")
        tensors.set_roots(rows, self._listed(call, sim, indices, count))
        return True

    def _set_dofs(self, call: str, sim: Sim, states: Tensor, indices: Optional[Tensor] = None, count: int = 0) -> bool:
        tensors = checked(call, "sim", sim, Sim).running(call).tensors
        rows = tensors.rows(call, torch_of(call, "states", states), "dof")
        tensors.set_dofs(rows, self._listed(call, sim, indices, count))
        return True

    def _control(self, call: str, sim: Sim, values: Tensor, what: str, indices: Optional[Tensor] = None,
                 count: int = 0) -> bool:
        running = checked(call, "sim", sim, Sim).running(call)
        rows = running.tensors.rows(call, torch_of(call, "values", values), "dof", 1)[..., 0]
        actors = self._listed(call, sim, indices, count)
        if what == "effort":
            running.set_effort(rows, actors)
        else:
            running.set_target(getattr(running, what), rows, actors)
        return True

    def _listed(self, call: str, sim: Sim, indices: Optional[Tensor], count: int) -> Optional[torch.Tensor]:
        if indices is None:
            return None
        return sim.running(call).tensors.actors(call, torch_of(call, "indices", indices), int(count))
