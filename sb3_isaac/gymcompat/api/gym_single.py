"""Gym's calls about the state of one actor or one body at a time, by arrays: for looking and for setting up."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.runtime.group import Group
from sb3_isaac.gymcompat.types.enums import STATE_ALL, STATE_POS, STATE_VEL
from sb3_isaac.gymcompat.types.values import DofState, Quat, RigidBodyState, Transform, Vec3


def _body_vector(first: int) -> Callable[..., Vec3]:
    def get(self: "SingleCalls", env: Env, handle: int) -> Vec3:
        return Vec3(*self._bodies(env)[int(handle), first:first + 3].tolist())

    get.__doc__ = f"Three numbers of a body's row of the rigid body state tensor, from place {first}."
    return get


def _target(name: str) -> Tuple[Callable[..., np.ndarray], Callable[..., bool]]:
    """The two methods of :class:`SingleCalls` that read and write the targets `name` of ``drives``."""
    def get(self: "SingleCalls", env: Env, handle: int) -> np.ndarray:
        """Targets of one actor's drives, one a joint: rad or m, of velocities a second."""
        group, row, dofs = self._joints(env, handle)
        targets: np.ndarray = getattr(group.drives, name)[row, dofs].numpy().copy()
        return targets

    def set_(self: "SingleCalls", env: Env, handle: int, targets: Any) -> bool:
        """Set the targets of one actor's drives, one a joint: rad or m, of velocities a second."""
        values = torch.from_numpy(_of_length("targets", np.array(targets, dtype=np.float32).reshape(-1), env, handle))

        def do() -> None:
            """At once, or when the simulation has been prepared: there are no tensors before."""
            group, row, dofs = self._joints(env, handle)
            getattr(group.drives, name)[row, dofs] = values

        env.sim.when_running(do)
        return True

    return get, set_


