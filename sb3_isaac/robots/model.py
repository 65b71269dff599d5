"""A robot's MJCF or URDF file as a MuJoCo specification of the robot alone, whatever else the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, List, Set, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError

EXTENSIONS = (".xml", ".mjcf", ".urdf")
FRICTION = 0.3
"""Sliding friction of robots' geoms. MuJoCo takes the larger of two, so that the ground's decides."""


def read_model(path: str, feet: Iterable[str] = ()) -> mujoco.MjSpec:
    """The robot of the file, ready for a scene of ours.

    - The trunk is the one body of the world that joints hang on; it gets a free joint if it has none. The world's other
      bodies and geoms are dropped.
    - Actuators, sensors, keyframes, lights, contact pairs and excludes are dropped, and so are the file's options,
      sizes, statistics and picture settings. Cameras on the robot, and couplings within it, stay.
    - Geoms that can collide in the file meet the ground and never each other, with the ground's friction. If none of
      the trunk's can, those that are only to look at do.
    - Bodies, joints and geoms without a name get one; a foot that is a geom becomes a body of its own.

    Masses, inertias, and damping, friction, armature and range of the joints are the file's.

    :param feet: names of bodies or geoms.
    :raises UserError: when MuJoCo cannot read the file, or it has no or several trunks.
    """
    spec = parse(path)
    trunk = find_trunk(spec, path)
    if not list(trunk.joints):
        trunk.add_freejoint(name=_unused(f"{trunk.name}_free", {joint.name for joint in spec.joints}))
    for body in list(spec.worldbody.bodies):
        if body is not trunk and body.name != trunk.name:
            spec.delete(body)
    _drop_surroundings(spec)
    trunk = _give_mass(spec, trunk)
    _reset_settings(spec)
    for body in spec.bodies:
        body.gravcomp, body.mocap = 0.0, False
    for joint in spec.joints:
        joint.actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE  # a robot's torque limits are its drives'
    _set_contacts(spec, trunk)
    bodies = {body.name for body in spec.bodies}
    for name in feet:
        if name not in bodies and spec.geom(name) is not None:
            _give_own_body(spec, spec.geom(name))
    return spec


def parse(path: str) -> mujoco.MjSpec:
    """The file as it is, with a name for every body, joint and geom."""
    file = Path(path)
    if file.suffix.lower() not in EXTENSIONS or not file.is_file():
        raise UserError(f"robot file {path!r} {'is not' if file.is_file() else 'does not exist as'} an MJCF or URDF "
                        f"file: give the path of one that ends in {', '.join(EXTENSIONS)}.")
    try:
        spec = mujoco.MjSpec.from_file(str(file))
    except ValueError as error:
        raise unreadable(path, error) from error
    spec.compiler.fusestatic = False  # bodies that joints do not move may be feet
    if file.suffix.lower() == ".urdf":
        _mend_inertias(spec)
    try:
        _name_all(spec)
    except UnicodeDecodeError as error:
        raise UserError(f"robot file {path!r} has a name with the byte {error.object[error.start]:#04x}, which is no "
                        "UTF-8 text: save the file as UTF-8.") from error
    return spec


def _mend_inertias(spec: mujoco.MjSpec) -> None:
    """URDFs with an inertia that no body can have are common; MuJoCo balances it if all of its moments are positive."""
    spec.compiler.balanceinertia = True
    for body in spec.bodies:
        xx, yy, zz, xy, xz, yz = body.fullinertia
        tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        if not np.isfinite(tensor).all():
            continue
        moments, axes = np.linalg.eigh(tensor)
        if moments.min() <= 0 < moments.max():
            mended = axes @ np.diag(np.maximum(moments, 1e-3 * moments.max())) @ axes.T
            body.fullinertia = [*np.diag(mended), mended[0, 1], mended[0, 2], mended[1, 2]]


def unreadable(path: str, error: ValueError) -> UserError:
    """MuJoCo's complaint in a sentence."""
    said = " ".join(str(error).split())
    hint = " Put the mesh files where it expects them." if "opening file" in said else ""
    return UserError(f"robot file {path!r} is not one that MuJoCo {mujoco.__version__} can use, which says {said!r}: "
                     f"correct the file.{hint}")


def find_trunk(spec: mujoco.MjSpec, path: str) -> mujoco.MjsBody:
    """The body of the world that joints hang on, with a free joint or none of its own."""
    moving = [body for body in spec.worldbody.bodies if any(j.type != _FREE for j in joints_below(body))]
    if len(moving) != 1:
        names = ", ".join(body.name for body in moving)
        raise UserError(f"robot file {path!r} has {len(moving)} bodies in its world that joints hang on"
                        f"{f' ({names})' if names else ''}: give a file with one robot, whose trunk is the only one.")
    trunk = moving[0]
    own = list(trunk.joints)
    if own and (len(own) != 1 or own[0].type != _FREE):
        raise UserError(f"robot file {path!r} has joints {', '.join(j.name for j in own)} on its trunk {trunk.name!r}: "
                        "give it a <freejoint/> or none, for the trunk floats.")
    return trunk


