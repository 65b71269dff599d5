"""Environments and the actors in them, as they are described before the simulation is prepared.

An actor keeps snapshots: later changes of the asset or of the arrays it was given do not reach it.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.asset import Asset
from sb3_isaac.gymcompat.types.structs import (
    AttractorProperties,
    RigidBodyProperties,
    RigidShapeProperties,
    mat33,
)
from sb3_isaac.gymcompat.types.values import DOF_PROPERTIES, Transform, Vec3

NO_FILTER = -1


class Actor:
    """One robot or object in one environment.

    ============= =========== ==========================================================
    attribute     shape       what
    ============= =========== ==========================================================
    dof           (D,)        ``DOF_PROPERTIES``
    friction      (S,)        of the shapes
    restitution   (S,)        of the shapes
    filter        (S,) int    shapes A, B of one group collide if filter A & filter B is 0
    mass          (B,)        kg
    com           (B, 3)      m, in the body's frame
    inertia       (B, 3, 3)   kg·m² about the centre of mass, in the body's frame
    gravity_off   (B,) bool   the body does not feel gravity
    colors        dict        red, green, blue by body index, where a client chose them
    start         Transform   of the root, in the environment's frame
    tendons       list        properties of the tendons
    segmentation  (B,) int    numbers of the bodies in segmentation images
    ============= =========== ==========================================================
    """

    def __init__(self, asset: Asset, start: Transform, name: Optional[str], group: int, filter_bits: int,
                 segmentation_id: int = 0) -> None:
        self.asset, self.start, self.group = asset, start.copy(), int(group)
        self.name = name or asset.name
        self.dof = asset.dof_properties.copy()
        self.mass, self.com, self.inertia = asset.mass, asset.com, asset.inertia
        self.gravity_off = np.full(asset.num_bodies, bool(asset.options.disable_gravity))
        self.tendons = [tendon.copy() for tendon in asset.tendons]
        self.scale = 1.0
        self.segmentation = np.full(asset.num_bodies, int(segmentation_id))
        self.set_shapes(asset.shape_properties)
        self.colors: Dict[int, Tuple[float, ...]] = {}
        if filter_bits != NO_FILTER:
            self.filter = np.full(asset.num_shapes, int(filter_bits))

    def set_scale(self, scale: float) -> None:
        """Another size: lengths by `scale`, masses by its cube. Bodies' properties are those of the new size."""
        self.asset, self.scale = self.asset.scaled(scale / self.scale), scale
        self.mass, self.com, self.inertia = self.asset.mass, self.asset.com, self.asset.inertia
        for limit in ("lower", "upper"):
            self.dof[limit] = self.asset.dof_properties[limit]

    def set_shapes(self, props: Sequence[RigidShapeProperties]) -> None:
        """Snapshot of the shapes' properties."""
        self.friction = np.array([p.friction for p in props], dtype=float)
        self.restitution = np.array([p.restitution for p in props], dtype=float)
        self.filter = np.array([p.filter for p in props], dtype=int)

    def shapes(self) -> List[RigidShapeProperties]:
        """The shapes' properties, fresh."""
        props = [RigidShapeProperties() for _ in self.friction]
        for prop, friction, restitution, bits in zip(props, self.friction, self.restitution, self.filter):
            prop.friction, prop.restitution, prop.filter = friction, restitution, bits
        return props

    def set_dofs(self, props: np.ndarray) -> None:
        """Snapshot of the joints' properties, given as a structured array with some or all of the fields."""
        for field in DOF_PROPERTIES.names or ():
            self.dof[field] = props[field]

    def bodies(self) -> List[RigidBodyProperties]:
        """The bodies' properties, fresh."""
        props = []
        for mass, com, inertia, off in zip(self.mass, self.com, self.inertia, self.gravity_off):
            made = RigidBodyProperties()
            made.mass, made.com, made.inertia, made.flags = mass, Vec3(*com), mat33(inertia), int(off)
            props.append(made)
        return props

    def set_bodies(self, props: Sequence[RigidBodyProperties], recompute_inertia: bool) -> None:
        """Snapshot of the bodies' properties.

        `recompute_inertia` scales the inertia with the mass, which is what a body of uniform density does; without it
        the inertia is the one in `props`.
        """
        mass = np.array([p.mass for p in props], dtype=float)
        wrong = ~(mass > 0) & ~((mass == 0) & (self.asset.mass == 0))  # a frame without mass stays one
        if wrong.any():
            worst = int(wrong.argmax())
            raise UserError(f"set_actor_rigid_body_properties: body {self.asset.body_names[worst]!r} of actor "
                            f"{self.name!r} was given the mass {mass[worst]:g} kg: give one above 0.")
        com = np.array([list(p.com) for p in props], dtype=float)
        if recompute_inertia:
            inertia = self.inertia * (mass / np.where(self.mass > 0, self.mass, 1.0))[:, None, None]
        else:
            inertia = np.array([[list(p.inertia.x), list(p.inertia.y), list(p.inertia.z)] for p in props], dtype=float)
        self.mass, self.com, self.inertia = mass, com, inertia
        self.gravity_off = np.array([bool(p.flags & 1) for p in props])


class Env:
    """One environment: a world of its own. Its handle is this object."""

    def __init__(self, sim: Any, index: int) -> None:
        self.sim, self.index = sim, index
        self.actors: List[Actor] = []
        self.attractors: List[AttractorProperties] = []
        self.cameras: Dict[int, Any] = {}

    def add(self, actor: Actor) -> int:
        """Put an actor in; its handle."""
        self.actors.append(actor)
        self.sim.layout.changed(self.index)
        return len(self.actors) - 1

    def counts(self) -> Tuple[int, int, int, int]:
        """Actors, bodies, joints and force sensors."""
        assets = [actor.asset for actor in self.actors]
        return (len(assets), sum(a.num_bodies for a in assets), sum(a.num_dofs for a in assets),
                sum(len(a.sensors) for a in assets))

    def key(self) -> Tuple[object, ...]:
        """Equal for environments that can share a model.

        Collision groups count by their pattern: each environment of a program usually has a number of its own."""
        order: Dict[int, int] = {-1: -1}
        groups = [order.setdefault(actor.group, len(order)) for actor in self.actors]
        return (tuple((actor.asset.key, actor.filter.tobytes()) for actor in self.actors), tuple(groups),
                tuple((a.rigid_handle, a.axes, repr(a.offset)) for a in self.attractors))

    def before(self, handle: int, count: str) -> int:
        """How many bodies, joints, ... the actors before `handle` have; `count` is the asset's attribute."""
        return sum(getattr(actor.asset, count) for actor in self.actors[:handle])

    def body(self, call: str, index: int) -> Tuple[int, int]:
        """(actor's handle, body in the actor) of a body's handle, which is its index in the environment."""
        rest = int(index)
        for handle, actor in enumerate(self.actors):
            if 0 <= rest < actor.asset.num_bodies:
                return handle, rest
            rest -= actor.asset.num_bodies
        raise UserError(f"{call}: body handle {index!r} does not exist in environment {self.index}: it has "
                        f"{self.counts()[1]} bodies, handles from 0.")

    def actor(self, call: str, handle: int) -> Actor:
        """The actor of `handle`, which is its index in the environment."""
        if not isinstance(handle, (int, np.integer)) or not 0 <= handle < len(self.actors):
            raise UserError(f"{call}: actor handle {handle!r} does not exist in environment {self.index}: "
                            f"it has {len(self.actors)} actors, handles from 0.")
        return self.actors[handle]
