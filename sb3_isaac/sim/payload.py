"""The payload of a robot that stands on its feet and slowly rises and sinks: what its drives lift beyond its weight.

Lift the trunk by a little while the feet stay where they are: the work of the drives is that of the weight, whatever
the forces between the feet and the ground are. So each row of a log gives the weight, from the joints' torques alone
(virtual work, without accelerations: they are 0 on average over whole ups and downs).
"""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Optional, Tuple

import mujoco
import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.robots import Robot
from sb3_isaac.sim.motion_log import MotionLog
from sb3_isaac.sim.mujoco import MujocoSimulator
from sb3_isaac.sim.scene import compose_scene
from sb3_isaac.sim.sysid import Found, checked_params, set_joints, with_noise

PHYSICS_DT = 0.0025
GRAVITY = 9.81
RISE_M, RISE_S = 0.02, 2.0
"""What is recorded rises and sinks by so much, within so many seconds up and down."""
STANDS = 0.3
"""Drives that carry less than this part of the robot's weight are of a robot that does not stand."""
SLOW_RAD_S = 0.05
"""Below this speed the direction of a joint's friction is uncertain."""


class Stance:
    """A robot that stands on its feet, level or nearly so, and what its joints do when the trunk is lifted."""

    def __init__(self, robot: Robot) -> None:
        if robot.drive != "position" or 3 * len(robot.feet) != len(robot.joints):
            raise UserError(f"robot {robot.name!r} has {len(robot.joints)} joints, {len(robot.feet)} feet and "
                            f"{robot.drive} drives, and a payload is found of robots with position drives and three "
                            "joints a leg: weigh it, and leave out --standing.")
        self.model = model = compose_scene(robot, PHYSICS_DT)
        self._data, self._height = mujoco.MjData(model), 2.0 + robot.base_height_m
        joints = [model.joint(name) for name in robot.joints]
        self._qpos, self._dofs = ([int(getattr(joint, name)[0]) for joint in joints] for name in ("qposadr", "dofadr"))
        bodies = [model.body(name).id for name in robot.feet]
        self._floor = int(model.geom("floor").id)
        # A box, up to 1 m high and below the feet: MuJoCo measures no distances to a plane.
        model.geom_type[self._floor], model.geom_size[self._floor] = mujoco.mjtGeom.mjGEOM_BOX, (10.0, 10.0, 1.0)
        self._feet = [[g for g in range(model.ngeom) if model.geom_bodyid[g] == body and model.geom_conaffinity[g]]
                      for body in bodies]
        self.mass_kg = float(model.body_subtreemass[0])

    def lift(self, joint_pos: np.ndarray) -> Tuple[np.ndarray, float]:
        """How fast the joints (J,) turn when the trunk is lifted by 1 m/s from joint_pos (J,) rad, the feet staying,
        rad/m, and the weight that is lifted so, N."""
        model, data = self.model, self._data
        data.qpos[:7] = (0.0, 0.0, self._height, 1.0, 0.0, 0.0, 0.0)
        data.qpos[self._qpos] = joint_pos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        touching = [self._lowest(geoms) for geoms in self._feet]
        # The ground goes through the feet: gravity is along its normal, as the trunk sees it.
        points = np.stack([point for point, _ in touching])
        up = np.linalg.svd(points - points.mean(axis=0))[2][2]
        up = up * np.sign(up[2])
        model.opt.gravity[:] = -GRAVITY * up
        mujoco.mj_forward(model, data)
        rows = []
        for point, body in touching:
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacobian, None, point, body)
            rows.append(jacobian)
        stays = np.concatenate(rows)
        speed = np.zeros(model.nv)
        speed[:3] = up
        turn: np.ndarray = np.linalg.lstsq(stays[:, self._dofs], -stays @ speed, rcond=None)[0]
        speed[self._dofs] = turn
        return turn, float(data.qfrc_bias @ speed)

    def _lowest(self, geoms: List[int]) -> Tuple[np.ndarray, int]:
        """The point of a foot's geoms that is nearest to the floor, and their body."""
        best, least, segment = np.zeros(3), math.inf, np.zeros(6)
        for geom in geoms:
            distance = mujoco.mj_geomDistance(self.model, self._data, self._floor, geom, 10.0, segment)
            if distance < least:
                best, least = segment[3:].copy(), distance
        return best, int(self.model.geom_bodyid[geoms[0]])


