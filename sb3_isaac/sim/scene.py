"""The scene of the MuJoCo simulator: a robot's MJCF on a plane or a heightfield."""

from __future__ import annotations

from typing import Dict, Optional

import mujoco

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.ground_planes import put_planes
from sb3_isaac.engine.scene import add_contact_sensor, add_drive, add_position_sensor, limit_targets, plain, set_options
from sb3_isaac.robots import Robot
from sb3_isaac.robots.model import read_model, unreadable
from sb3_isaac.terrain.heightfield import WALKING_LOWERED_M, WALKING_MARGIN_M, Heightfield

POSE_TOLERANCE_RAD = 0.01
"""A default pose may be this far outside a joint's range: keyframes are rounded."""


def compose_scene(robot: Robot, physics_dt: float, visuals: bool = False,
                  ground: Optional[Heightfield] = None, planes: bool = False) -> mujoco.MjModel:
    """The robot on its ground, with drives on its joints, sensors of contact on its bodies and of position on its feet.

    Actuators follow ``Robot.joints``. MuJoCo combines the friction of two geoms by their maximum: the floor's 0.8 (dry
    rubber on concrete) is meant to be the larger.

    :param physics_dt: seconds of a physics step.
    :param visuals: keep what is only to look at. Without it a step is a fifth faster, and its results are the same to
        the bit on a plane.
    :param ground: None is a plane. A heightfield is drawn where feet stand, and lies lower where it is felt.
    :param planes: the ground is planes that an engine moves along (:mod:`~sb3_isaac.engine.ground_planes`).
    """
    spec = read_model(robot.mjcf, robot.feet)
    set_options(spec, physics_dt, iterations=10, alone=True)
    spec.compiler.discardvisual = not visuals
    add_drives(spec, robot)
    for body in [body.name for body in spec.bodies if body.name != "world"]:
        add_contact_sensor(spec, body)
    for foot in robot.feet:
        if spec.body(foot) is not None:  # else the sentence below
            add_position_sensor(spec, foot)
    _add_surroundings(spec, None if planes else ground, visuals)
    if ground is not None:  # else a picture's distances and shadows would be for the size of the whole ground
        spec.stat.extent, spec.stat.center[:] = 2.0 * robot.base_height_m, [0.0, 0.0, robot.base_height_m]
    try:
        model = spec.compile()
    except ValueError as error:
        raise unreadable(robot.mjcf, error) from error
    _check(model, robot)
    _check_pose(model, robot)
    if planes:
        put_planes(spec, model, "floor")
        model = spec.compile()
    if robot.drive == "position":
        limit_targets(model)
    return model


