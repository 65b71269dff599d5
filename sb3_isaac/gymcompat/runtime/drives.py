"""What moves the joints: efforts, and position and velocity drives that are integrated implicitly, as PhysX does.

A drive's force is f = kp (target − q) + kd (target velocity − q̇), within ±effort. Taken at the end of a step of h
seconds, where q is q + h q̇', it is

    f = kp (target − q) + kd (target velocity) − (kd + kp h) q̇',

so a drive is an actuator with the damping kd + kp h, which MuJoCo integrates implicitly: stable for any gain.

MuJoCo decides by the force at the step's start whether an actuator saturates. Where h (kd + kp h) is far above the
joint's inertia that force is not the one which would act, and ±effort for a whole step overshoots. Such a stiff drive
is dry friction with the limit `effort` between the joint and something that moves at the speed

    s = (kp (target − q) + kd (target velocity)) / (kd + kp h):

MuJoCo's friction is a force within its limit that is linear in the velocity difference at the step's end,
f = (kd + kp h) (s − q̇'), which is the law above; its solver finds it together with the contacts. "Something" is a
tendon on the joint and on a clock, one body that slides at a known speed, with s for its coefficient. Where one drive
of an environment is stiff all are made so: MuJoCo's solver sees actuators' forces as they are at the step's start.
"""

from __future__ import annotations

from typing import Dict, Optional, Sequence, Set, Union

import mujoco
import numpy as np
import torch

from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.asset import UNLIMITED
from sb3_isaac.gymcompat.model.scene import Scene
from sb3_isaac.gymcompat.runtime.stacked import is_driven, stacked
from sb3_isaac.gymcompat.runtime.velocity_limits import VelocityLimits

_STIFF = 10.0
"""h (kd + kp h) over the joint's inertia from which a drive is stiff."""
_CLOCK_SPEED = 1e3
"""m/s: so fast that the tendons' coefficients are small, and pull nothing worth mentioning on the clock."""


def driven_joints(envs: Sequence[Env]) -> Set[int]:
    """Joints, counted over an environment's actors, that follow targets in any environment."""
    return set(np.flatnonzero(is_driven(stacked(envs, lambda a: a.dof["driveMode"])).any(axis=0)).tolist())


def has_stiff_drives(envs: Sequence[Env], model: mujoco.MjModel, dofs: np.ndarray) -> bool:
    """Whether the drives of these environments have to be found together with the constraints: one of them is stiff,
    or attractors hold bodies.

    :param dofs: the joints' degrees of freedom in `model`.
    """
    if envs[0].attractors:
        return True
    dof = stacked(envs, lambda a: a.dof)
    stiff = implicit_gain(dof, model.opt.timestep) * model.opt.timestep * model.dof_invweight0[dofs] > _STIFF
    return bool((stiff & is_driven(dof["driveMode"])).any())


def implicit_gain(dof: np.ndarray, step_s: float) -> np.ndarray:
    """kd + kp h, N·m·s/rad or N·s/m, of joints' properties."""
    return dof["damping"].astype(float) + dof["stiffness"].astype(float) * step_s


def limit(dof: np.ndarray) -> np.ndarray:
    """Most force of a drive, N·m or N: an effort of 0 is none given."""
    return np.where(dof["effort"] > 0, dof["effort"], UNLIMITED)


def drive_fields(scene: Scene, dof: np.ndarray, out: Dict[str, np.ndarray]) -> None:
    """Write joints' properties `dof` (N, D) into the model fields `out` (N, ...) of their drives."""
    step_s, driven = scene.model.opt.timestep, is_driven(dof["driveMode"])
    gain, most = implicit_gain(dof, step_s) * driven, limit(dof)
    has, ids = np.flatnonzero(scene.drives >= 0), scene.drives[scene.drives >= 0]
    out["actuator_biasprm"][:, ids, 1] = (-dof["stiffness"] * driven)[:, has]
    out["actuator_biasprm"][:, ids, 2] = -gain[:, has]
    out["actuator_forcerange"][:, ids, 0], out["actuator_forcerange"][:, ids, 1] = -most[:, has], most[:, has]
    has, ids = np.flatnonzero(scene.stiff >= 0), scene.stiff[scene.stiff >= 0]
    # MuJoCo scales a constraint's softness with the inverse inertia that it assumes: impedance / (1 − impedance) times.
    stiffness = gain[:, has] * step_s * scene.model.dof_invweight0[scene.qvel[has]]
    impedance = np.clip(stiffness / (1 + stiffness), 1e-4, 0.9999)
    out["tendon_frictionloss"][:, ids] = (most * (gain > 0))[:, has]
    out["tendon_solref_fri"][:, ids, 0], out["tendon_solref_fri"][:, ids, 1] = -1.0, -impedance / step_s
    out["tendon_solimp_fri"][:, ids, 0], out["tendon_solimp_fri"][:, ids, 1] = impedance, impedance


