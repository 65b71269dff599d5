"""An MJCF file as a MuJoCo specification of the robot alone: without its floor, lights, cameras and keyframes."""

from __future__ import annotations

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
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise UserError(f"load_asset: MuJoCo cannot read {str(path)!r}: {' '.join(str(error).split())}.") from error
    for geom in list(spec.worldbody.geoms):
        spec.delete(geom)  # floors and walls belong to the scene, not to the robot
    materials = {material.name for material in spec.materials}
    for geom in spec.geoms:
        if geom.material and geom.material not in materials:
            geom.material = ""  # Isaac Gym takes files that name materials without defining them
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
