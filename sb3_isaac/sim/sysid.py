"""System identification: what a robot's joints are like, from a log of how they followed targets.

The robot hangs or stands on a stand, its trunk fixed and level and its legs in the air, and its drives follow targets
that move all joints at once. The same targets are simulated with other parameters until the joints move as in the log,
by MuJoCo's least squares (``mujoco.minimize``, what ``mujoco.sysid`` finds parameters with), all differences of a
Jacobian in one batch of worlds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Callable, Dict, Mapping, NamedTuple, Tuple

import mujoco
import numpy as np
import torch
from mujoco import minimize

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.engine import Engine
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.engine.scene import limit_targets, set_options
from sb3_isaac.robots import Robot
from sb3_isaac.robots.model import read_model
from sb3_isaac.sim.motion_log import MotionLog
from sb3_isaac.sim.scene import add_drives

PHYSICS_DT = 0.0025
SEGMENT_S, SETTLE_S = 2.0, 0.4
"""A log is simulated in pieces, each from the measured state, whose noise is forgotten after a while."""
LEAST_MOTION_RAD, BEYOND_RAD = 0.02, 0.2
"""What each joint has to move in a log, and how far beyond its range it may be seen."""


class Unknown(NamedTuple):
    """A parameter that is looked for: its first guess, and bounds."""

    guess: float
    low: float
    high: float
    unit: str


PARAMETERS: Dict[str, Unknown] = {
    "armature": Unknown(1.0, 0.05, 20.0, "of the robot's"),
    "damping": Unknown(0.1, 0.0, 10.0, "N·m·s/rad"),
    "friction": Unknown(0.05, 0.0, 10.0, "N·m"),
    "motor_strength": Unknown(1.0, 0.1, 3.0, "of the robot's"),
    "latency_s": Unknown(0.005, 0.0, 0.1, "s"),
}
"""``armature`` and ``motor_strength`` are factors; ``damping`` and ``friction`` are of every joint, and the drive's kd
comes on top."""


class Found(NamedTuple):
    """What a parameter was found to be, and half of its 95% interval."""

    value: float
    error: float


class HungRobot:
    """A robot with a fixed trunk in `num_worlds` worlds, each with parameters of its own."""

    def __init__(self, robot: Robot, num_worlds: int, physics_dt: float) -> None:
        if robot.drive != "position":
            raise UserError(f"robot {robot.name!r} has {robot.drive} drives, and motions are compared by targets of "
                            "position drives: give a robot with those.")
        spec = read_model(robot.mjcf, robot.feet)
        set_options(spec, physics_dt, iterations=10, alone=True)
        spec.compiler.discardvisual = True
        for joint in [joint for joint in spec.joints if joint.type == mujoco.mjtJoint.mjJNT_FREE]:
            spec.delete(joint)
        add_drives(spec, robot)
        model = spec.compile()
        limit_targets(model)
        joints = [model.joint(name) for name in robot.joints]
        self._dofs = [int(joint.dofadr[0]) for joint in joints]
        self._qpos = [int(joint.qposadr[0]) for joint in joints]
        self.engine, self.robot, self.dt = CpuEngine(model, num_worlds, threads=1), robot, physics_dt
        if not (model.dof_armature[self._dofs] > 0).any():
            raise UserError(f"robot {robot.name!r} has armature 0 in all joints, of which no factor can be found: give "
                            "it an armature_kgm2 first.")

    def set(self, params: Mapping[str, np.ndarray]) -> None:
        """Give each world its armature, damping, friction and motor_strength, (num_worlds,) each."""
        set_joints(self.engine, self.robot, params)

    def follow(self, target: np.ndarray, latency_s: np.ndarray, period_s: float, pos: np.ndarray,
               vel: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Positions and velocities (T, num_worlds, J) on the way of targets (T, num_worlds, J), from the first's pos
        and vel (num_worlds, J)."""
        worlds, steps = self.engine.num_worlds, round(period_s / self.dt)
        qpos, qvel = (torch.zeros(worlds, len(self._dofs)) for _ in range(2))
        qpos[:, self._qpos], qvel[:, self._dofs] = torch.tensor(pos).float(), torch.tensor(vel).float()
        self.engine.reset(torch.ones(worlds, dtype=torch.bool), qpos, qvel, torch.tensor(target[0]).float())
        now_pos, now_vel = self.engine.live("qpos"), self.engine.live("qvel")
        told, row = target.astype(np.float32), np.arange(worlds)
        out_pos, out_vel = (np.empty(target.shape) for _ in range(2))
        for k in range(len(target)):
            out_pos[k], out_vel[k] = now_pos[:, self._qpos].numpy(), now_vel[:, self._dofs].numpy()
            for s in range(steps):
                # What was told `latency_s` before this physics step, in parts where it changes within the step.
                x = np.maximum((k * steps + s) - latency_s / self.dt, 0.0) / steps
                first = np.floor(x + 1e-9).astype(int)
                part = np.clip((x - first) * steps + 1.0 - steps, 0.0, 1.0)[:, None]
                following = np.minimum(first + 1, k)
                ctrl = (1.0 - part) * told[first, row] + part * told[following, row]
                self.engine.step(torch.from_numpy(ctrl.astype(np.float32)), 1)
        return out_pos, out_vel