class Drives:
    """Targets and efforts of a group of environments, N worlds with D joints each."""

    def __init__(self, engine: CpuEngine, scene: Scene, envs: Sequence[Env]) -> None:
        self._engine, self._scene, self._limits = engine, scene, VelocityLimits(engine, scene, envs)
        shape = (len(envs), len(scene.joints))
        self.pos_target, self.vel_target = torch.zeros(shape), torch.zeros(shape)
        self._kp, self._kd, self._effort_mask = (torch.zeros(shape) for _ in range(3))
        self._effort, self._ctrl = engine.live("qfrc_applied"), torch.zeros(len(envs), scene.model.nu)
        self._has = torch.from_numpy(np.flatnonzero(scene.drives >= 0))
        self._ids = torch.from_numpy(scene.drives[scene.drives >= 0].astype(np.int64))
        self._stiff = torch.from_numpy(np.flatnonzero(scene.stiff >= 0))
        if len(self._stiff):
            self._coefficients = engine.live_model_field("wrap_prm")
            self._wrap, self._at = (torch.from_numpy(v[scene.stiff >= 0].astype(np.int64))
                                    for v in (scene.stiff_wrap, scene.qpos))
            self._clock = torch.from_numpy(np.array([scene.clock, scene.model.jnt_qposadr[scene.model.dof_jntid[
                scene.clock]]], dtype=np.int64)).tolist()
        self.read(envs, slice(None))

    def read(self, envs: Sequence[Env], rows: Union[slice, Sequence[int]]) -> None:
        """Take over the gains and limits of some environments."""
        self._limits.read(envs, rows)
        dof = stacked(envs, lambda a: a.dof)
        driven = torch.from_numpy(is_driven(dof["driveMode"])).float()
        self._kp[rows] = torch.from_numpy(dof["stiffness"].copy()) * driven
        self._kd[rows] = torch.from_numpy(dof["damping"].copy()) * driven
        self._effort_mask[rows] = 1.0 - driven
        self._takes_effort_everywhere = bool(self._effort_mask.all())
        self._gain = (self._kd + self._kp * self._engine.timestep_s).clamp(min=1e-12)

    def set_effort(self, values: torch.Tensor, part: slice = slice(None), envs: Optional[torch.Tensor] = None) -> None:
        """Joint efforts (N, D), N·m or N, kept until they are set again; joints that follow targets ignore them.

        :param part: these joints only.
        :param envs: in these worlds only.
        """
        values = values if self._takes_effort_everywhere else values * self._effort_mask
        if envs is None:
            self._effort[:, columns(self._scene.qvel[part])] = values[:, part].double()
        else:
            where = torch.from_numpy(self._scene.qvel[part].astype(np.int64))
            self._effort[envs[:, None], where] = values[envs, part].double()

    def set_target(self, name: str, values: torch.Tensor, part: slice = slice(None),
                   envs: Optional[torch.Tensor] = None) -> None:
        """Write targets (N, D) into ``pos_target`` or ``vel_target``, as ``set_effort`` does efforts."""
        target: torch.Tensor = getattr(self, name)
        if envs is None:
            target[:, part] = values[:, part]
        else:
            target[envs, part] = values[envs, part]

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all worlds; (N,) bool, those that diverged."""
        pull = self._kp * self.pos_target + self._kd * self.vel_target
        if len(self._has):
            self._ctrl[:, self._ids] = pull[:, self._has]
        diverged = torch.zeros(self._engine.num_worlds, dtype=torch.bool)
        for _ in range(substeps):
            if len(self._stiff):
                self._aim(pull)
            self._engine.step(self._ctrl, 1)
            self._limits.apply()
            diverged |= self._engine.diverged
        return diverged

    def _aim(self, pull: torch.Tensor) -> None:
        """Tell the stiff drives the speeds that they are to bring their joints to."""
        qpos, qvel, joints = self._engine.live("qpos"), self._engine.live("qvel"), self._stiff
        speed = (pull[:, joints] - self._kp[:, joints] * qpos[:, self._at]) / self._gain[:, joints]
        self._coefficients[:, self._wrap] = -speed / _CLOCK_SPEED
        dof, place = self._clock
        qvel[:, dof], qpos[:, place] = _CLOCK_SPEED, 0.0


def columns(ids: np.ndarray) -> Union[slice, torch.Tensor]:
    """An index of these columns: a slice where they are in a row, which is many times faster."""
    if len(ids) and (np.diff(ids) == 1).all():
        return slice(int(ids[0]), int(ids[0]) + len(ids))
    return torch.from_numpy(np.asarray(ids, dtype=np.int64))
