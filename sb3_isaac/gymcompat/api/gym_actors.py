"""Gym's calls about environments and the actors in them."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api.gym_assets import checked, place_of
from sb3_isaac.gymcompat.model.actors import NO_FILTER, Actor, Env
from sb3_isaac.gymcompat.model.asset import Asset
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import INVALID_HANDLE, IndexDomain, MeshType
from sb3_isaac.gymcompat.types.structs import IndexRange, RigidBodyProperties, RigidShapeProperties
from sb3_isaac.gymcompat.types.values import Transform, Vec3, number

_COUNTS = {"bodies": "num_bodies", "dofs": "num_dofs"}


def offset(env: Env, handle: int, domain: int, kind: str) -> int:
    """Where an actor's ``bodies`` or ``dofs`` start in a domain."""
    if domain == IndexDomain.DOMAIN_ACTOR:
        return 0
    before = env.before(handle, _COUNTS[kind])
    return before if domain == IndexDomain.DOMAIN_ENV else before + int(env.sim.layout.start(env.index, kind))


def indexed(env: Env, handle: int, domain: int, kind: str, name: str, names: Sequence[str]) -> int:
    """The index in a domain of an actor's body or joint `name`; ``INVALID_HANDLE`` where there is none."""
    place = place_of(name, names)
    return place if place == INVALID_HANDLE else offset(env, handle, domain, kind) + place