def set_joints(engine: Engine, robot: Robot, params: Mapping[str, np.ndarray]) -> None:
    """Give the robot of each world its armature, damping, friction and motor_strength, (num_worlds,) each."""
    model = engine.model
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.joints]
    of = {name: torch.as_tensor(values, dtype=torch.float32)[:, None] for name, values in params.items()}
    armature = torch.tensor(model.dof_armature[dofs], dtype=torch.float32)
    for field, values in (("dof_armature", armature * of["armature"]), ("dof_damping", of["damping"]),
                          ("dof_frictionloss", of["friction"])):
        now = engine.model_field(field)
        now[:, dofs] = values.expand(-1, len(dofs))
        engine.set_model_field(field, now)
    kp, kd, limit = (of["motor_strength"] * torch.tensor(v) for v in (robot.kp, robot.kd, robot.torque_limit_nm))
    gain, bias = engine.model_field("actuator_gainprm"), engine.model_field("actuator_biasprm")
    gain[..., 0], bias[..., 1], bias[..., 2] = kp, -kp, -kd
    engine.set_model_field("actuator_gainprm", gain)
    engine.set_model_field("actuator_biasprm", bias)
    engine.set_model_field("actuator_forcerange", torch.stack((-limit, limit), dim=2))


def excitation(robot: Robot, seconds: float, period_s: float, seed: int = 0) -> np.ndarray:
    """Targets (T, J) rad about the default pose: for each joint a sum of sines from 0.3 to 6 Hz of its own."""
    rng, times = np.random.default_rng(seed), np.arange(round(seconds / period_s)) * period_s
    hz = np.geomspace(0.3, 6.0, 8)[None, :, None] * rng.uniform(0.9, 1.1, (1, 8, len(robot.joints)))
    phase = rng.uniform(0, 2 * math.pi, (1, 8, len(robot.joints)))
    waves: np.ndarray = np.sin(2 * math.pi * hz * times[:, None, None] + phase).sum(axis=1)
    return np.asarray(robot.default_joint_pos) + 0.12 * waves


def record(robot: Robot, params: Mapping[str, float], seconds: float = 20.0, rate_hz: float = 200.0,
           noise: Tuple[float, float] = (0.001, 0.02), seed: int = 0) -> MotionLog:
    """A log of a simulated robot with these parameters, with noise of positions and velocities (standard deviations,
    rad and rad/s)."""
    given = checked_params(params)
    hung, period = HungRobot(robot, 1, _physics_dt(1.0 / rate_hz)), 1.0 / rate_hz
    hung.set({name: np.array([value]) for name, value in given.items()})
    target = excitation(robot, seconds, period, seed)
    pose = np.asarray(robot.default_joint_pos)[None]
    pos, vel = hung.follow(target[:, None], np.array([given["latency_s"]]), period, pose, np.zeros_like(pose))
    return with_noise(MotionLog(np.arange(len(target)) * period, target, pos[:, 0], vel[:, 0]), noise, seed + 1)


def checked_params(params: Mapping[str, float]) -> Dict[str, float]:
    """All parameters of a robot that is recorded: the first guesses where none are given.

    :raises UserError: for unknown ones, and values beyond their bounds.
    """
    given = {name: unknown_.guess for name, unknown_ in PARAMETERS.items()}
    for name, value in params.items():
        if name not in given:
            raise unknown("parameter", name, PARAMETERS, where="the recorder")
        if not PARAMETERS[name].low <= value <= PARAMETERS[name].high:
            raise UserError(f"{name} is {value:g}: give a value from {PARAMETERS[name].low:g} to "
                            f"{PARAMETERS[name].high:g}.")
        given[name] = float(value)
    return given


def with_noise(log: MotionLog, noise: Tuple[float, float], seed: int) -> MotionLog:
    """The log with white noise of positions and velocities, standard deviations in rad and rad/s."""
    rng = np.random.default_rng(seed)
    return replace(log, pos=log.pos + noise[0] * rng.standard_normal(log.pos.shape),
                   vel=log.vel + noise[1] * rng.standard_normal(log.vel.shape))


def _physics_dt(period_s: float) -> float:
    return period_s / math.ceil(period_s / PHYSICS_DT - 1e-9)


