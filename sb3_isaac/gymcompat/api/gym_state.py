"""Gym's calls on state and control tensors."""

from __future__ import annotations

from typing import Callable, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.gymcompat.api.gym_assets import checked
from sb3_isaac.gymcompat.runtime.group import Group
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


def _matrix(sim: Sim, kind: str, name: str) -> Callable[[Group], torch.Tensor]:
    """What computes the matrices (N, ...) of the actor `name` of a group."""
    def compute(group: Group) -> torch.Tensor:
        names = [actor.name for actor in group.envs[0].actors]
        if name not in names:
            raise unknown("actor", name, names, where=f"acquire_{kind}_tensor")
        made: torch.Tensor = getattr(group.states, kind)(names.index(name))
        return made

    return compute


def _acquire_matrix(kind: str) -> Callable[..., Tensor]:
    def acquire(self: "StateCalls", sim: Sim, name: str) -> Tensor:
        tensors = checked(f"acquire_{kind}_tensor", "sim", sim, Sim).running("acquire").tensors
        return Tensor(tensors.acquire_matrix(kind, name, _matrix(sim, kind, name)))

    acquire.__doc__ = f"The {kind} (N, ...) of the actor of that name (see ``States.{kind}``), the same each time."
    return acquire


def _refresh_matrices(kind: str) -> Callable[..., bool]:
    def refresh(self: "StateCalls", sim: Sim) -> bool:
        tensors = sim.running("refresh").tensors
        for name in tensors.acquired_matrices(kind):
            tensors.refresh_matrix(kind, name, _matrix(sim, kind, name))
        return True

    refresh.__doc__ = f"Compute every acquired {kind} anew."
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
    acquire_dof_force_tensor = _acquire("dof_force")
    acquire_force_sensor_tensor = _acquire("sensor")
    refresh_actor_root_state_tensor = _refresh("root")
    refresh_dof_state_tensor = _refresh("dof")
    refresh_rigid_body_state_tensor = _refresh("body")
    refresh_net_contact_force_tensor = _refresh("contact")
    refresh_dof_force_tensor = _refresh("dof_force")
    refresh_force_sensor_tensor = _refresh("sensor")
    acquire_jacobian_tensor = _acquire_matrix("jacobian")
    acquire_mass_matrix_tensor = _acquire_matrix("mass_matrix")
    refresh_jacobian_tensors = _refresh_matrices("jacobian")
    refresh_mass_matrix_tensors = _refresh_matrices("mass_matrix")

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
        call = "apply_rigid_body_force_tensors"
        self._push(call, sim, [(argument, given) for argument, given in (("forceTensor", forceTensor), (
            "torqueTensor", torqueTensor)) if given is not None], space)
        return True

    def apply_rigid_body_force_at_pos_tensors(self, sim: Sim, forceTensor: Tensor, posTensor: Optional[Tensor] = None,
                                              space: int = CoordinateSpace.ENV_SPACE) -> bool:
        """Forces N at positions m on the bodies, for the next ``simulate`` only; both in each body's frame in
        ``LOCAL_SPACE``."""
        given = [("forceTensor", forceTensor)] + ([("posTensor", posTensor)] if posTensor is not None else [])
        self._push("apply_rigid_body_force_at_pos_tensors", sim, given, space)
        return True

    @staticmethod
    def _push(call: str, sim: Sim, given: Sequence[Tuple[str, Tensor]], space: int) -> None:
        running = checked(call, "sim", sim, Sim).running(call)
        values = {name: running.tensors.rows(call, torch_of(call, name, tensor), "body", 3) for name, tensor in given}
        for index, group in enumerate(running.groups):
            group.push({name: running.tensors.part(index, "body", rows).double() for name, rows in values.items()},
                       space == CoordinateSpace.LOCAL_SPACE)

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
        tensors = checked(call, "sim", sim, Sim).running(call).tensors
        rows = tensors.rows(call, torch_of(call, "values", values), "dof", 1)
        tensors.set_control(what, rows, self._listed(call, sim, indices, count))
        return True

    def _listed(self, call: str, sim: Sim, indices: Optional[Tensor], count: int) -> Optional[torch.Tensor]:
        if indices is None:
            return None
        return sim.running(call).tensors.actors(call, torch_of(call, "indices", indices), int(count))