class ActorCalls:
    """Creating environments and actors, finding things in them, and their properties."""

    def create_env(self, sim: Sim, lower: Vec3, upper: Vec3, num_per_row: int) -> Env:
        """An empty environment. Each is a world of its own, so bounds and rows have no effect."""
        return checked("create_env", "sim", sim, Sim).add_env()

    def get_env(self, sim: Sim, index: int) -> Env:
        """One of the environments."""
        return sim.envs[index]

    def get_env_count(self, sim: Sim) -> int:
        """N."""
        return len(sim.envs)

    def get_env_origin(self, env: Env) -> Vec3:
        """(0, 0, 0): positions are the environment's own."""
        return Vec3()

    def create_actor(self, env: Env, asset: Asset, pose: Transform, name: Optional[str] = None, group: int = -1,
                     filter: int = NO_FILTER, segmentationId: int = 0) -> int:
        """Put an asset into an environment; shape and joint properties are those that the asset has now."""
        checked("create_actor", "env", env, Env).sim.must_not_be_prepared("create_actor")
        checked("create_actor", "asset", asset, Asset)
        checked("create_actor", "pose", pose, Transform)
        return env.add(Actor(asset, pose, name, group, filter, segmentationId))

    def begin_aggregate(self, env: Env, max_bodies: int, max_shapes: int, self_collisions: bool) -> bool:
        """PhysX's broad phase wants to know which actors lie together; a world of its own has no use for it."""
        return True

    def end_aggregate(self, env: Env) -> bool:
        """See ``begin_aggregate``."""
        return True

    def get_actor_count(self, env: Env) -> int:
        """A."""
        return len(env.actors)

    def get_sim_actor_count(self, sim: Sim) -> int:
        """N·A."""
        return sim.layout.total("actors")

    def get_sim_dof_count(self, sim: Sim) -> int:
        """N·D."""
        return sim.layout.total("dofs")

    def get_sim_rigid_body_count(self, sim: Sim) -> int:
        """N·B."""
        return sim.layout.total("bodies")

    def get_env_dof_count(self, env: Env) -> int:
        """D."""
        return sum(a.asset.num_dofs for a in env.actors)

    def get_env_rigid_body_count(self, env: Env) -> int:
        """B."""
        return sum(a.asset.num_bodies for a in env.actors)

    def get_actor_handle(self, env: Env, index: int) -> int:
        """The handle of an actor, which is its index."""
        env.actor("get_actor_handle", index)
        return index

    def find_actor_handle(self, env: Env, name: str) -> int:
        """The handle of an actor."""
        return place_of(name, [a.name for a in env.actors])

    def get_actor_index(self, env: Env, handle: int, domain: int) -> int:
        """The actor's index; in ``DOMAIN_SIM`` its row of the root tensor, as the ``_indexed`` calls want it."""
        env.actor("get_actor_index", handle)
        return env.sim.layout.start(env.index, "actors") + handle if domain == IndexDomain.DOMAIN_SIM else handle

    def find_actor_index(self, env: Env, name: str, domain: int) -> int:
        """See ``get_actor_index``."""
        handle = self.find_actor_handle(env, name)
        return handle if handle == INVALID_HANDLE else self.get_actor_index(env, handle, domain)

    def get_actor_name(self, env: Env, handle: int) -> str:
        """As given at its creation."""
        return env.actor("get_actor_name", handle).name

    def get_actor_asset(self, env: Env, handle: int) -> Asset:
        """What it was made from."""
        return env.actor("get_actor_asset", handle).asset

    def get_actor_rigid_body_count(self, env: Env, handle: int) -> int:
        """Of one actor."""
        return env.actor("get_actor_rigid_body_count", handle).asset.num_bodies

    def get_actor_rigid_body_names(self, env: Env, handle: int) -> List[str]:
        """Of one actor."""
        return list(env.actor("get_actor_rigid_body_names", handle).asset.body_names)

    def get_actor_rigid_body_dict(self, env: Env, handle: int) -> Dict[str, int]:
        """Indices in the actor by name."""
        return {n: i for i, n in enumerate(env.actor("get_actor_rigid_body_dict", handle).asset.body_names)}

    def get_actor_rigid_body_handle(self, env: Env, handle: int, index: int) -> int:
        """A body's handle, which is its index in the environment."""
        env.actor("get_actor_rigid_body_handle", handle)
        return offset(env, handle, IndexDomain.DOMAIN_ENV, "bodies") + index

    def get_actor_root_rigid_body_handle(self, env: Env, handle: int) -> int:
        """The root's handle."""
        return self.get_actor_rigid_body_handle(env, handle, 0)

    def get_actor_rigid_body_index(self, env: Env, handle: int, index: int, domain: int) -> int:
        """A body's index in a domain."""
        env.actor("get_actor_rigid_body_index", handle)
        return offset(env, handle, domain, "bodies") + index

    def find_actor_rigid_body_handle(self, env: Env, handle: int, name: str) -> int:
        """A body's handle by its name."""
        return self.find_actor_rigid_body_index(env, handle, name, IndexDomain.DOMAIN_ENV)

    def find_actor_rigid_body_index(self, env: Env, handle: int, name: str, domain: int) -> int:
        """A body's index in a domain by its name."""
        names = env.actor("find_actor_rigid_body_index", handle).asset.body_names
        return indexed(env, handle, domain, "bodies", name, names)

    def get_actor_dof_count(self, env: Env, handle: int) -> int:
        """Of one actor."""
        return env.actor("get_actor_dof_count", handle).asset.num_dofs

    def get_actor_dof_names(self, env: Env, handle: int) -> List[str]:
        """Of one actor."""
        return list(env.actor("get_actor_dof_names", handle).asset.dof_names)

    def get_actor_dof_dict(self, env: Env, handle: int) -> Dict[str, int]:
        """Indices in the actor by name."""
        return {n: i for i, n in enumerate(env.actor("get_actor_dof_dict", handle).asset.dof_names)}

    def get_actor_dof_handle(self, env: Env, handle: int, index: int) -> int:
        """A joint's handle, which is its index in the environment."""
        return self.get_actor_dof_index(env, handle, index, IndexDomain.DOMAIN_ENV)

    def get_actor_dof_index(self, env: Env, handle: int, index: int, domain: int) -> int:
        """A joint's index in a domain."""
        env.actor("get_actor_dof_index", handle)
        return offset(env, handle, domain, "dofs") + index

    def find_actor_dof_handle(self, env: Env, handle: int, name: str) -> int:
        """A joint's handle by its name."""
        return self.find_actor_dof_index(env, handle, name, IndexDomain.DOMAIN_ENV)

    def find_actor_dof_index(self, env: Env, handle: int, name: str, domain: int) -> int:
        """A joint's index in a domain by its name."""
        names = env.actor("find_actor_dof_index", handle).asset.dof_names
        return indexed(env, handle, domain, "dofs", name, names)

    def get_actor_dof_properties(self, env: Env, handle: int) -> np.ndarray:
        """A copy, (D,) structured."""
        return env.actor("get_actor_dof_properties", handle).dof.copy()

    def set_actor_dof_properties(self, env: Env, handle: int, props: np.ndarray) -> bool:
        """Limits, drive modes, gains, efforts, friction and armature of the joints."""
        actor = env.actor("set_actor_dof_properties", handle)
        if len(props) != actor.asset.num_dofs:
            raise UserError(f"set_actor_dof_properties: {len(props)} properties were given and actor {actor.name!r} "
                            f"has {actor.asset.num_dofs} joints: give one row for each.")
        actor.set_dofs(props)
        env.sim.changed(env)
        return True

    def get_actor_rigid_body_properties(self, env: Env, handle: int) -> List[RigidBodyProperties]:
        """Fresh copies, B of them."""
        return env.actor("get_actor_rigid_body_properties", handle).bodies()

    def set_actor_rigid_body_properties(self, env: Env, actorHandle: int, props: Sequence[RigidBodyProperties],
                                        recomputeInertia: bool = False) -> bool:
        """Masses, centres of mass, inertias and the gravity flag of the bodies."""
        actor = env.actor("set_actor_rigid_body_properties", actorHandle)
        if len(props) != actor.asset.num_bodies:
            raise UserError(f"set_actor_rigid_body_properties: {len(props)} properties were given and actor "
                            f"{actor.name!r} has {actor.asset.num_bodies} bodies: give one for each.")
        actor.set_bodies(props, recomputeInertia)
        env.sim.changed(env)
        return True

    def get_actor_rigid_shape_count(self, env: Env, handle: int) -> int:
        """S of one actor."""
        return env.actor("get_actor_rigid_shape_count", handle).asset.num_shapes

    def get_actor_rigid_shape_properties(self, env: Env, handle: int) -> List[RigidShapeProperties]:
        """Fresh copies, S of them."""
        return env.actor("get_actor_rigid_shape_properties", handle).shapes()

    def set_actor_rigid_shape_properties(self, env: Env, handle: int, props: Sequence[RigidShapeProperties]) -> bool:
        """Friction, restitution and filter of the shapes; filters only before ``prepare_sim``."""
        actor = env.actor("set_actor_rigid_shape_properties", handle)
        if len(props) != actor.asset.num_shapes:
            raise UserError(f"set_actor_rigid_shape_properties: {len(props)} properties were given and actor "
                            f"{actor.name!r} has {actor.asset.num_shapes} shapes: give one for each.")
        before = actor.filter
        actor.set_shapes(props)
        if env.sim.is_prepared and (before != actor.filter).any():
            raise NotImplementedError("set_actor_rigid_shape_properties: filters cannot change after prepare_sim here: "
                                      "set them before.")
        env.sim.changed(env)
        return True

    def get_actor_rigid_body_shape_indices(self, env: Env, handle: int) -> List[IndexRange]:
        """Each body's shapes."""
        asset = env.actor("get_actor_rigid_body_shape_indices", handle).asset
        return [shapes.copy() for shapes in asset.shape_ranges]

    def get_actor_scale(self, env: Env, handle: int) -> float:
        """1 unless it was set."""
        return env.actor("get_actor_scale", handle).scale

    def set_actor_scale(self, env: Env, handle: int, scale: float) -> bool:
        """Another size, before ``prepare_sim``; afterwards only the size that it has."""
        actor, scale = env.actor("set_actor_scale", handle), number(scale)
        if scale <= 0:
            raise UserError(f"set_actor_scale: the scale of actor {actor.name!r} is {scale:g}: give one above 0.")
        if scale != actor.scale:
            if env.sim.is_prepared:
                raise NotImplementedError(f"set_actor_scale: actor {actor.name!r} cannot change its size after "
                                          "prepare_sim here: set it before.")
            actor.set_scale(scale)
        return True

    def set_rigid_body_segmentation_id(self, env: Env, handle: int, body: int, segmentation_id: int) -> None:
        """The number of a body's pixels in a segmentation image."""
        env.actor("set_rigid_body_segmentation_id", handle).segmentation[int(body)] = int(segmentation_id)

    def get_rigid_body_segmentation_id(self, env: Env, handle: int, body: int) -> int:
        """See ``set_rigid_body_segmentation_id``."""
        return int(env.actor("get_rigid_body_segmentation_id", handle).segmentation[int(body)])

    def get_rigid_body_color(self, env: Env, handle: int, body: int, mesh: MeshType) -> Vec3:
        """The colour that was set, else grey."""
        return Vec3(*env.actor("get_rigid_body_color", handle).colors.get(int(body), (0.5, 0.5, 0.5)))

    def set_rigid_body_color(self, env: Env, handle: int, body: int, mesh: MeshType, color: Vec3) -> None:
        """The colour of one body's shapes, as the viewer shows them."""
        env.actor("set_rigid_body_color", handle).colors[int(body)] = tuple(color)