class SingleCalls:
    """What is set here holds from the next step on, as what the tensor calls set."""

    # ---- joints of one actor

    def get_actor_dof_states(self, env: Env, handle: int, flags: int = STATE_ALL) -> np.ndarray:
        """(D,) of ``DofState``: positions and velocities, whichever are asked for."""
        asset = env.actor("get_actor_dof_states", handle).asset
        states = np.zeros(asset.num_dofs, DofState.dtype)
        if not env.sim.is_prepared:
            states["pos"] = asset.start_dofs()
            return states
        group, row, dofs = self._joints(env, handle)
        rows = torch.zeros(group.num_worlds, len(group.scene.joints), 2)
        group.states.read("dof", rows)
        if flags & STATE_POS:
            states["pos"] = rows[row, dofs, 0]
        if flags & STATE_VEL:
            states["vel"] = rows[row, dofs, 1]
        return states

    def set_actor_dof_states(self, env: Env, handle: int, states: Any, flags: int = STATE_ALL) -> bool:
        """Positions and velocities, whichever are named."""
        if states is None:
            return False
        given = _of_length("states", np.array(states), env, handle)

        def do() -> None:
            """At once, or when the simulation has been prepared."""
            group, row, dofs = self._joints(env, handle)
            rows = torch.zeros(group.num_worlds, len(group.scene.joints), 2)
            group.states.read("dof", rows)
            for place, (name, flag) in enumerate((("pos", STATE_POS), ("vel", STATE_VEL))):
                if flags & flag:
                    values = given[name] if given.dtype.names else given.reshape(len(given), -1)[:, place]
                    rows[row, dofs, place] = torch.from_numpy(np.array(values, dtype=np.float32))
            group.states.before_push()
            group.states.set_dofs(rows, int(handle), torch.tensor([row]))

        env.sim.when_running(do)
        return True

    get_actor_dof_position_targets, set_actor_dof_position_targets = _target("pos_target")
    get_actor_dof_velocity_targets, set_actor_dof_velocity_targets = _target("vel_target")

    def apply_actor_dof_efforts(self, env: Env, handle: int, efforts: Any) -> bool:
        """Efforts of one actor's joints, N·m or N, until they are set again."""
        given = _of_length("efforts", np.array(efforts, dtype=np.float32).reshape(-1), env, handle)

        def do() -> None:
            group, row, dofs = self._joints(env, handle)
            values = torch.zeros(group.num_worlds, len(group.scene.joints))
            values[row, dofs] = torch.from_numpy(given)
            group.drives.set_effort(values, dofs, torch.tensor([row]))

        env.sim.when_running(do)
        return True

    # ---- bodies

    def get_env_rigid_body_states(self, env: Env, flags: int = STATE_ALL) -> np.ndarray:
        """(B,) of ``RigidBodyState``, whatever is asked for."""
        rows = self._bodies(env)
        if not flags & STATE_POS:
            rows[:, :7] = 0.0
        if not flags & STATE_VEL:
            rows[:, 7:] = 0.0
        states: np.ndarray = np.ascontiguousarray(rows).view(RigidBodyState.dtype).reshape(-1)
        return states

    def get_actor_rigid_body_states(self, env: Env, handle: int, flags: int = STATE_ALL) -> np.ndarray:
        """Of one actor."""
        first = env.before(handle, "num_bodies")
        count = env.actor("get_actor_rigid_body_states", handle).asset.num_bodies
        return self.get_env_rigid_body_states(env, flags)[first:first + count]

    def get_rigid_transform(self, env: Env, handle: int) -> Transform:
        """The pose of a body in the environment's frame."""
        env.body("get_rigid_transform", handle)
        row = self._bodies(env)[int(handle)].tolist()
        return Transform(Vec3(*row[:3]), Quat(*row[3:7]))

    get_rigid_linear_velocity = _body_vector(7)
    get_rigid_angular_velocity = _body_vector(10)

    def set_rigid_transform(self, env: Env, handle: int, transform: Transform) -> None:
        """Put an actor somewhere else, by its root body, at rest."""
        actor, body = env.body("set_rigid_transform", handle)
        if body:
            raise UserError(f"set_rigid_transform: body handle {handle} is no root body: an actor is put somewhere by "
                            "its root, and its joints by set_actor_dof_states.")
        if not env.sim.is_prepared:
            env.actors[actor].start = transform.copy()
            return
        group, row = env.sim.running("set_rigid_transform").at(env)
        group.states.before_push()
        roots = torch.zeros(group.num_worlds, group.num_actors, 13)
        roots[row, actor, :7] = torch.tensor([*transform.p, *transform.r])
        group.states.set_root(roots, actor, torch.tensor([row]))

    # ---- where they are

    @staticmethod
    def _joints(env: Env, handle: int) -> Tuple[Group, int, slice]:
        env.actor("actor's joints", handle)
        group, row = env.sim.running("actor's joints").at(env)
        return group, row, group.states.actor_dofs[int(handle)]

    @staticmethod
    def _bodies(env: Env) -> np.ndarray:
        """(B, 13) of one environment, at present."""
        if not env.sim.is_prepared:
            return np.concatenate([_start(actor) for actor in env.actors])
        group, row = env.sim.running("bodies").at(env)
        group.states.to_present()
        present: np.ndarray = group.states.bodies()[row].float().numpy().copy()
        return present


def _start(actor: Actor) -> np.ndarray:
    """(b, 13) of an actor where it was created."""
    rows = np.zeros((actor.asset.num_bodies, 13), dtype=np.float32)
    for row, pose in zip(rows, actor.asset.body_poses().tolist()):
        there = actor.start * Transform(Vec3(*pose[:3]), Quat(*pose[3:]))
        row[:7] = *there.p, *there.r
    return rows


def _of_length(what: str, values: np.ndarray, env: Env, handle: int) -> np.ndarray:
    actor = env.actor(f"setting {what}", handle)
    if len(values) != actor.asset.num_dofs:
        raise UserError(f"{len(values)} {what} were given for actor {actor.name!r}, which has {actor.asset.num_dofs} "
                        "joints: give one for each.")
    return values
