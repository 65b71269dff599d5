"""An MJCF file as a MuJoCo specification of the robot alone: without its floor, lights, cameras and keyframes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import List

import mujoco

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.types.structs import ActuatorProperties, AssetOptions


def mjcf_spec(path: Path, options: AssetOptions) -> mujoco.MjSpec:
    """The file's robot. Bodies and joints keep the file's order, and those without a name get one.

    With ``fix_base_link`` a free joint of the root is removed; a root without one stays fixed, as the file says.
    """
    try:
        spec = _load(path)
    except ValueError as error:
        raise UserError(f"load_asset: MuJoCo cannot read {str(path)!r}: {' '.join(str(error).split())}.") from error
    for geom in list(spec.worldbody.geoms):
        spec.delete(geom)  # floors and walls belong to the scene, not to the robot
    for items in (spec.lights, spec.cameras, spec.keys, spec.sensors):
        for item in list(items):
            spec.delete(item)
    for i, body in enumerate(b for b in spec.bodies if b.name != "world"):
        body.name = body.name or f"body{i}"
        if options.disable_gravity:
            body.gravcomp = 1.0
    for i, joint in enumerate(spec.joints):
        joint.name = joint.name or f"joint{i}"
    if options.fix_base_link:
        for joint in [j for j in spec.joints if j.type == mujoco.mjtJoint.mjJNT_FREE]:
            spec.delete(joint)
    return spec


def take_actuators(spec: mujoco.MjSpec) -> List[ActuatorProperties]:
    """The file's actuators as properties; they leave `spec`, for in Isaac Gym drives and efforts move the joints."""
    properties = []
    for actuator in list(spec.actuators):
        made = ActuatorProperties()
        made.motor_effort = actuator.gear[0]
        made.lower_control_limit, made.upper_control_limit = actuator.ctrlrange
        made.lower_force_limit, made.upper_force_limit = actuator.forcerange
        made.kp, made.kv = actuator.gainprm[0], -actuator.biasprm[2]
        properties.append(made)
        spec.delete(actuator)
    return properties


def _load(path: Path) -> mujoco.MjSpec:
    """The file, and if that fails without the materials that it names but does not define."""
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        if "material" not in str(error):
            raise
    root = ET.parse(str(path)).getroot()
    defined = {e.get("name") for asset in root.findall("asset") for e in asset.findall("material")}
    for element in root.iter():
        if element.get("material") is not None and element.get("material") not in defined:
            del element.attrib["material"]
    spec = mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
    spec.modelfiledir = str(path.parent.resolve())
    return spec
