"""One environment, all its actors on the ground, as one MuJoCo model; and where each actor's numbers lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Sequence, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.scene import add_contact_sensor, add_drive, contact_address, plain, set_options
from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.model.asset import ForceSensor
from sb3_isaac.gymcompat.model.ground import GROUND_BIT, Ground
from sb3_isaac.gymcompat.types.enums import AXIS_TRANSLATION
from sb3_isaac.gymcompat.types.structs import SimParams
from sb3_isaac.gymcompat.types.values import Quat

_MOST_FILTERS = 28
"""Collision bits: distinct pairs of collision group and filter in an environment."""
_CLOCK = "clock"


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
    stiff          (D,)    tendon id of each driven joint where drives are stiff, -1 elsewhere
    stiff_wrap     (D,)    place in wrap_prm of that tendon's part of the clock, -1 elsewhere
    clock          int     degree of freedom whose velocity the stiff drives' targets are told by, -1 if there is none
    roots          (A,)    body ids of the roots
    root_qpos      (A,)    first place of the root's pose in qpos, -1 for a fixed root
    root_qvel      (A,)    first place of the root's velocity in qvel, -1 for a fixed root
    contact        (B,)    first place of each body's net contact force in sensordata
    tendons        (T,)    tendon ids, in the order of the actors
    sensors        F       (body id, force sensor), in the order of the actors
    attractors     (K,)    equality ids
    attracted      (K,)    body ids
    ============== ======= ==================================================================================
    """

    model: mujoco.MjModel
    bodies: np.ndarray
    geoms: np.ndarray
    joints: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    drives: np.ndarray
    stiff: np.ndarray
    stiff_wrap: np.ndarray
    clock: int
    roots: np.ndarray
    root_qpos: np.ndarray
    root_qvel: np.ndarray
    contact: np.ndarray
    tendons: np.ndarray
    sensors: Tuple[Tuple[int, ForceSensor], ...]
    attractors: np.ndarray
    attracted: np.ndarray


def compose(env: Env, grounds: Sequence[Ground], params: SimParams, driven: AbstractSet[int], stiff: bool) -> Scene:
    """Build the scene of one environment.

    :param driven: joints, counted over all actors, that get a position or velocity drive.
    :param stiff: whether some drive is too stiff for its joint's inertia (see :mod:`.runtime.drives`).
    """
    spec = mujoco.MjSpec()
    _set_options(spec, params, stiff)
    for i, ground in enumerate(grounds):
        ground.add_to(spec, f"ground{i}")
    for i, actor in enumerate(env.actors):
        _attach(spec, actor, _prefix(i))
    bits = collision_bits(env.actors)
    names = [(_prefix(i), actor) for i, actor in enumerate(env.actors)]
    joint_names = [prefix + name for prefix, actor in names for name in actor.asset.dof_names]
    moved = [joint_names[i] for i in sorted(driven)]
    for name in () if stiff else moved:
        add_drive(spec, name)  # its gains and its limit are each world's own
    _add_stiff_drives(spec, moved if stiff else [])
    for prefix, actor in names:
        for body in actor.asset.body_names:
            add_contact_sensor(spec, prefix + body)
    _add_force_sensors(spec, names)
    _add_attractors(spec, env)
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


def _set_options(spec: mujoco.MjSpec, params: SimParams, stiff: bool) -> None:
    # PhysX's contacts stick. MuJoCo's creep under load: without its noslip passes a standing ANYmal spreads its legs,
    # and sinks by 3 cm in a second. The passes would harden stiff drives, which are friction too; an elliptic cone with
    # hard friction keeps contacts from creeping as well, for more time.
    set_options(spec, params.dt / params.substeps, iterations=20, noslip_iterations=0 if stiff else 3)
    if stiff:
        spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
        spec.option.iterations, spec.option.ls_iterations = 50, 100  # stiff friction needs a finer line search
    spec.option.gravity = list(params.gravity)
    spec.visual.headlight.ambient[:], spec.visual.headlight.diffuse[:] = [0.4] * 3, [0.7] * 3  # for the viewer


def _attach(spec: mujoco.MjSpec, actor: Actor, prefix: str) -> None:
    """Add the actor at the world's origin, or at its start if it is fixed: a free root's start is a state."""
    frame = spec.worldbody.add_frame()
    if not actor.asset.root_is_free:
        pos, quat = actor.start.p, actor.start.r
        frame.pos, frame.quat = list(pos), wxyz(quat)
    robot = actor.asset.spec.copy()
    robot.option = spec.option  # the simulation's hold: MuJoCo would warn of each that a file has otherwise
    spec.attach(robot, prefix=prefix, frame=frame)


