"""A robot's model put to the test: does it stand under its drives, and what stands in its way?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Set, Tuple

import mujoco
import numpy as np

from sb3_isaac.robots import Robot
from sb3_isaac.robots.model import read_model
from sb3_isaac.sim.scene import compose_scene

STAND_S, PHYSICS_DT = 2.0, 0.01
LEAST_HEIGHT, LEAST_UPRIGHT, MOST_SPEED = 0.7, 0.95, 0.5
"""Of a robot that stands: its height by that at the start, cosine of its tilt, and rad/s or m/s of its joints."""
MOST_TORQUE = 0.7
"""Share of a torque limit beyond which standing leaves too little for steps."""


@dataclass(frozen=True)
class Check:
    """What was tested, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str


def check_robot(robot: Robot) -> List[Check]:
    """All checks, the decisive one, ``stands``, first. Torque drives hold no pose: there is no standing to check."""
    model = compose_scene(robot, PHYSICS_DT)
    standing: Tuple[Callable[[Robot, mujoco.MjModel], Check], ...] = (_stands, _torque)
    tests = (*(standing if robot.drive == "position" else ()), _order, _limits, _mass, _self_collision)
    return [test(robot, model) for test in tests]


def _placed(robot: Robot, model: mujoco.MjModel) -> mujoco.MjData:
    """The default pose, feet on the ground."""
    data = mujoco.MjData(model)
    data.qpos[:7] = (0, 0, robot.base_height_m, 1, 0, 0, 0)
    data.qpos[[model.joint(name).qposadr[0] for name in robot.joints]] = robot.default_joint_pos
    data.ctrl[:] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    return data


def _stands(robot: Robot, model: mujoco.MjModel) -> Check:
    data = _placed(robot, model)
    steps, touched, fastest = round(STAND_S / PHYSICS_DT), set(), 0.0
    for step in range(steps):
        mujoco.mj_step(model, data)
        touched |= _touching(model, data)
        if step >= 0.75 * steps:
            fastest = max(fastest, float(np.abs(data.qvel).max()))
    height, upright = float(data.qpos[2]) / robot.base_height_m, float(data.body(robot.trunk).xmat[8])
    fallen = touched & set(robot.terminal_bodies)
    holds = height > LEAST_HEIGHT and upright > LEAST_UPRIGHT and fastest < MOST_SPEED and not fallen
    ground = ", ".join(sorted(touched - set(robot.feet))) or "nothing else"
    advice = "" if holds else "; try a larger kp, another default_joint_pos, or physics steps of 5 ms"
    return Check(f"stands {STAND_S:g} s", holds, f"{height:.0%} of its height, tilted by "
                 f"{np.degrees(np.arccos(np.clip(upright, -1, 1))):.1f}°, moving at most {fastest:.2f} rad/s at the "
                 f"end, on the ground besides its feet: {ground}{advice}")


def _touching(model: mujoco.MjModel, data: mujoco.MjData) -> Set[str]:
    bodies = {int(model.geom_bodyid[geom]) for contact in data.contact for geom in contact.geom}
    return {model.body(body).name for body in bodies if body}


def _torque(robot: Robot, model: mujoco.MjModel) -> Check:
    data = _placed(robot, model)
    mujoco.mj_step(model, data, round(STAND_S / PHYSICS_DT))
    used = np.abs(data.actuator_force) / np.array(robot.torque_limit_nm)
    most = int(used.argmax())
    weight = -model.opt.gravity[2] * model.body_subtreemass[0]
    return Check("torque budget", bool(used[most] < MOST_TORQUE),
                 f"standing takes {used[most]:.0%} of {robot.joints[most]}'s {robot.torque_limit_nm[most]:g} N·m, "
                 f"for a weight of {weight:.0f} N")


def _order(robot: Robot, model: mujoco.MjModel) -> Check:
    """Whether the joints of each leg follow one another."""
    legs: List[str] = []
    for name in robot.joints:
        body = int(model.joint(name).bodyid[0])
        while model.body_parentid[body] and model.body(model.body_parentid[body]).name != robot.trunk:
            body = int(model.body_parentid[body])
        if not legs or legs[-1] != model.body(body).name:
            legs.append(model.body(body).name)
    return Check("joint order", len(legs) == len(set(legs)), f"{len(robot.joints)} joints, branch by branch: "
                 f"{', '.join(legs)}")


def _limits(robot: Robot, model: mujoco.MjModel) -> Check:
    free = [name for name in robot.joints if not model.joint(name).limited[0]]
    return Check("joint limits", not free, f"none for {', '.join(free)}: they turn freely" if free else
                 "every joint has a range, and the default pose lies in it")


def _mass(robot: Robot, model: mujoco.MjModel) -> Check:
    """Inertias that a rotation makes possible: any two principal moments add up to at least the third."""
    moving = [b for b in range(1, model.nbody) if model.body_jntnum[b]]
    masses, moments = model.body_mass[moving], model.body_inertia[moving]
    trunk = float(model.body(robot.trunk).mass[0])
    light = [model.body(b).name for b in moving if model.body_mass[b] < 1e-3]
    impossible = [model.body(b).name for b, own in zip(moving, moments) if 2 * own.max() > 1.01 * own.sum()]
    wrong = f"; below 1 g: {', '.join(light)}" * bool(light) + \
        f"; inertias that no body has: {', '.join(impossible)}" * bool(impossible)
    return Check("masses", not wrong, f"{model.body_subtreemass[0]:.2f} kg, trunk {trunk:.2f}, links "
                 f"{masses.min():.3f} to {masses.max():.3f}{wrong}")


def _self_collision(robot: Robot, model: mujoco.MjModel) -> Check:
    """Bodies that overlap in the default pose and are not next to each other; the simulation lets them pass."""
    spec = read_model(robot.mjcf, robot.feet)
    spec.compiler.discardvisual = True
    for geom in spec.geoms:
        geom.contype = geom.conaffinity
    own = spec.compile()
    data = mujoco.MjData(own)
    data.qpos[[own.joint(name).qposadr[0] for name in robot.joints]] = robot.default_joint_pos
    mujoco.mj_forward(own, data)
    pairs = {"-".join(sorted(own.body(own.geom_bodyid[g]).name for g in contact.geom)) for contact in data.contact}
    return Check("self-collision", not pairs, f"in the default pose {', '.join(sorted(pairs))} overlap; they pass "
                 "through each other" if pairs else "no two links overlap in the default pose")
