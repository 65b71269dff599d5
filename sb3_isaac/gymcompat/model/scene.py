"""One environment, all its actors on the ground, as one MuJoCo model; and where each actor's numbers lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Set, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.scene import add_contact_sensor, add_drive, contact_address, set_options
from sb3_isaac.gymcompat.model.actors import Actor
from sb3_isaac.gymcompat.model.ground import GROUND_BIT, Ground
from sb3_isaac.gymcompat.types.structs import SimParams

_MOST_FILTERS = 28
"""Collision bits: distinct pairs of collision group and filter in an environment."""


@dataclass(frozen=True)
class Scene:
    """A compiled environment of A actors with B bodies, S shapes and D joints in all.

    ============== ======= ==================================================================================
    field          shape   what
    ============== ======= ==================================================================================
    model                  the model that all worlds share
    bodies         (B,)    body ids, in the order of the actors
    geoms          (S,)    geom ids of the shapes, in the order of the bodies
    joints         (D,)    joint ids
    qpos, qvel     (D,)    the joints' places in qpos and qvel
    drives         (D,)    actuator id of each joint, -1 where none drives it
    roots          (A,)    body ids of the roots
    root_qpos      (A,)    first place of the root's pose in qpos, -1 for a fixed root
    root_qvel      (A,)    first place of the root's velocity in qvel, -1 for a fixed root
    contact        (B,)    first place of each body's net contact force in sensordata
    ============== ======= ==================================================================================
    """

    model: mujoco.MjModel
    bodies: np.ndarray
    geoms: np.ndarray
    joints: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    drives: np.ndarray
    roots: np.ndarray
    root_qpos: np.ndarray
    root_qvel: np.ndarray
    contact: np.ndarray


def compose(actors: Sequence[Actor], grounds: Sequence[Ground], params: SimParams, driven: Set[int]) -> Scene:
    """Build the scene of one environment.

    :param driven: joints, counted over all actors, that get a position or velocity drive.
    """
    spec = mujoco.MjSpec()
    _set_options(spec, params)
    for i, ground in enumerate(grounds):
        ground.add_to(spec, f"ground{i}")
    for i, actor in enumerate(actors):
        _attach(spec, actor, _prefix(i))
    bits = _collision_bits(actors)
    names = [(_prefix(i), actor) for i, actor in enumerate(actors)]
    joint_names = [prefix + name for prefix, actor in names for name in actor.asset.dof_names]
    for i in sorted(driven):
        add_drive(spec, joint_names[i])  # its gains and its limit are each world's own
    for prefix, actor in names:
        for body in actor.asset.body_names:
            add_contact_sensor(spec, prefix + body)
    try:
        model = spec.compile()
    except ValueError as error:
        raise UserError(f"prepare_sim: MuJoCo cannot build the environment: {' '.join(str(error).split())}.") from error
    scene = _addresses(model, names, joint_names)
    for geom, (contype, conaffinity) in zip(scene.geoms, bits):
        model.geom_contype[geom], model.geom_conaffinity[geom] = contype, conaffinity
    return scene


def _prefix(index: int) -> str:
    return f"{index}/"


def _set_options(spec: mujoco.MjSpec, params: SimParams) -> None:
    # PhysX's contacts stick. MuJoCo's creep under load: without its noslip passes a standing ANYmal spreads its legs,
    # and sinks by 3 cm in a second.
    set_options(spec, params.dt / params.substeps, iterations=20, noslip_iterations=3)
    spec.option.gravity = list(params.gravity)
    spec.visual.headlight.ambient[:], spec.visual.headlight.diffuse[:] = [0.4] * 3, [0.7] * 3  # for the viewer


def _attach(spec: mujoco.MjSpec, actor: Actor, prefix: str) -> None:
    """Add the actor at the world's origin, or at its start if it is fixed: a free root's start is a state."""
    frame = spec.worldbody.add_frame()
    if not actor.asset.root_is_free:
        pos, quat = actor.start.p, actor.start.r
        frame.pos, frame.quat = list(pos), [quat.w, quat.x, quat.y, quat.z]
    robot = actor.asset.spec.copy()
    robot.option = spec.option  # the simulation's hold: MuJoCo would warn of each that a file has otherwise
    spec.attach(robot, prefix=prefix, frame=frame)


def _collision_bits(actors: Sequence[Actor]) -> List[Tuple[int, int]]:
    """(contype, conaffinity) of each shape.

    Two shapes collide if their groups are equal or one is -1, and their filters have no bit in common. Each distinct
    (group, filter) gets a bit, and takes the bits of all that it may touch.
    """
    shapes = [(actor.group, int(bits)) for actor in actors for bits in actor.filter]
    kinds = sorted(set(shapes))
    if len(kinds) > _MOST_FILTERS:
        raise UserError(f"create_actor: an environment has {len(kinds)} different pairs of collision group and filter: "
                        f"at most {_MOST_FILTERS} can be told apart.")
    masks: Dict[Tuple[int, int], Tuple[int, int]] = {}
    for i, (group, bits) in enumerate(kinds):
        partners = sum(1 << j for j, (other_group, other) in enumerate(kinds)
                       if bits & other == 0 and (group == other_group or -1 in (group, other_group)))
        masks[group, bits] = (1 << i, partners | GROUND_BIT)
    return [masks[shape] for shape in shapes]


def _addresses(model: mujoco.MjModel, names: Sequence[Tuple[str, Actor]], joint_names: Sequence[str]) -> Scene:
    bodies = np.array([model.body(prefix + b).id for prefix, actor in names for b in actor.asset.body_names])
    geoms = [g for b in bodies for g in range(model.ngeom)
             if model.geom_bodyid[g] == b and model.geom_contype[g] | model.geom_conaffinity[g]]
    joints = np.array([model.joint(name).id for name in joint_names], dtype=int)
    roots = np.array([model.body(prefix + actor.asset.body_names[0]).id for prefix, actor in names])
    free = [model.body_jntadr[root] if actor.asset.root_is_free else -1 for root, (_, actor) in zip(roots, names)]
    drive_of = {int(model.actuator_trnid[a, 0]): a for a in range(model.nu)}
    return Scene(
        model=model, bodies=bodies, geoms=np.array(geoms, dtype=int), joints=joints,
        qpos=model.jnt_qposadr[joints], qvel=model.jnt_dofadr[joints],
        drives=np.array([drive_of.get(int(j), -1) for j in joints], dtype=int), roots=roots,
        root_qpos=np.array([model.jnt_qposadr[j] if j >= 0 else -1 for j in free]),
        root_qvel=np.array([model.jnt_dofadr[j] if j >= 0 else -1 for j in free]),
        contact=np.array([contact_address(model, model.body(int(b)).name) for b in bodies]),
    )