def _add_stiff_drives(spec: mujoco.MjSpec, joints: Sequence[str]) -> None:
    """A tendon with dry friction between each joint and a clock, a body that slides at a speed of its own."""
    if not joints:
        return
    clock = spec.worldbody.add_body(name=_CLOCK, gravcomp=1.0, mass=1.0, inertia=[1.0] * 3, explicitinertial=True)
    clock.add_joint(plain(), name=_CLOCK, type=mujoco.mjtJoint.mjJNT_SLIDE)
    for joint in joints:
        tendon = spec.add_tendon(plain(), name=f"drive {joint}", frictionloss=1.0)
        tendon.wrap_joint(joint, 1.0)
        tendon.wrap_joint(_CLOCK, 0.0)


def _add_force_sensors(spec: mujoco.MjSpec, names: Sequence[Tuple[str, Actor]]) -> None:
    """One sensor of MuJoCo's: where it has any, it computes the bodies' accelerations that ours are made of."""
    for prefix, actor in names:
        for sensor in actor.asset.sensors[:1]:
            body = spec.body(prefix + actor.asset.body_names[sensor.body])
            site = body.add_site(plain(), name=f"{prefix}force", group=5)
            spec.add_sensor(name=f"{prefix}force", type=mujoco.mjtSensor.mjSENS_FORCE,
                            objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site.name)


def _add_attractors(spec: mujoco.MjSpec, env: Env) -> None:
    """A connection of a point, or of a whole pose, with a target that each world puts where it wants (mocap)."""
    for i, attractor in enumerate(env.attractors):
        handle, body = env.body("create_rigid_body_attractor", attractor.rigid_handle)
        offset, kind = attractor.offset, mujoco.mjtEq
        spec.body(_prefix(handle) + env.actors[handle].asset.body_names[body]).add_site(
            plain(), name=f"attracted {i}", pos=list(offset.p), quat=wxyz(offset.r), group=5)
        target = spec.worldbody.add_body(name=f"target {i}", mocap=True)
        target.add_site(plain(), name=f"target {i}", group=5)
        spec.add_equality(plain(), name=f"attractor {i}", objtype=mujoco.mjtObj.mjOBJ_SITE, name1=f"attracted {i}",
                          type=kind.mjEQ_CONNECT if attractor.axes == AXIS_TRANSLATION else kind.mjEQ_WELD,
                          name2=f"target {i}")


def wxyz(quat: Quat) -> List[float]:
    """A quaternion in MuJoCo's order."""
    return [quat.w, quat.x, quat.y, quat.z]


def collision_bits(actors: Sequence[Actor]) -> List[Tuple[int, int]]:
    """(contype, conaffinity) of each shape.

    Two shapes collide if their groups are equal or one is -1, and their filters have no bit in common. Each distinct
    (group, filter) gets a bit, in the order of the shapes, and takes the bits of all that it may touch.
    """
    shapes = [(actor.group, int(bits)) for actor in actors for bits in actor.filter]
    kinds = list(dict.fromkeys(shapes))
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
    tendon_of = {model.tendon(t).name: t for t in range(model.ntendon)}
    stiff = [tendon_of.get(f"drive {name}", -1) for name in joint_names]
    attractors = np.array([e for e in range(model.neq) if model.equality(e).name.startswith("attractor ")], dtype=int)
    return Scene(
        model=model, bodies=bodies, geoms=np.array(geoms, dtype=int), joints=joints,
        qpos=model.jnt_qposadr[joints], qvel=model.jnt_dofadr[joints],
        drives=np.array([drive_of.get(int(j), -1) for j in joints], dtype=int),
        stiff=np.array(stiff, dtype=int),
        stiff_wrap=np.array([model.tendon_adr[t] + 1 if t >= 0 else -1 for t in stiff], dtype=int),
        clock=int(model.joint(_CLOCK).dofadr[0]) if max(stiff, default=-1) >= 0 else -1, roots=roots,
        root_qpos=np.array([model.jnt_qposadr[j] if j >= 0 else -1 for j in free]),
        root_qvel=np.array([model.jnt_dofadr[j] if j >= 0 else -1 for j in free]),
        contact=np.array([contact_address(model, model.body(int(b)).name) for b in bodies]),
        tendons=np.array([tendon_of[prefix + name] for prefix, actor in names for name in actor.asset.tendon_names],
                         dtype=int),
        sensors=tuple((int(model.body(prefix + actor.asset.body_names[sensor.body]).id), sensor)
                      for prefix, actor in names for sensor in actor.asset.sensors),
        attractors=attractors, attracted=model.site_bodyid[model.eq_obj1id[attractors]],
    )
