"""The state of all environments as Isaac Gym's tensors.

Rules: each tensor has one address for good; only ``refresh`` writes it, only ``set_*`` and ``apply`` push into the
physics, and stepping touches neither. Rows are those of environment 0, then 1, ...; within an environment those of its
actors in the order of their creation.

========= ============ ====================================================================================
tensor    shape        a row
========= ============ ====================================================================================
root      (N·A, 13)    position m, quaternion xyzw, linear m/s and angular velocity rad/s, world
dof       (N·D, 2)     position rad or m, velocity
body      (N·B, 13)    as root, of each body's frame
contact   (N·B, 3)     net contact force N on the body, world, last substep
========= ============ ====================================================================================

"World" is the environment's own world, whose origin is the environment's.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Tuple, Union

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import rotate, rotate_inverse, wxyz_from_xyzw, xyzw_from_wxyz
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.scene import Scene

WIDTHS = {"root": 13, "dof": 2, "body": 13, "contact": 3}
Index = Union[slice, torch.Tensor]


def columns(ids: np.ndarray) -> Index:
    """An index of these columns: a slice where they are in a row, which is many times faster."""
    if len(ids) and (np.diff(ids) == 1).all():
        return slice(int(ids[0]), int(ids[0]) + len(ids))
    return torch.from_numpy(np.asarray(ids, dtype=np.int64))


class StateTensors:
    """The four tensors, allocated when they are first acquired."""

    def __init__(self, engine: CpuEngine, scene: Scene, actor_dofs: List[int]) -> None:
        self._engine, self._scene = engine, scene
        self.num_envs, self.num_actors = engine.num_worlds, len(scene.roots)
        self.counts = {"root": self.num_actors, "dof": len(scene.joints), "body": len(scene.bodies),
                       "contact": len(scene.bodies)}
        ends = np.cumsum(actor_dofs)
        self.actor_dofs = [slice(int(end - n), int(end)) for end, n in zip(ends, actor_dofs)]
        self._qpos, self._qvel = engine.live("qpos"), engine.live("qvel")
        self._qpos_columns, self._qvel_columns = columns(scene.qpos), columns(scene.qvel)
        self._tensors: Dict[str, torch.Tensor] = {}
        self._contact_columns = columns((scene.contact[:, None] + np.arange(3)).ravel())
        self._forces: Optional[torch.Tensor] = None
        self._kinematics_lag = False
        self._read: Dict[str, Callable[[torch.Tensor], None]] = {
            "root": self._read_roots, "dof": self._read_dofs, "body": self._read_bodies, "contact": self._read_contacts}

    def acquire(self, kind: str) -> torch.Tensor:
        """The tensor, filled with the present state when it is acquired for the first time."""
        if kind not in self._tensors:
            self._tensors[kind] = torch.zeros(self.num_envs * self.counts[kind], WIDTHS[kind])
            self.refresh(kind)
        return self._tensors[kind]

    def refresh(self, kind: str) -> None:
        """Write the physics' state into the tensor; does nothing for a tensor that was never acquired."""
        if kind in self._tensors:
            self._read[kind](self._tensors[kind].view(self.num_envs, self.counts[kind], WIDTHS[kind]))

    def _read_dofs(self, out: torch.Tensor) -> None:
        out[..., 0] = self._qpos[:, self._qpos_columns]
        out[..., 1] = self._qvel[:, self._qvel_columns]

    def _read_roots(self, out: torch.Tensor) -> None:
        for a, (qpos, qvel, body) in enumerate(zip(self._scene.root_qpos, self._scene.root_qvel, self._scene.roots)):
            if qpos >= 0:
                pos, quat = self._qpos[:, qpos:qpos + 3], self._qpos[:, qpos + 3:qpos + 7]
                out[:, a, 7:10] = self._qvel[:, qvel:qvel + 3]
                # A free joint's angular velocity is in the body's frame.
                out[:, a, 10:13] = rotate(quat, self._qvel[:, qvel + 3:qvel + 6])
            else:
                pos, quat = (self._engine.model_field(name)[:, body] for name in ("body_pos", "body_quat"))
            out[:, a, :3], out[:, a, 3:7] = pos, xyzw_from_wxyz(quat)

    def stepped(self) -> None:
        """To be called after each step: body poses and velocities are computed when they are read."""
        self._forces, self._kinematics_lag = None, True

    def _catch_up(self) -> None:
        """Bring the bodies up to the last step. That overwrites the engine's forces, so they are kept here."""
        if self._kinematics_lag:
            if "contact" in self._tensors:
                self._forces = self._engine.live("sensordata")[:, self._contact_columns].float()
            self._engine.update()
            self._kinematics_lag = False

    def _read_bodies(self, out: torch.Tensor) -> None:
        self._catch_up()
        ids = columns(self._scene.bodies)
        pos, quat = self._engine.live("xpos")[:, ids], self._engine.live("xquat")[:, ids]
        # cvel is the velocity of the point of the body that is at the centre of mass of the body's tree.
        velocity = self._engine.live("cvel")[:, ids]
        tree = torch.from_numpy(self._scene.model.body_rootid[self._scene.bodies].astype(np.int64))
        arm = pos - self._engine.live("subtree_com")[:, tree]
        out[..., :3], out[..., 3:7] = pos, xyzw_from_wxyz(quat)
        out[..., 7:10] = velocity[..., 3:] + torch.linalg.cross(velocity[..., :3], arm)
        out[..., 10:13] = velocity[..., :3]

    def _read_contacts(self, out: torch.Tensor) -> None:
        forces = self._engine.live("sensordata")[:, self._contact_columns] if self._forces is None else self._forces
        out.copy_(forces.view_as(out))

    def rows(self, call: str, values: torch.Tensor, kind: str, width: Optional[int] = None) -> torch.Tensor:
        """A client's tensor as (N, count, width), its shape, type and device checked."""
        width = WIDTHS[kind] if width is None else width
        count = self.num_envs * self.counts[kind]
        if values.device != self._engine.device:
            raise UserError(f"{call}: the tensor is on {values.device} and the physics on {self._engine.device}: run "
                            "the program with its simulation device set to 'cpu'.")
        if values.dtype != torch.float32:
            raise UserError(f"{call}: the tensor holds {values.dtype}: give torch.float32.")
        wide = values.dim() > 1 and width > 1
        if values.numel() != count * width or (wide and values.shape[-1] != width):
            shape = f"({count}, {width})" if width > 1 else f"({count},) or ({self.num_envs}, {self.counts[kind]})"
            raise UserError(f"{call}: the tensor has shape {tuple(values.shape)}: give all rows, {shape}.")
        return values.reshape(self.num_envs, self.counts[kind], width)

    def actors(self, call: str, index: torch.Tensor, count: int) -> torch.Tensor:
        """The first `count` actor indices as int64, checked."""
        if index.dtype != torch.int32:
            raise UserError(f"{call}: the index tensor holds {index.dtype}: give actor indices as torch.int32, "
                            "indices.to(torch.int32).")
        if index.device != self._engine.device:
            raise UserError(f"{call}: the index tensor is on {index.device} and the physics on {self._engine.device}: "
                            "run the program with its simulation device set to 'cpu'.")
        if not 0 <= count <= index.numel():
            raise UserError(f"{call}: {count} indices were announced and the index tensor holds {index.numel()}: "
                            "give len(indices).")
        chosen = index.reshape(-1)[:count].long()
        most = self.num_envs * self.num_actors
        if count and not 0 <= int(chosen.min()) <= int(chosen.max()) < most:
            raise UserError(f"{call}: actor index {int(chosen.min())} or {int(chosen.max())} does not exist: "
                            f"the simulation has actors 0 to {most - 1}.")
        return chosen

    def _before_push(self) -> None:
        """What is pushed shows in the body tensor after the next step only: bodies are those of the last one."""
        if "body" in self._tensors:
            self._catch_up()

    def set_dofs(self, state: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Push joint states (N, D, 2), of the listed actors only if any are listed."""
        self._before_push()
        if actors is None:
            self._qpos[:, self._qpos_columns] = state[..., 0].double()
            self._qvel[:, self._qvel_columns] = state[..., 1].double()
            return
        for slot, envs in self.split(actors):
            part = self.actor_dofs[slot]
            rows = envs[:, None]
            self._qpos[rows, torch.from_numpy(self._scene.qpos[part].astype(np.int64))] = state[envs, part, 0].double()
            self._qvel[rows, torch.from_numpy(self._scene.qvel[part].astype(np.int64))] = state[envs, part, 1].double()

    def set_roots(self, state: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Push root states (N, A, 13), of the listed actors only if any are listed."""
        self._before_push()
        everyone = torch.arange(self.num_envs * self.num_actors)
        for slot, envs in self.split(everyone if actors is None else actors):
            row = state[envs, slot].double()
            pos, quat = row[:, :3], wxyz_from_xyzw(row[:, 3:7])
            qpos, qvel, body = (int(v[slot]) for v in (self._scene.root_qpos, self._scene.root_qvel, self._scene.roots))
            if qpos >= 0:
                self._qpos[envs, qpos:qpos + 7] = torch.cat([pos, quat], dim=1)
                self._qvel[envs, qvel:qvel + 6] = torch.cat([row[:, 7:10], rotate_inverse(quat, row[:, 10:13])], dim=1)
            else:
                self.place(body, envs, pos, quat)

    def place(self, body: int, envs: torch.Tensor, pos: torch.Tensor, quat: torch.Tensor) -> None:
        """Put a fixed root somewhere else; its pose is part of the model."""
        for name, values in (("body_pos", pos), ("body_quat", quat)):
            field = self._engine.model_field(name)
            if not torch.equal(field[envs, body], values.float()):
                field[envs, body] = values.float()
                mask = torch.zeros(self.num_envs, dtype=torch.bool)
                mask[envs] = True
                self._engine.set_model_field(name, field, mask)

    def split(self, actors: torch.Tensor) -> List[Tuple[int, torch.Tensor]]:
        """Actor indices as (place in the environment, environments)."""
        if self.num_actors == 1:
            return [(0, actors)]
        slots = actors % self.num_actors
        return [(a, actors[slots == a] // self.num_actors) for a in range(self.num_actors) if bool((slots == a).any())]