def find_payload(robot: Robot, log: MotionLog, found: Mapping[str, Found]) -> Found:
    """The mass kg of what the trunk carries, from a log of the standing robot and what was found of its joints.

    :raises UserError: where the drives hardly carry the robot, or its legs are not of three joints.
    """
    stance = Stance(robot)
    strength = found["motor_strength"].value
    kp, kd, limit = (np.array(values) for values in (robot.kp, robot.kd, robot.torque_limit_nm))
    told = log.target[np.maximum(np.arange(len(log.times)) - round(found["latency_s"].value / log.period_s), 0)]
    torque = strength * np.clip(kp * (told - log.pos) - kd * log.vel, -limit, limit)
    torque -= found["damping"].value * log.vel + found["friction"].value * np.clip(log.vel / SLOW_RAD_S, -1.0, 1.0)
    period = round(RISE_S / log.period_s)
    every = max(period // 50, 1)
    rows = np.arange(0, len(log.times) // period * period, every)
    lifts = [stance.lift(log.pos[row]) for row in rows]
    carried = np.array([torque[row] @ turn for row, (turn, _) in zip(rows, lifts)]) / GRAVITY
    extra = carried - np.array([weight for _, weight in lifts]) / GRAVITY
    if not len(rows) or carried.mean() < STANDS * stance.mass_kg:
        raise UserError(f"the drives carry {carried.mean() if len(rows) else 0.0:.1f} kg of a robot of "
                        f"{stance.mass_kg:.1f} kg in the log of --standing: let it stand on its feet alone, and rise "
                        f"and sink slowly, for at least {RISE_S:g} s.")
    pieces = extra.reshape(-1, period // every) if len(rows) % (period // every) == 0 else extra[None]
    spread = pieces.mean(axis=1).std() / math.sqrt(len(pieces))
    of_strength = carried.mean() * found["motor_strength"].error / strength
    return Found(float(extra.mean()), float(math.hypot(1.96 * spread, of_strength)))


def _rough_ground(model: mujoco.MjModel, num_worlds: int, threads: Optional[int]) -> CpuEngine:
    """An engine in which standing feet stay where they are: else they creep outwards, centimetres a second."""
    model.opt.noslip_iterations = 10
    return CpuEngine(model, num_worlds, threads)


def record_standing(robot: Robot, params: Mapping[str, float], payload_kg: float, seconds: float = 20.0,
                    rate_hz: float = 200.0, noise: Tuple[float, float] = (0.001, 0.02), seed: int = 0) -> MotionLog:
    """A log of a simulated robot with these parameters that carries a payload, as
    :func:`~sb3_isaac.sim.sysid.record` writes of one that hangs."""
    given: Dict[str, float] = checked_params(params)
    stance, period = Stance(robot), 1.0 / rate_hz
    substeps = math.ceil(period / PHYSICS_DT - 1e-9)
    sim = MujocoSimulator(robot, 1, physics_dt=period / substeps, substeps=substeps, threads=1, engine=_rough_ground)
    trunk_kg = float(sim.get_param("trunk_mass"))
    if trunk_kg + payload_kg <= 0.0:
        raise UserError(f"payload_kg is {payload_kg:g}, which leaves nothing of a trunk of {trunk_kg:.3g} kg: give "
                        f"more than -{trunk_kg:.3g}.")
    sim.set_param("trunk_mass", torch.tensor([trunk_kg + payload_kg]))
    set_joints(sim.engine, robot, {name: np.array([value]) for name, value in given.items()})
    pose, still = torch.tensor([robot.default_joint_pos]), torch.zeros(1, 3)
    sim.reset(torch.ones(1, dtype=torch.bool), torch.tensor([[0.0, 0.0, robot.base_height_m]]),
              torch.tensor([[1.0, 0.0, 0.0, 0.0]]), still, still, pose, torch.zeros_like(pose))
    turn, _ = stance.lift(np.asarray(robot.default_joint_pos))
    steps, settle = round(seconds / period), round(1.0 / period)
    rise = RISE_M * np.sin(2 * math.pi / RISE_S * period * np.maximum(np.arange(settle + steps) - settle, 0))
    target = np.asarray(robot.default_joint_pos) + rise[:, None] * turn
    late = np.maximum(np.arange(len(target) * substeps) - round(given["latency_s"] / sim.physics_dt), 0) // substeps
    pos, vel = np.empty_like(target), np.empty_like(target)
    for k in range(len(target)):
        pos[k], vel[k] = sim.state.joint_pos[0].numpy(), sim.state.joint_vel[0].numpy()
        told = target[late[k * substeps:(k + 1) * substeps]]
        sim.step(torch.from_numpy(told).float()[:, None])
    sim.close()
    return with_noise(MotionLog(np.arange(steps) * period, *(v[settle:] for v in (target, pos, vel))), noise, seed + 1)
