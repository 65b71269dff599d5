"""What differs between environments, written into the model fields that each world has of its own.

A field that is the same everywhere goes into the shared model; only one that differs is expanded.
"""

from __future__ import annotations

from typing import Dict, Sequence, Tuple

import mujoco
import numpy as np
import torch

from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.ground import Ground
from sb3_isaac.gymcompat.model.scene import Scene
from sb3_isaac.gymcompat.model.urdf_spec import principal_axes
from sb3_isaac.gymcompat.runtime.drives import drive_fields
from sb3_isaac.gymcompat.runtime.stacked import is_driven, stacked

_PRIORITY = 1
"""Of the actors' shapes: in a contact with the ground, priority 0, their parameters hold."""
_CONTACT_STEPS = 2.0
"""Time constant of a contact in physics steps: the stiffest that MuJoCo integrates."""


def solref(restitution: np.ndarray, step_s: float) -> np.ndarray:
    """MuJoCo's contact parameters (time constant, damping ratio) for a coefficient of restitution, (..., 2).

    A linear oscillator of damping ratio ζ leaves a contact with exp(−πζ/√(1 − ζ²)) of the speed it came with.
    """
    log = np.log(np.clip(restitution, 1e-3, 1.0))
    ratio = np.where(restitution > 1e-3, np.maximum(-log / np.sqrt(np.pi**2 + log**2), 1e-2), 1.0)
    return np.stack([_CONTACT_STEPS * step_s / ratio, ratio], axis=-1)


