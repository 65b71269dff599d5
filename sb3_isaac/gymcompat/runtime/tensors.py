"""The state of all environments as Isaac Gym's tensors.

Rules: each tensor has one address for good; only ``refresh`` writes it, only ``set_*`` and ``apply`` push into the
physics, and stepping touches neither. Rows are those of environment 0, then 1, ...; within an environment those of its
actors in the order of their creation.

========= ============ ====================================================================================
tensor    shape        a row
========= ============ ====================================================================================
root      (A, 13)      position m, quaternion xyzw, linear m/s and angular velocity rad/s, world
dof       (D, 2)       position rad or m, velocity
body      (B, 13)      as root, of each body's frame
contact   (B, 3)       net contact force N on the body, world, last substep
dof_force (D, 1)       force N·m or N of drives and efforts, last substep
sensor    (F, 6)       force N and torque N·m of each force sensor, last substep
========= ============ ====================================================================================

A, D, B and F count the actors, joints, bodies and force sensors of all environments. "World" is the environment's own
world, whose origin is the environment's.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.layout import Layout
from sb3_isaac.gymcompat.runtime.group import Group

WIDTHS = {"root": 13, "dof": 2, "body": 13, "contact": 3, "dof_force": 1, "sensor": 6}
ROWS = {"root": "actors", "dof": "dofs", "body": "bodies", "contact": "bodies", "dof_force": "dofs",
        "sensor": "sensors"}
Matrix = Callable[[Group], torch.Tensor]


class Tensors:
    """The tensors, allocated when they are first acquired."""

    def __init__(self, groups: Sequence[Group], layout: Layout) -> None:
        self._groups, self._layout = groups, layout
        self._tensors: Dict[str, torch.Tensor] = {}
        self._matrices: Dict[Tuple[str, str], torch.Tensor] = {}
        self._rows: List[Dict[str, torch.Tensor]] = [{} for _ in groups]
        self._actors: Optional[torch.Tensor] = None

    def acquire(self, kind: str) -> torch.Tensor:
        """The tensor, filled with the present state when it is acquired for the first time."""
        if kind not in self._tensors:
            shape = (self._layout.total(ROWS[kind]), WIDTHS[kind])
            self._tensors[kind] = torch.zeros(shape)
            for group in self._groups:
                group.states.wanted.add(kind)
            self.refresh(kind)
        return self._tensors[kind]

    def refresh(self, kind: str) -> None:
        """Write the physics' state into the tensor; does nothing for a tensor that was never acquired."""
        if kind not in self._tensors:
            return
        tensor = self._tensors[kind]
        for index, group in enumerate(self._groups):
            part = self.part(index, kind, tensor)
            group.states.read(kind, part)
            if len(self._groups) > 1:
                tensor[self._group_rows(index, ROWS[kind])] = part

    def part(self, index: int, kind: str, values: torch.Tensor) -> torch.Tensor:
        """The rows of one group's environments as (N, rows, width): a view where all environments are one group."""
        if len(self._groups) == 1:
            return values.view(self._groups[0].num_worlds, -1, values.shape[-1])
        return values[self._group_rows(index, ROWS[kind])]

    def _group_rows(self, index: int, rows: str) -> torch.Tensor:
        """(N, count) rows of one group's environments."""
        if rows not in self._rows[index]:
            envs, layout = self._groups[index].envs, self._layout
            starts = torch.tensor([layout.start(env.index, rows) for env in envs])
            self._rows[index][rows] = starts[:, None] + torch.arange(layout.count(envs[0].index, rows))
        return self._rows[index][rows]

    # ---- Jacobians and mass matrices

    def acquire_matrix(self, kind: str, name: str, compute: Matrix) -> torch.Tensor:
        """What `compute` gives for each group, by environment (N, ...), under the actor's name."""
        if (kind, name) not in self._matrices:
            first = compute(self._groups[0])
            total = sum(group.num_worlds for group in self._groups)
            self._matrices[kind, name] = torch.zeros(total, *first.shape[1:])
            self.refresh_matrix(kind, name, compute)
        return self._matrices[kind, name]

    def acquired_matrices(self, kind: str) -> List[str]:
        """The names of the actors whose matrices of this kind were acquired."""
        return [name for k, name in self._matrices if k == kind]

    def refresh_matrix(self, kind: str, name: str, compute: Matrix) -> None:
        """Compute it anew."""
        for group in self._groups:
            self._matrices[kind, name][[env.index for env in group.envs]] = compute(group)

    # ---- what clients give

    def rows(self, call: str, values: torch.Tensor, kind: str, width: Optional[int] = None) -> torch.Tensor:
        """A client's tensor as (rows, width), its shape, type and device checked."""
        width = WIDTHS[kind] if width is None else width
        count = self._layout.total(ROWS[kind])
        if values.device.type != "cpu":
            raise UserError(f"{call}: the tensor is on {values.device} and the physics on cpu: run "
                            "the program with its simulation device set to 'cpu'.")
        if values.dtype != torch.float32:
            raise UserError(f"{call}: the tensor holds {values.dtype}: give torch.float32.")
        wide = values.dim() > 1 and width > 1
        if values.numel() != count * width or (wide and values.shape[-1] != width):
            shape = f"({count}, {width})" if width > 1 else f"({count},)"
            raise UserError(f"{call}: the tensor has shape {tuple(values.shape)}: give all rows, {shape}.")
        return values.reshape(count, width)

    def actors(self, call: str, index: torch.Tensor, count: int) -> torch.Tensor:
        """The first `count` actor indices as int64, checked."""
        if index.dtype != torch.int32:
            raise UserError(f"{call}: the index tensor holds {index.dtype}: give actor indices as torch.int32, "
                            "indices.to(torch.int32).")
        if index.device.type != "cpu":
            raise UserError(f"{call}: the index tensor is on {index.device} and the physics on cpu: "
                            "run the program with its simulation device set to 'cpu'.")
        if not 0 <= count <= index.numel():
            raise UserError(f"{call}: {count} indices were announced and the index tensor holds {index.numel()}: "
                            "give len(indices).")
        chosen = index.reshape(-1)[:count].long()
        most = self._layout.total("actors")
        if count and not 0 <= int(chosen.min()) <= int(chosen.max()) < most:
            raise UserError(f"{call}: actor index {int(chosen.min())} or {int(chosen.max())} does not exist: "
                            f"the simulation has actors 0 to {most - 1}.")
        return chosen

    def split(self, actors: torch.Tensor) -> List[Tuple[int, int, torch.Tensor]]:
        """Actor indices as (group, place in the environment, worlds of the group)."""
        first = self._groups[0]
        if len(self._groups) == 1 and first.num_actors == 1:
            return [(0, 0, actors)]
        if self._actors is None:
            self._actors = torch.zeros(self._layout.total("actors"), 3, dtype=torch.int64)
            for index, group in enumerate(self._groups):
                rows = self._group_rows(index, "actors")
                self._actors[rows, 0], self._actors[rows, 1] = index, torch.arange(group.num_actors)
                self._actors[rows, 2] = torch.arange(group.num_worlds)[:, None]
        where = self._actors[actors]
        return [(index, slot, where[chosen, 2]) for index, group in enumerate(self._groups)
                for slot in range(group.num_actors)
                if bool((chosen := (where[:, 0] == index) & (where[:, 1] == slot)).any())]

    # ---- pushing

    def set_dofs(self, values: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Push joint states (D, 2), of the listed actors only if any are listed."""
        self._before_push()
        if actors is None:
            for index, group in enumerate(self._groups):
                group.states.set_dofs(self.part(index, "dof", values))
            return
        for index, slot, worlds in self.split(actors):
            self._groups[index].states.set_dofs(self.part(index, "dof", values), slot, worlds)

    def set_roots(self, values: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Push root states (A, 13), of the listed actors only if any are listed."""
        self._before_push()
        for index, slot, worlds in self.split(torch.arange(len(values)) if actors is None else actors):
            self._groups[index].states.set_root(self.part(index, "root", values), slot, worlds)

    def set_control(self, what: str, values: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Efforts (``effort``) or targets (``pos_target``, ``vel_target``) of the joints (D, 1)."""
        if actors is None:
            for index, group in enumerate(self._groups):
                group.set_control(what, self.part(index, "dof", values)[..., 0])
            return
        for index, slot, worlds in self.split(actors):
            self._groups[index].set_control(what, self.part(index, "dof", values)[..., 0], slot, worlds)

    def _before_push(self) -> None:
        for group in self._groups:
            group.states.before_push()