def add_drives(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Drives τ = kp (target − q) − kd q̇, or τ = target − kd q̇ where they are torque drives, limited to the joint's
    torque."""
    unset = (None,) * len(robot.joints)
    for name, kp, kd, limit, own, friction in zip(robot.joints, robot.kp, robot.kd, robot.torque_limit_nm,
                                                  robot.armature_kgm2 or unset, robot.friction_nm or unset):
        joint = spec.joint(name)
        if joint is None:
            raise UserError(f"robot {robot.name!r} names joint {name!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(j.name for j in spec.joints if j.name)}.")
        if own is not None:
            joint.armature = own
        if friction is not None:
            joint.frictionloss = friction
        add_drive(spec, name, gain=kp if robot.drive == "position" else 1.0, kp=kp, kd=kd, limit=limit)


def _add_surroundings(spec: mujoco.MjSpec, ground: Optional[Heightfield], visuals: bool) -> None:
    """Floor, light and sky. The floor meets the robot's geoms, which do not meet each other."""
    kinds, patterns, own = mujoco.mjtTexture, mujoco.mjtBuiltin, plain()
    spec.add_texture(name="scene sky", type=kinds.mjTEXTURE_SKYBOX, builtin=patterns.mjBUILTIN_GRADIENT,
                     rgb1=[0.47, 0.62, 0.80], rgb2=[0.76, 0.82, 0.88], width=256, height=1536)
    spec.add_texture(name="scene floor", type=kinds.mjTEXTURE_2D, builtin=patterns.mjBUILTIN_CHECKER,
                     rgb1=[0.36, 0.40, 0.45], rgb2=[0.41, 0.45, 0.50], width=512, height=512,
                     mark=mujoco.mjtMark.mjMARK_EDGE, markrgb=[0.58, 0.62, 0.67])
    material = spec.add_material(own, name="scene floor", texrepeat=[1, 1], texuniform=True, specular=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "scene floor"
    if ground is None:
        floor = spec.worldbody.add_geom(own, name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    else:
        felt = {} if visuals else {"margin_m": WALKING_MARGIN_M, "lowered_m": WALKING_LOWERED_M}
        floor = ground.add_to(spec, "floor", **felt)
    floor.material, floor.friction[:], floor.contype, floor.conaffinity = "scene floor", [0.8, 0.005, 0.0001], 1, 0
    # Its shadows reach only so far from its position, which therefore goes along with the robot.
    spec.worldbody.add_light(own, pos=[0.6, -1.2, 4], dir=[-0.15, 0.3, -1],
                             mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM,
                             type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=True,
                             diffuse=[0.75, 0.73, 0.7], specular=[0.4, 0.4, 0.4])
    spec.visual.headlight.ambient[:] = [0.35, 0.36, 0.38]
    spec.visual.headlight.diffuse[:] = [0.3, 0.3, 0.3]
    spec.visual.rgba.haze[:] = [0.76, 0.82, 0.88, 1]
    spec.visual.map.haze = 0.7
    spec.visual.rgba.fog[:] = [0.62, 0.73, 0.84, 1]  # the sky at the horizon
    spec.visual.map.fogstart, spec.visual.map.fogend = 5.0, 22.0
    spec.visual.map.shadowclip = 5.0
    # Fine enough to look round; MuJoCo's defaults take twice as long without a graphics card.
    spec.visual.quality.shadowsize, spec.visual.quality.numslices, spec.visual.quality.numstacks = 2048, 20, 10


def _check(model: mujoco.MjModel, robot: Robot) -> None:
    names = {model.body(i).name for i in range(model.nbody)}
    for body in (robot.trunk, *robot.feet, *robot.penalised_bodies, *robot.terminal_bodies):
        if body not in names:
            raise UserError(f"robot {robot.name!r} names body {body!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(sorted(names - {'world'}))}.")
    for foot in robot.feet:
        if not (model.geom_conaffinity[model.geom_bodyid == model.body(foot).id] != 0).any():
            raise UserError(f"robot {robot.name!r} names foot {foot!r}, a body without a geom that can touch: name the "
                            f" body or geom that does, one of {', '.join(_touching(model))}.")
    on_trunk = model.jnt_bodyid[0] == model.body(robot.trunk).id
    if model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE or not on_trunk or model.nq != 7 + len(robot.joints):
        raise UserError(f"{robot.mjcf} must hold one free joint on the trunk and the {len(robot.joints)} joints that "
                        f"robot {robot.name!r} names: it has {model.njnt} joints.")


def _touching(model: mujoco.MjModel) -> Dict[str, None]:
    """Names of the bodies that can touch the ground, in order."""
    geoms = [g for g in range(model.ngeom) if model.geom_conaffinity[g] and model.geom_bodyid[g]]
    return {model.body(model.geom_bodyid[g]).name: None for g in geoms}


def _check_pose(model: mujoco.MjModel, robot: Robot) -> None:
    for name, angle in zip(robot.joints, robot.default_joint_pos):
        joint = model.joint(name).id
        low, high = model.jnt_range[joint]
        if model.jnt_limited[joint] and not low - POSE_TOLERANCE_RAD <= angle <= high + POSE_TOLERANCE_RAD:
            raise UserError(f"robot {robot.name!r} has joint {name!r} at {angle:g} rad in its default pose, and "
                            f"{robot.mjcf} lets it turn from {low:.3g} to {high:.3g}: give another default_joint_pos, "
                            "or correct the range, such as its unit (<compiler angle=\"radian\"/>).")
