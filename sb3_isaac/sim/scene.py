"""The scene of the MuJoCo simulator: a robot's MJCF on a floor."""

from __future__ import annotations

import mujoco

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.scene import add_contact_sensor, add_drive, add_position_sensor, limit_targets, set_options
from sb3_isaac.robots import Robot


def compose_scene(robot: Robot, physics_dt: float, visuals: bool = False) -> mujoco.MjModel:
    """The robot on a plane, with position drives on its joints, contact sensors on its bodies, positions of its feet.

    Actuators follow ``Robot.joints``. MuJoCo combines the friction of two geoms by their maximum: the floor's 0.8 (dry
    rubber on concrete) is meant to be the larger.

    :param physics_dt: seconds of a physics step.
    :param visuals: keep what is only to look at. Without it a step is a fifth faster, and its results are the same to
        the bit.
    """
    try:
        spec = mujoco.MjSpec.from_file(robot.mjcf)
    except ValueError as error:
        raise _unreadable(robot, error) from error
    set_options(spec, physics_dt, iterations=10)
    spec.compiler.discardvisual = not visuals
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    _add_drives(spec, robot)
    for body in [body.name for body in spec.bodies if body.name != "world"]:
        add_contact_sensor(spec, body)
    for foot in robot.feet:
        if spec.body(foot) is not None:  # else the sentence below
            add_position_sensor(spec, foot)
    _add_surroundings(spec)
    try:
        model = spec.compile()
    except ValueError as error:
        raise _unreadable(robot, error) from error
    _check(model, robot)
    limit_targets(model)
    return model


def _unreadable(robot: Robot, error: ValueError) -> UserError:
    return UserError(f"robot {robot.name!r} has mjcf={robot.mjcf!r}: give a file that MuJoCo can load, which says "
                     f"{' '.join(str(error).split())!r}.")


def _add_drives(spec: mujoco.MjSpec, robot: Robot) -> None:
    """PD drives τ = kp (target − q) − kd q̇, limited to the joint's torque; targets are limited to its range."""
    for name, limit in zip(robot.joints, robot.torque_limit_nm):
        joint = spec.joint(name)
        if joint is None:
            raise UserError(f"robot {robot.name!r} names joint {name!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(j.name for j in spec.joints if j.name)}.")
        add_drive(spec, name, gain=robot.kp, kp=robot.kp, kd=robot.kd, limit=limit)


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    """Floor, light and sky. The floor meets the robot's geoms, which do not meet each other."""
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=[0.36, 0.55, 0.78], rgb2=[0.90, 0.93, 0.96], width=256, height=1536)
    spec.add_texture(name="floor", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
                     rgb1=[0.36, 0.40, 0.45], rgb2=[0.41, 0.45, 0.50], width=512, height=512,
                     mark=mujoco.mjtMark.mjMARK_EDGE, markrgb=[0.58, 0.62, 0.67])
    material = spec.add_material(name="floor", texrepeat=[1, 1], texuniform=True, specular=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], material="floor",
                            friction=[0.8, 0.005, 0.0001], contype=1, conaffinity=0)
    # Its shadows reach only so far from its position, which therefore goes along with the robot.
    spec.worldbody.add_light(pos=[0.6, -1.2, 4], dir=[-0.15, 0.3, -1], mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM,
                             type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=True,
                             diffuse=[0.75, 0.73, 0.7], specular=[0.4, 0.4, 0.4])
    spec.visual.headlight.ambient[:] = [0.35, 0.36, 0.38]
    spec.visual.headlight.diffuse[:] = [0.3, 0.3, 0.3]
    spec.visual.rgba.haze[:] = [0.86, 0.90, 0.94, 1]
    spec.visual.map.shadowclip = 5.0
    # Fine enough to look round; MuJoCo's defaults take twice as long without a graphics card.
    spec.visual.quality.shadowsize, spec.visual.quality.numslices, spec.visual.quality.numstacks = 2048, 20, 10


def _check(model: mujoco.MjModel, robot: Robot) -> None:
    names = {model.body(i).name for i in range(model.nbody)}
    for body in (robot.trunk, *robot.feet, *robot.penalised_bodies, *robot.terminal_bodies):
        if body not in names:
            raise UserError(f"robot {robot.name!r} names body {body!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(sorted(names - {'world'}))}.")
    on_trunk = model.jnt_bodyid[0] == model.body(robot.trunk).id
    if model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE or not on_trunk or model.nq != 7 + len(robot.joints):
        raise UserError(f"{robot.mjcf} must hold one free joint on the trunk and the {len(robot.joints)} joints that "
                        f"robot {robot.name!r} names: it has {model.njnt} joints.")
