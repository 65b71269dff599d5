"""``set_param`` of the MuJoCo simulator: which model fields a parameter's name reaches."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

import torch

from sb3_isaac.engine import Engine
from sb3_isaac.robots import Robot
from sb3_isaac.sim.params import PARAMS, checked


class MujocoParams:
    """The parameters of N robots on one engine; ``friction`` (N,) is live."""

    def __init__(self, engine: Engine, robot: Robot) -> None:
        model, n, joints = engine.model, engine.num_worlds, len(robot.joints)
        kw: Dict[str, Any] = {"device": engine.device}
        self._engine, self._trunk = engine, int(model.body(robot.trunk).id)
        self._dofs = [int(model.joint(name).dofadr[0]) for name in robot.joints]
        self._trunk_mass = float(model.body_mass[self._trunk])
        self._trunk_inertia = torch.tensor(model.body_inertia[self._trunk], dtype=torch.float32, **kw)
        self._torque_limit_nm = torch.tensor(robot.torque_limit_nm, **kw)
        self.friction = torch.full((n,), float(model.geom("floor").friction[0]), **kw)
        self._drives = {"kp": torch.tensor(robot.kp, **kw).repeat(n, 1),
                        "kd": torch.tensor(robot.kd, **kw).repeat(n, 1),
                        "motor_strength": torch.ones(n, joints, **kw)}
        self._setters: Dict[str, Callable[[torch.Tensor, torch.Tensor], None]] = {
            "trunk_mass": self._set_trunk_mass, "friction": self._set_friction, "armature": self._set_armature,
            "gravity": lambda values, mask: engine.set_model_field("opt.gravity", values, mask)}

    def set(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor]) -> None:
        """See :meth:`Simulator.set_param`."""
        n, joints = self._engine.num_worlds, len(self._dofs)
        values = checked(name, values, n, joints, PARAMS, "mujoco")
        if mask is None:
            mask = torch.ones(n, dtype=torch.bool, device=self._engine.device)
        if name in self._drives:
            torch.where(mask[:, None], values, self._drives[name], out=self._drives[name])
            self._set_drives(mask)
        else:
            self._setters[name](values, mask)

    def _change(self, field: str, mask: torch.Tensor, *index: Any, to: torch.Tensor) -> None:
        """Set the part ``[:, *index]`` of a model field in the worlds of `mask`."""
        values = self._engine.model_field(field)
        values[(slice(None), *index)] = to
        self._engine.set_model_field(field, values, mask)

    def _set_trunk_mass(self, mass_kg: torch.Tensor, mask: torch.Tensor) -> None:
        """As if the trunk were denser: its inertia is in proportion."""
        self._change("body_inertia", mask, self._trunk, to=self._trunk_inertia * (mass_kg / self._trunk_mass)[:, None])
        self._change("body_mass", mask, self._trunk, to=mass_kg)

    def _set_friction(self, friction: torch.Tensor, mask: torch.Tensor) -> None:
        """Of all geoms: MuJoCo takes the larger of two geoms' friction, so that one of them alone decides nothing."""
        torch.where(mask, friction, self.friction, out=self.friction)
        self._change("geom_friction", mask, slice(None), 0, to=friction[:, None])

    def _set_armature(self, armature: torch.Tensor, mask: torch.Tensor) -> None:
        self._change("dof_armature", mask, self._dofs, to=armature)

    def _set_drives(self, mask: torch.Tensor) -> None:
        """Actuators follow ``Robot.joints``: torque = strength · clip(kp (target − q) − kd q̇, ±limit)."""
        strength = self._drives["motor_strength"]
        kp, kd, limit = strength * self._drives["kp"], strength * self._drives["kd"], strength * self._torque_limit_nm
        self._change("actuator_gainprm", mask, slice(None), 0, to=kp)
        self._change("actuator_biasprm", mask, slice(None), slice(1, 3), to=torch.stack((-kp, -kd), dim=2))
        self._change("actuator_forcerange", mask, to=torch.stack((-limit, limit), dim=2))

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """What the model fields, which the engine saves, do not tell."""
        return {"friction": self.friction.clone(), **{name: v.clone() for name, v in self._drives.items()}}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state_dict()``."""
        self.friction.copy_(state["friction"])
        for name, values in self._drives.items():
            values.copy_(state[name])
