"""The state of a group of environments, as Isaac Gym's tensors have it: read from, and written into, its worlds."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Set

import mujoco
import numpy as np
import torch

from sb3_isaac.contract.rotations import rotate, rotate_inverse, wxyz_from_xyzw, xyzw_from_wxyz
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.scene import Scene
from sb3_isaac.gymcompat.runtime.drives import columns

Read = Callable[[torch.Tensor], None]


class States:
    """N worlds with A actors, B bodies and D joints each (see :mod:`.tensors` for the kinds and their rows)."""

    def __init__(self, engine: CpuEngine, scene: Scene, actor_dofs: List[int], actor_bodies: List[int]) -> None:
        self._engine, self._scene, self.num_worlds = engine, scene, engine.num_worlds
        self.actor_dofs, self.actor_bodies = _slices(actor_dofs), _slices(actor_bodies)
        self._qpos, self._qvel = engine.live("qpos"), engine.live("qvel")
        self._qpos_columns, self._qvel_columns = columns(scene.qpos), columns(scene.qvel)
        self._contact_columns = columns((scene.contact[:, None] + np.arange(3)).ravel())
        self.wanted: Set[str] = set()
        """Kinds of which somebody has a tensor."""
        self._last_forces: Dict[str, torch.Tensor] = {}
        self._moves: Dict[int, torch.Tensor] = {}
        self._kinematics_lag = self._written = False
        self._last_bodies: Optional[torch.Tensor] = None
        self._read: Dict[str, Read] = {"root": self._read_roots, "dof": self._read_dofs, "body": self._read_bodies}
        self._forces: Dict[str, Callable[[], torch.Tensor]] = {
            "contact": self._contacts, "sensor": self._sensors, "dof_force": self._dof_forces}

    def read(self, kind: str, out: torch.Tensor) -> None:
        """Write the physics' state into `out` (N, rows, width)."""
        if kind in self._read:
            self._read[kind](out)
        else:
            last = self._last_forces.get(kind)
            out.copy_((self._forces[kind]() if last is None else last).view_as(out))

    def stepped(self) -> None:
        """To be called after each step: body poses and velocities are computed when they are read."""
        self._last_forces.clear()
        self._kinematics_lag, self._written, self._last_bodies = True, False, None

    def catch_up(self) -> None:
        """Bring the bodies up to the last step. That overwrites the engine's forces, so they are kept here."""
        if self._kinematics_lag:
            self._last_forces = {kind: self._forces[kind]() for kind in self.wanted & self._forces.keys()}
            self._engine.update()
            self._kinematics_lag = False

    def to_present(self) -> None:
        """Bring the bodies up to what was pushed since; the body tensor keeps to the last step, as it has to."""
        self.catch_up()
        if self._written:
            if "body" in self.wanted:
                self._last_bodies = self.bodies()
            self._engine.update()
            self._written = False

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

    def _read_bodies(self, out: torch.Tensor) -> None:
        self.catch_up()
        out.copy_(self.bodies() if self._last_bodies is None else self._last_bodies)

    def bodies(self) -> torch.Tensor:
        """(N, B, 13) rows of the bodies, as the engine has them now."""
        ids = columns(self._scene.bodies)
        pos, quat = self._engine.live("xpos")[:, ids], self._engine.live("xquat")[:, ids]
        return torch.cat([pos, xyzw_from_wxyz(quat), *self._velocity(self._scene.bodies, pos)], dim=-1)

    def _velocity(self, bodies: np.ndarray, points: torch.Tensor, field: str = "cvel") -> List[torch.Tensor]:
        """[linear, angular] velocity, or what else `field` is, of points (N, b, 3) m on bodies, world."""
        # It is that of the point of the body that is at the centre of mass of the body's tree.
        moved = self._engine.live(field)[:, columns(bodies)]
        tree = torch.from_numpy(self._scene.model.body_rootid[bodies].astype(np.int64))
        arm = points - self._engine.live("subtree_com")[:, tree]
        return [moved[..., 3:] + torch.linalg.cross(moved[..., :3], arm), moved[..., :3]]

    # ---- forces in the last substep

    def _contacts(self) -> torch.Tensor:
        return self._engine.live("sensordata")[:, self._contact_columns].float()

    def _dof_forces(self) -> torch.Tensor:
        """(N, D) N·m or N: drives and efforts; at joints with stiff drives contacts and limits too."""
        live, where = self._engine.live, self._qvel_columns
        stiff = torch.from_numpy(self._scene.stiff >= 0)
        forces = live("qfrc_actuator")[:, where] + live("qfrc_applied")[:, where]
        return (forces + live("qfrc_constraint")[:, where] * stiff).float()

    def _sensors(self) -> torch.Tensor:
        """(N, F, 6) force N and torque N·m of the force sensors.

        All that acts on a body is its mass times the acceleration of its centre of mass, and the rate of its angular
        momentum; contacts and applied forces are MuJoCo's ``cfrc_ext``; the rest is the difference.
        """
        live, model = self._engine.live, self._scene.model
        out = torch.zeros(self.num_worlds, len(self._scene.sensors), 6)
        gravity = self._engine.model_field("opt.gravity").double()
        mass, inertia = (self._engine.model_field(name).double() for name in ("body_mass", "body_inertia"))
        for i, (body, sensor) in enumerate(self._scene.sensors):
            one, com = np.array([body]), live("xipos")[:, body]
            velocity, spin = (v[:, 0] for v in self._velocity(one, com[:, None]))
            acceleration, turn = (v[:, 0] for v in self._velocity(one, com[:, None], "cacc"))
            acceleration = acceleration + torch.linalg.cross(spin, velocity) + gravity
            axes = live("ximat")[:, body].view(-1, 3, 3)
            tensor = axes @ torch.diag_embed(inertia[:, body]) @ axes.transpose(1, 2)
            force = mass[:, body, None] * acceleration
            torque = (tensor @ turn[..., None])[..., 0] + torch.linalg.cross(spin, (tensor @ spin[..., None])[..., 0])
            centre = live("subtree_com")[:, int(model.body_rootid[body])]
            outer = live("cfrc_ext")[:, body]
            outer_torque = outer[:, :3] + torch.linalg.cross(centre - com, outer[:, 3:])
            share = float(sensor.contacts) - float(sensor.others)
            force = sensor.others * force + share * outer[:, 3:]
            torque = sensor.others * torque + share * outer_torque
            quat = live("xquat")[:, body]
            place = live("xpos")[:, body] + rotate(quat, torch.tensor(sensor.position).double().expand(len(quat), 3))
            torque = torque + torch.linalg.cross(com - place, force)
            if not sensor.world:
                frame = torch.tensor(sensor.quat).double().expand(len(quat), 4)
                force, torque = (rotate_inverse(frame, rotate_inverse(quat, v)) for v in (force, torque))
            out[:, i] = torch.cat([force, torque], dim=1)
        return out

    # ---- Jacobians and mass matrices, of the present state

    def _root_and_joints(self, slot: int) -> List[int]:
        """An actor's degrees of freedom: its free root's six, then its joints'."""
        root, joints = self._scene.root_qvel[slot], self._scene.qvel[self.actor_dofs[slot]]
        return [*(range(root, root + 6) if root >= 0 else ()), *(int(j) for j in joints)]

    def _root_turn(self, slot: int, size: int) -> torch.Tensor:
        """(N, size, size): from velocities with the root's angular one in the world to MuJoCo's, in its body."""
        turn, root = torch.eye(size).double().repeat(self.num_worlds, 1, 1), self._scene.root_qpos[slot]
        if root >= 0:
            quat = self._qpos[:, root + 3:root + 7]
            axes = torch.eye(3).double()
            turn[:, 3:6, 3:6] = torch.stack([rotate_inverse(quat, axis.expand(len(quat), 3)) for axis in axes], dim=-1)
        return turn

    def jacobian(self, slot: int) -> torch.Tensor:
        """(N, b, 6, d): linear, then angular velocity of each body's origin in the world for each velocity.

        Velocities d are a free root's six in the world, then the joints'; a fixed root is left out of the bodies b.
        """
        self.catch_up()
        bodies, dofs = self._scene.bodies[self.actor_bodies[slot]], self._root_and_joints(slot)
        bodies = bodies if self._scene.root_qvel[slot] >= 0 else bodies[1:]
        model, live = self._scene.model, self._engine.live
        if slot not in self._moves:
            self._moves[slot] = _moved_by(model, bodies, dofs)
        turn, push = live("cdof")[:, dofs].split(3, dim=-1)
        tree = torch.from_numpy(model.body_rootid[bodies].astype(np.int64))
        arm = live("xpos")[:, columns(bodies)] - live("subtree_com")[:, tree]
        linear = push[:, None] + torch.linalg.cross(turn[:, None].expand(-1, len(bodies), -1, -1),
                                                    arm[:, :, None].expand(-1, -1, len(dofs), -1))
        both = torch.cat([linear, turn[:, None].expand_as(linear)], dim=-1) * self._moves[slot][..., None]
        return (both.transpose(2, 3) @ self._root_turn(slot, len(dofs))[:, None]).float()

    def mass_matrix(self, slot: int) -> torch.Tensor:
        """(N, d, d) kg, kg·m or kg·m², for the velocities of ``jacobian``."""
        self.catch_up()
        dofs, model, sparse = self._root_and_joints(slot), self._scene.model, self._engine.live("M")
        full = torch.zeros(self.num_worlds, model.nv, model.nv).double()
        row = np.repeat(np.arange(model.nv), model.M_rownnz)
        full[:, row, model.M_colind] = sparse
        full[:, model.M_colind, row] = sparse
        turn = self._root_turn(slot, len(dofs))
        return (turn.transpose(1, 2) @ full[:, dofs][:, :, dofs] @ turn).float()

    # ---- pushing

    def before_push(self) -> None:
        """What is pushed shows in the body tensor after the next step only: bodies are those of the last one."""
        if "body" in self.wanted:
            self.catch_up()

    def set_dofs(self, state: torch.Tensor, slot: Optional[int] = None, envs: Optional[torch.Tensor] = None) -> None:
        """Push joint states (N, D, 2), or those of one actor in some worlds."""
        self._written = True
        if slot is None or envs is None:
            self._qpos[:, self._qpos_columns] = state[..., 0].double()
            self._qvel[:, self._qvel_columns] = state[..., 1].double()
            return
        part, rows = self.actor_dofs[slot], envs[:, None]
        self._qpos[rows, torch.from_numpy(self._scene.qpos[part].astype(np.int64))] = state[envs, part, 0].double()
        self._qvel[rows, torch.from_numpy(self._scene.qvel[part].astype(np.int64))] = state[envs, part, 1].double()

    def set_root(self, state: torch.Tensor, slot: int, envs: torch.Tensor) -> None:
        """Push root states (N, A, 13) of one actor in some worlds."""
        self._written = True
        row = state[envs, slot].double()
        pos, quat = row[:, :3], wxyz_from_xyzw(row[:, 3:7])
        qpos, qvel, body = (int(v[slot]) for v in (self._scene.root_qpos, self._scene.root_qvel, self._scene.roots))
        if qpos >= 0:
            self._qpos[envs, qpos:qpos + 7] = torch.cat([pos, quat], dim=1)
            self._qvel[envs, qvel:qvel + 6] = torch.cat([row[:, 7:10], rotate_inverse(quat, row[:, 10:13])], dim=1)
        else:
            self._place(body, envs, pos, quat)

    def _place(self, body: int, envs: torch.Tensor, pos: torch.Tensor, quat: torch.Tensor) -> None:
        """Put a fixed root somewhere else; its pose is part of the model."""
        for name, values in (("body_pos", pos), ("body_quat", quat)):
            field = self._engine.model_field(name)
            if not torch.equal(field[envs, body], values.float()):
                field[envs, body] = values.float()
                mask = torch.zeros(self.num_worlds, dtype=torch.bool)
                mask[envs] = True
                self._engine.set_model_field(name, field, mask)


def _slices(counts: List[int]) -> List[slice]:
    ends = np.cumsum(counts)
    return [slice(int(end - n), int(end)) for end, n in zip(ends, counts)]


def _moved_by(model: mujoco.MjModel, bodies: np.ndarray, dofs: Sequence[int]) -> torch.Tensor:
    """(b, d) bool: which bodies a degree of freedom moves, those below it in the tree."""
    moves = np.zeros((len(bodies), len(dofs)), dtype=bool)
    for i, body in enumerate(bodies):
        while body:
            first = model.body_dofadr[body]
            moves[i] |= np.isin(dofs, np.arange(first, first + model.body_dofnum[body]))
            body = model.body_parentid[body]
    return torch.from_numpy(moves)
