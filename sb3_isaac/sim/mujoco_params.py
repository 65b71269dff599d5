"""``set_param`` of the MuJoCo simulator: which model fields a parameter's name reaches."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

import torch

from sb3_isaac.engine import Engine
from sb3_isaac.robots import Robot
from sb3_isaac.sim.params import PARAMS, check_name, checked


class MujocoParams:
    """The parameters of N robots on one engine; ``friction`` (N,) is live."""

    def __init__(self, engine: Engine, robot: Robot) -> None:
        model, n, joints = engine.model, engine.num_worlds, len(robot.joints)
        kw: Dict[str, Any] = {"device": engine.device, "dtype": torch.float32}
        self._engine, self._trunk = engine, int(model.body(robot.trunk).id)
        links = [body for body in range(1, model.nbody)
                 if body != self._trunk and model.body_rootid[body] == self._trunk]
        dofs = [int(model.joint(name).dofadr[0]) for name in robot.joints]
        # As tensors: an index that is a list is copied to the device each time, which waits for it.
        self._links, self._dofs = (torch.tensor(ids, dtype=torch.long, device=engine.device) for ids in (links, dofs))
        self._file_mass, self._file_inertia = (torch.tensor(values, **kw)
                                               for values in (model.body_mass, model.body_inertia))
        self._file_com = torch.tensor(model.body_ipos[self._trunk], **kw)
        self._torque_limit_nm = torch.tensor(robot.torque_limit_nm, **kw)
        self._torque_drives = robot.drive == "torque"
        self.friction = torch.full((n,), float(model.geom("floor").friction[0]), **kw)
        self._now = {
            "trunk_mass": torch.full((n,), float(model.body_mass[self._trunk]), **kw),
            "link_mass": torch.ones(n, **kw), "com": torch.zeros(n, 3, **kw), "friction": self.friction,
            "kp": torch.tensor(robot.kp, **kw).repeat(n, 1), "kd": torch.tensor(robot.kd, **kw).repeat(n, 1),
            "motor_strength": torch.ones(n, joints, **kw),
            "armature": torch.tensor(model.dof_armature[dofs], **kw).repeat(n, 1),
            "gravity": torch.tensor(model.opt.gravity, **kw).repeat(n, 1)}
        self._fields: Dict[str, torch.Tensor] = {}
        """Model fields (N, ...) of which a parameter is a part, as the engine has them."""

    def get(self, name: str) -> torch.Tensor:
        """See :meth:`Simulator.get_param`."""
        check_name(name, PARAMS, "mujoco")
        return self._now[name].clone()

    def set(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor]) -> None:
        """See :meth:`Simulator.set_param`."""
        n, joints = self._engine.num_worlds, len(self._dofs)
        values = checked(name, values, n, joints, PARAMS, "mujoco")
        if mask is None:
            mask = torch.ones(n, dtype=torch.bool, device=self._engine.device)
        now = self._now[name]
        torch.where(mask if now.dim() == 1 else mask[:, None], values, now, out=now)
        writers: Dict[str, Callable[[torch.Tensor], None]] = {
            "trunk_mass": self._write_trunk_mass, "link_mass": self._write_link_mass, "com": self._write_com,
            "friction": self._write_friction, "armature": self._write_armature, "gravity": self._write_gravity}
        writers.get(name, self._write_drives)(mask)

    def _change(self, field: str, mask: torch.Tensor, *index: Any, to: torch.Tensor) -> None:
        """Set the part ``[:, *index]`` of a model field in the worlds of `mask`."""
        if field not in self._fields:
            self._fields[field] = self._engine.model_field(field)
        values = self._fields[field]
        values[(slice(None), *index)] = to
        self._engine.set_model_field(field, values, mask)

    def _write_trunk_mass(self, mask: torch.Tensor) -> None:
        """As if the trunk were denser: its inertia is in proportion."""
        mass, trunk = self._now["trunk_mass"], self._trunk
        inertia = self._file_inertia[trunk] * (mass / self._file_mass[trunk])[:, None]
        self._change("body_inertia", mask, trunk, to=inertia)
        self._change("body_mass", mask, trunk, to=mass)

    def _write_link_mass(self, mask: torch.Tensor) -> None:
        factor, links = self._now["link_mass"], self._links
        self._change("body_inertia", mask, links, to=self._file_inertia[links] * factor[:, None, None])
        self._change("body_mass", mask, links, to=self._file_mass[links] * factor[:, None])

    def _write_com(self, mask: torch.Tensor) -> None:
        self._change("body_ipos", mask, self._trunk, to=self._file_com + self._now["com"])

    def _write_friction(self, mask: torch.Tensor) -> None:
        """Of all geoms: MuJoCo takes the larger of two geoms' friction, so that one of them alone decides nothing."""
        self._change("geom_friction", mask, slice(None), 0, to=self.friction[:, None])
        if self._engine.model.npair:  # these have a friction of their own, along two axes
            self._change("pair_friction", mask, slice(None), slice(0, 2), to=self.friction[:, None, None])

    def _write_armature(self, mask: torch.Tensor) -> None:
        self._change("dof_armature", mask, self._dofs, to=self._now["armature"])

    def _write_gravity(self, mask: torch.Tensor) -> None:
        self._change("opt.gravity", mask, to=self._now["gravity"])

    def _write_drives(self, mask: torch.Tensor) -> None:
        """Actuators follow ``Robot.joints``: torque = strength · clip(kp (target − q) − kd q̇, ±limit), and of torque
        drives strength · clip(target − kp q − kd q̇, ±limit)."""
        strength = self._now["motor_strength"]
        kp, kd, limit = strength * self._now["kp"], strength * self._now["kd"], strength * self._torque_limit_nm
        self._change("actuator_gainprm", mask, slice(None), 0, to=strength if self._torque_drives else kp)
        self._change("actuator_biasprm", mask, slice(None), slice(1, 3), to=torch.stack((-kp, -kd), dim=2))
        self._change("actuator_forcerange", mask, to=torch.stack((-limit, limit), dim=2))

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """All parameters; the model fields that follow are saved by the engine."""
        return {name: values.clone() for name, values in self._now.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state_dict()``, with an engine whose model fields are loaded already."""
        self._fields.clear()
        for name, values in self._now.items():
            if name in state:  # else saved before there was such a parameter
                values.copy_(state[name])
