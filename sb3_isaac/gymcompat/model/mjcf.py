"""An MJCF file as a MuJoCo specification of the robot alone: without its floor, lights, cameras and keyframes.

Isaac Gym reads MJCF by a parser of its own that passes over much; what MuJoCo would refuse of it is mended here.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import List, Tuple

import mujoco

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.types.structs import ActuatorProperties, AssetOptions

_MESHES = (".stl", ".obj", ".msh")
_UNKNOWN = re.compile(r"unrecognized attribute: '(\w+)'.*Element '(\w+)'", re.DOTALL)


def mjcf_spec(path: Path, options: AssetOptions) -> mujoco.MjSpec:
    """The file's robot. Bodies and joints keep the file's order, and those without a name get one.

    With ``fix_base_link`` a free joint of the root is removed; a root without one stays fixed, as the file says.
    """
    spec = _read(path)
    for geom in list(spec.worldbody.geoms):
        spec.delete(geom)  # floors and walls belong to the scene, not to the robot
    materials = {material.name for material in spec.materials}
    for geom in spec.geoms:
        if geom.material and geom.material not in materials:
            geom.material = ""  # Isaac Gym takes files that name materials without defining them
    _drop_meshes(spec, path)
    for items in (spec.lights, spec.cameras, spec.keys, spec.sensors):
        for item in list(items):
            spec.delete(item)
    for i, body in enumerate(b for b in spec.bodies if b.name != "world"):
        body.name = body.name or f"body{i}"
        if options.disable_gravity:
            body.gravcomp = 1.0
        if body.joints and not body.geoms and not body.explicitinertial and not body.bodies:
            # What is for the eye only, and turns: MuJoCo wants some mass, and this moves nothing else.
            body.explicitinertial, body.mass, body.inertia = True, 1e-4, [1e-7] * 3
    for i, joint in enumerate(list(spec.joints)):
        joint.name = joint.name or f"joint{i}"
        if joint.limited == mujoco.mjtLimited.mjLIMITED_TRUE and joint.range[0] >= joint.range[1]:
            joint.range[1] = joint.range[0] + 1e-4  # a joint that is locked by its range; MuJoCo wants one
            if joint.parent.parent.name == "world":
                _free(spec, joint)
    if options.fix_base_link:
        for joint in [j for j in spec.joints if j.type == mujoco.mjtJoint.mjJNT_FREE]:
            spec.delete(joint)
    return spec


def _read(path: Path) -> mujoco.MjSpec:
    try:
        root = _with_includes(ET.parse(str(path)).getroot(), path.parent, path.parent)
    except (OSError, ET.ParseError) as error:
        raise UserError(f"load_asset: file {str(path)!r} cannot be read as MJCF ({error}): "
                        "give the path of a URDF or MJCF file.") from error
    _rename_joints(root)
    while True:
        try:
            spec = mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
            spec.modelfiledir = str(path.parent)
            return spec
        except ValueError as error:
            unknown = _UNKNOWN.search(str(error))
            elements = [e for e in root.iter(unknown[2]) if unknown[1] in e.attrib] if unknown else []
            if unknown is None or not elements:
                raise UserError(f"load_asset: MuJoCo cannot read {str(path)!r}: "
                                f"{' '.join(str(error).split())}.") from error
            for element in elements:
                del element.attrib[unknown[1]]
            print(f"gymcompat: {path.name}: MuJoCo knows no attribute {unknown[1]!r} of {unknown[2]!r}: left out.",
                  file=sys.stderr)


def _with_includes(root: ET.Element, folder: Path, main: Path) -> ET.Element:
    """`root` with the elements of the files that it includes, which are looked for beside it, then beside the model."""
    for i, child in reversed(list(enumerate(root))):
        if child.tag != "include":
            _with_includes(child, folder, main)
            continue
        name = child.get("file", "")
        file = folder / name if (folder / name).is_file() else main / name
        root[i:i + 1] = list(_with_includes(ET.parse(str(file)).getroot(), file.parent, main))
    return root


def _rename_joints(root: ET.Element) -> None:
    """Give the second joint of a name, and those after it, a number."""
    seen: "Counter[str]" = Counter()
    for body in root.iter("body"):
        for joint in body:
            name = joint.get("name")
            if joint.tag in ("joint", "freejoint") and name:
                if seen[name]:
                    joint.set("name", f"{name}_{seen[name]}")
                seen[name] += 1


def _free(spec: mujoco.MjSpec, joint: mujoco.MjsJoint) -> None:
    """The root floats in place of being held by a locked joint, which is how Isaac Gym's programs mean it."""
    body = joint.parent
    spec.delete(joint)
    if not body.joints:
        body.add_freejoint(name=f"{body.name}_free")


def _drop_meshes(spec: mujoco.MjSpec, path: Path) -> None:
    """Leave out meshes that MuJoCo cannot open, if they are for the eye only."""
    for mesh in list(spec.meshes):
        file = path.parent / (spec.meshdir or "") / mesh.file
        if not mesh.file or (file.suffix.lower() in _MESHES and file.is_file()):
            continue
        users = [geom for geom in spec.geoms if geom.meshname == mesh.name]
        if any(geom.contype or geom.conaffinity for geom in users):
            what = "convert it to STL or OBJ" if file.is_file() else "put it where the file expects it"
            raise UserError(f"load_asset: a body of {str(path)!r} collides as mesh {mesh.file!r}, which cannot be "
                            f"opened at {str(file)!r}: {what}.")
        for geom in users:
            spec.delete(geom)
        spec.delete(mesh)


def take_actuators(spec: mujoco.MjSpec) -> List[Tuple[str, ActuatorProperties]]:
    """(joint, properties) of the file's actuators; they leave `spec`: in Isaac Gym drives and efforts move joints."""
    properties = []
    for actuator in list(spec.actuators):
        made = ActuatorProperties()
        made.motor_effort = actuator.gear[0]
        made.lower_control_limit, made.upper_control_limit = actuator.ctrlrange
        made.lower_force_limit, made.upper_force_limit = actuator.forcerange
        made.kp, made.kv = actuator.gainprm[0], -actuator.biasprm[2]
        properties.append((str(actuator.target), made))
        spec.delete(actuator)
    return properties