def identify(robot: Robot, log: MotionLog, max_iterations: int = 25) -> Dict[str, Found]:
    """The parameters with which the simulated joints move as in the log.

    The errors are of the noise in the log alone: of a real robot the model is wrong besides.
    """
    length, settle = round(SEGMENT_S / log.period_s), round(SETTLE_S / log.period_s)
    starts = list(range(0, len(log.times) - length + 1, length))
    if not starts:
        raise UserError(f"the log is {log.times[-1] - log.times[0]:.2f} s long: give at least {SEGMENT_S:g} s.")
    _check_motion(robot, log)
    pieces = [np.stack([values[s:s + length] for s in starts], axis=1) for values in (log.target, log.pos, log.vel)]
    target, pos, vel = pieces
    sizes = [_noise(values) for values in (log.pos, log.vel)]
    names = list(PARAMETERS)
    hung: Dict[int, HungRobot] = {}

    def residual(x: np.ndarray) -> np.ndarray:
        """(residuals, k) of parameters (n, k), each k a point."""
        points = x.shape[1]
        worlds = points * len(starts)
        if worlds not in hung:
            hung[worlds] = HungRobot(robot, worlds, _physics_dt(log.period_s))
        params = {name: np.repeat(x[i], len(starts)) for i, name in enumerate(names)}
        hung[worlds].set(params)
        told, first, speed = (np.tile(values, (1, points, 1)) for values in (target, pos, vel))
        moved = hung[worlds].follow(told, params["latency_s"], log.period_s, first[0], speed[0])
        parts = [((ours - theirs)[settle:] / size).reshape(length - settle, points, -1)
                 for ours, theirs, size in zip(moved, (first, speed), sizes)]
        return np.concatenate(parts, axis=2).transpose(0, 2, 1).reshape(-1, points)

    guess = np.array([PARAMETERS[name].guess for name in names])
    bounds = [np.array([getattr(PARAMETERS[name], end) for name in names]) for end in ("low", "high")]
    try:
        x, _ = minimize.least_squares(guess, residual, bounds=bounds, eps=1e-3, max_iter=max_iterations,
                                      x_scale="jac", xtol=1e-4, verbose=minimize.Verbosity.SILENT)
        errors = _intervals(residual, x.reshape(-1))
    finally:
        for robots in hung.values():
            robots.engine.close()
    return {name: Found(float(value), float(error)) for name, value, error in zip(names, x.flatten(), errors)}


def _check_motion(robot: Robot, log: MotionLog) -> None:
    """Raise a UserError where nothing can be found of a log: joints that rest, or angles in another unit."""
    hung = HungRobot(robot, 1, PHYSICS_DT)
    hung.engine.close()
    for i, name in enumerate(robot.joints):
        low, high = float(log.pos[:, i].min()), float(log.pos[:, i].max())
        if high - low < LEAST_MOTION_RAD:
            raise UserError(f"joint {name} moves by {high - low:.3f} rad in the log, of which nothing can be found: "
                            f"let all joints move at once, by {LEAST_MOTION_RAD:g} rad at least.")
        ends = hung.engine.model.joint(name).range
        if hung.engine.model.joint(name).limited[0] and (low < ends[0] - BEYOND_RAD or high > ends[1] + BEYOND_RAD):
            raise UserError(f"pos_{name} is from {low:.3g} to {high:.3g} in the log and the joint turns from "
                            f"{ends[0]:.3g} to {ends[1]:.3g} rad: correct its unit, sign or zero, or the robot's file.")


def _noise(values: np.ndarray) -> float:
    """Standard deviation of white noise on a smooth signal (T, J), by its second differences."""
    return float(np.std(values[2:] - 2 * values[1:-1] + values[:-2]) / math.sqrt(6.0)) + 1e-6


def _intervals(residual: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Half of the 95% intervals (n,) at x (n,): 1.96 √diag(σ² (JᵀJ)⁻¹), with σ² from what is left."""
    steps = 1e-3 * np.maximum(np.abs(x), 0.01)
    values = residual(np.concatenate((x[:, None], x[:, None] + np.diag(steps)), axis=1))
    left, jacobian = values[:, 0], (values[:, 1:] - values[:, :1]) / steps
    variance = float((left**2).sum()) / max(left.size - x.size, 1)
    errors: np.ndarray = 1.96 * np.sqrt(np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * variance)
    return errors


def identified_robot(robot: Robot, found: Mapping[str, Found]) -> Robot:
    """The robot with drives, armature and friction as they were found; latency is ``randomize.latency_s``'s."""
    strength, scene = found["motor_strength"].value, HungRobot(robot, 1, PHYSICS_DT)
    model, dofs = scene.engine.model, scene._dofs
    own = model.dof_damping[dofs]
    kd = tuple(max(strength * old + found["damping"].value - file, 0.0) for old, file in zip(robot.kd, own.tolist()))
    armature = tuple(float(value) * found["armature"].value for value in model.dof_armature[dofs])
    return replace(robot, kp=tuple(strength * value for value in robot.kp), kd=kd, armature_kgm2=armature,
                   torque_limit_nm=tuple(strength * value for value in robot.torque_limit_nm),
                   friction_nm=(found["friction"].value,) * len(robot.joints))