def joints_below(body: mujoco.MjsBody) -> List[mujoco.MjsJoint]:
    """The joints of a body and of all below it, depth first."""
    return [joint for part in bodies_below(body) for joint in part.joints]


def bodies_below(body: mujoco.MjsBody) -> List[mujoco.MjsBody]:
    """A body and all below it, depth first."""
    return [body] + [below for child in body.bodies for below in bodies_below(child)]


_FREE = mujoco.mjtJoint.mjJNT_FREE


def _unused(name: str, used: Set[str]) -> str:
    while name in used:
        name += "_"
    used.add(name)
    return name


def _name_all(spec: mujoco.MjSpec) -> None:
    bodies, joints, geoms = ({item.name for item in items} for items in (spec.bodies, spec.joints, spec.geoms))
    geoms.add("floor")  # the scene's own
    for i, body in enumerate(spec.bodies):
        body.name = body.name or _unused(f"body{i}", bodies)
        for joint in body.joints:
            joint.name = joint.name or _unused(f"{body.name}_joint", joints)
        for k, geom in enumerate(body.geoms):
            if not geom.name or (geom.name == "floor" and body.name != "world"):
                geom.name = _unused(f"{body.name}_geom{k}", geoms)


def _drop_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    dropped = [*spec.actuators, *spec.sensors, *spec.keys, *spec.pairs, *spec.excludes, *spec.lights, *spec.tuples]
    for item in [*dropped, *world.geoms, *world.cameras, *world.sites]:
        spec.delete(item)
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
    holds = (mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD)
    for equality in list(spec.equalities):
        if equality.type in holds and {equality.name1, equality.name2} & {"", "world"}:
            spec.delete(equality)  # it would tie the robot to a place


def _give_mass(spec: mujoco.MjSpec, trunk: mujoco.MjsBody) -> mujoco.MjsBody:
    """URDFs have a root link without mass or shape, and the trunk fixed to it: the two become one, of the root's name.
    """
    name, parts = trunk.name, [body for body in trunk.bodies if not list(body.joints)]
    if trunk.explicitinertial or list(trunk.geoms) or not parts:
        return trunk
    for body in spec.bodies:
        body.fuse = 0
    for body in parts:
        body.fuse = 1
    spec.compiler.fusestatic = True
    spec.fuse_static()
    spec.compiler.fusestatic = False
    return _give_mass(spec, spec.body(name))


def _reset_settings(spec: mujoco.MjSpec) -> None:
    plain = mujoco.MjSpec()
    spec.option, spec.stat, spec.visual = plain.option, plain.stat, plain.visual
    spec.memory = spec.njmax = spec.nconmax = -1


def _set_contacts(spec: mujoco.MjSpec, trunk: mujoco.MjsBody) -> None:
    meets_ground = [geom for geom in spec.geoms if geom.contype or geom.conaffinity]
    if not any(geom.parent.name == trunk.name for geom in meets_ground):
        meets_ground += list(trunk.geoms)
    for geom in meets_ground:
        geom.contype, geom.conaffinity, geom.condim, geom.priority = 0, 1, 3, 0
        geom.friction[0] = min(geom.friction[0], FRICTION)
        geom.margin = geom.gap = geom.adhesion = 0.0


def _give_own_body(spec: mujoco.MjSpec, geom: mujoco.MjsGeom) -> None:
    """Hang a geom on a body of its own name, fixed to the geom's body at the geom's middle."""
    parent, name = geom.parent, geom.name
    ends = np.array(geom.fromto).reshape(2, 3)
    middle = ends.mean(axis=0) if np.isfinite(ends).all() else np.array(geom.pos)
    body = parent.add_body(name=name, pos=middle)
    moved = body.add_geom(mujoco.MjSpec().default)
    for field in _GEOM_FIELDS:
        setattr(moved, field, getattr(geom, field))
    for field in ("type", "axisangle", "xyaxes", "zaxis", "euler"):
        setattr(moved.alt, field, getattr(geom.alt, field))
    if np.isfinite(ends).all():
        moved.fromto = (ends - middle).ravel()
    if parent.explicitinertial:  # the parent's mass counts the geom's
        moved.mass, moved.density = 0.0, 0.0
    spec.delete(geom)
    moved.name = name


_GEOM_FIELDS: Tuple[str, ...] = (
    "type", "size", "quat", "meshname", "fitscale", "typeinertia", "mass", "density", "contype", "conaffinity",
    "condim", "priority", "friction", "solref", "solimp", "solmix", "margin", "gap", "group", "material", "rgba")