class Properties:
    """Writes the actors' properties into the model, and later changes into the engine."""

    def __init__(self, scene: Scene, grounds: Sequence[Ground]) -> None:
        self.scene, self._grounds = scene, grounds

    def into_model(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        """Write what all environments share into the model; return the fields (N, ...) that differ."""
        model, differing = self.scene.model, {}
        model.geom_priority[self.scene.geoms] = _PRIORITY
        model.jnt_limited[self.scene.joints] = stacked(envs[:1], lambda a: a.dof["hasLimits"])[0]
        for name, values in self.fields(envs).items():
            getattr(model, name)[...] = values[0]
            if not (values == values[:1]).all():
                differing[name] = values
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return differing

    def into_engine(self, engine: CpuEngine, envs: Sequence[Env], rows: Sequence[int]) -> None:
        """Write the properties of some environments, which are these `rows`, anew, while the simulation runs."""
        mask = torch.zeros(engine.num_worlds, dtype=torch.bool)
        mask[rows] = True
        for name, values in self.fields(envs).items():
            now = engine.model_field(name)
            if not np.allclose(now[rows].numpy(), values, rtol=1e-6, atol=1e-12):
                now[rows] = torch.from_numpy(values.astype(np.float32))
                engine.set_model_field(name, now, mask)

    def fields(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        """Every model field that a property reaches, (N, ...)."""
        return {**self._bodies(envs), **self._shapes(envs), **self._dofs(envs), **self._tendons(envs),
                **self._attractors(envs)}

    def _repeated(self, count: int, *names: str) -> Dict[str, np.ndarray]:
        """The model's values of these fields, once for each environment."""
        values = {name: np.asarray(getattr(self.scene.model, name)) for name in names}
        return {name: np.repeat(v[None].astype(float), count, axis=0) for name, v in values.items()}

    def _bodies(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        ids = self.scene.bodies
        out = self._repeated(len(envs), "body_mass", "body_ipos", "body_iquat", "body_inertia", "body_gravcomp")
        out["body_mass"][:, ids] = stacked(envs, lambda a: a.mass)
        out["body_ipos"][:, ids] = stacked(envs, lambda a: a.com)
        out["body_gravcomp"][:, ids] = stacked(envs, lambda a: a.gravity_off.astype(float))
        principal, quat = _principal(envs)
        out["body_inertia"][:, ids], out["body_iquat"][:, ids] = principal, quat
        return out

    def _shapes(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        """PhysX averages the friction and restitution of two shapes, MuJoCo takes those of the higher priority."""
        ids = self.scene.geoms
        out = self._repeated(len(envs), "geom_friction", "geom_solref")
        friction, restitution = stacked(envs, lambda a: a.friction), stacked(envs, lambda a: a.restitution)
        if self._grounds:
            friction = 0.5 * (friction + self._grounds[0].friction)
            restitution = 0.5 * (restitution + self._grounds[0].restitution)
        out["geom_friction"][:, ids, 0] = friction
        out["geom_solref"][:, ids] = solref(restitution, self.scene.model.opt.timestep)
        return out

    def _dofs(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        scene = self.scene
        dof = stacked(envs, lambda a: a.dof)
        out = self._repeated(len(envs), "dof_armature", "dof_damping", "dof_frictionloss", "jnt_stiffness", "jnt_range",
                            "actuator_biasprm", "actuator_forcerange", "tendon_frictionloss", "tendon_solref_fri",
                            "tendon_solimp_fri")
        passive = ~is_driven(dof["driveMode"])
        out["dof_armature"][:, scene.qvel] = dof["armature"]
        out["dof_frictionloss"][:, scene.qvel] = dof["friction"]
        out["dof_damping"][:, scene.qvel] = dof["damping"] * passive
        out["jnt_stiffness"][:, scene.joints] = dof["stiffness"] * passive
        out["jnt_range"][:, scene.joints, 0], out["jnt_range"][:, scene.joints, 1] = dof["lower"], dof["upper"]
        _damp_free_bodies(scene, envs, out["dof_damping"])
        drive_fields(scene, dof, out)
        return out

    def _tendons(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        if not len(self.scene.tendons):
            return {}
        ids = self.scene.tendons
        out = self._repeated(len(envs), "tendon_stiffness", "tendon_damping", "tendon_range")
        for row, env in enumerate(envs):
            given = [tendon for actor in env.actors for tendon in actor.tendons]
            out["tendon_stiffness"][row, ids] = [t.stiffness for t in given]
            out["tendon_damping"][row, ids] = [t.damping for t in given]
            out["tendon_range"][row, ids] = [(t.fixed_lower_limit, t.fixed_upper_limit) for t in given]
        return out

    def _attractors(self, envs: Sequence[Env]) -> Dict[str, np.ndarray]:
        """An attractor is a spring with the implicit law of :mod:`.drives`, without a limit: an equality constraint."""
        ids, model = self.scene.attractors, self.scene.model
        if not len(ids):
            return {}
        out = self._repeated(len(envs), "eq_solref", "eq_solimp")
        step_s, weight = model.opt.timestep, model.body_invweight0[self.scene.attracted, 0]
        spring = np.array([[(a.stiffness, a.damping) for a in env.attractors] for env in envs])
        gain = np.maximum(spring[..., 1] + spring[..., 0] * step_s, 1e-12) * step_s
        impedance = np.clip(gain * weight / (1 + gain * weight), 1e-4, 0.9999)
        out["eq_solref"][:, ids, 0] = -spring[..., 0] / gain * impedance
        out["eq_solref"][:, ids, 1] = -impedance / step_s
        out["eq_solimp"][:, ids, 0], out["eq_solimp"][:, ids, 1] = impedance, impedance
        return out


def _damp_free_bodies(scene: Scene, envs: Sequence[Env], damping: np.ndarray) -> None:
    """Linear and angular damping, 1/s, of actors that are a single free body: as forces on their free joint."""
    for a, actor in enumerate(envs[0].actors):
        start, options = scene.root_qvel[a], actor.asset.options
        if start >= 0 and actor.asset.num_bodies == 1:
            mass = np.array([env.actors[a].mass[0] for env in envs])
            inertia = np.array([np.diag(env.actors[a].inertia[0]) for env in envs])
            damping[:, start:start + 3] = options.linear_damping * mass[:, None]
            damping[:, start + 3:start + 6] = options.angular_damping * inertia


def _principal(envs: Sequence[Env]) -> Tuple[np.ndarray, np.ndarray]:
    """Principal inertia (N, B, 3) and its frame (N, B, 4).

    An inertia that is a multiple of the asset's keeps the asset's principal axes; others are diagonalised.
    """
    inertia, own = stacked(envs, lambda a: a.inertia), stacked(envs[:1], lambda a: a.asset.inertia)[0]
    size = np.trace(own, axis1=1, axis2=2)
    # A body without inertia, such as a welded frame without mass, keeps none.
    scale = np.trace(inertia, axis1=2, axis2=3) / np.where(size > 0, size, 1.0)
    principal = scale[..., None] * np.concatenate([a.asset.principal for a in envs[0].actors])
    quat = np.repeat(np.concatenate([a.asset.principal_quat for a in envs[0].actors])[None], len(envs), axis=0)
    error = np.abs(inertia - scale[..., None, None] * own).max(axis=(2, 3))
    for n, b in zip(*np.nonzero(error > 1e-5 * np.abs(np.trace(inertia, axis1=2, axis2=3)))):
        principal[n, b], quat[n, b] = principal_axes(inertia[n, b])
    return principal, quat
