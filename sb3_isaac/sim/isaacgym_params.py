"""``set_param`` of the Isaac Gym simulator: which properties of an actor a parameter's name reaches."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.robots import Robot
from sb3_isaac.sim.params import PARAMS, check_name, checked

KNOWN = tuple(name for name in PARAMS if name != "gravity")


class IsaacGymParams:
    """The parameters of N robots, each an actor of its own environment; ``friction`` (N,) is live.

    Isaac Gym sets properties actor by actor, from Python: draw them at resets, not at every step.

    :param handles: (environment, actor) of each robot.
    :param physics_dt: seconds of a physics step. Drives are integrated implicitly, so that a spring damps by kp · step.
    :param friction: of the ground, and of each robot at first; Isaac Gym takes the mean of the two,
        so that less than half of the ground's cannot be had: smaller values become that.
    """

    def __init__(self, gym: Any, handles: Sequence[Tuple[Any, int]], robot: Robot, physics_dt: float,
                 friction: float, device: torch.device) -> None:
        n, joints = len(handles), len(robot.joints)
        self._gym, self._handles, self._ground_friction, self._device = gym, handles, friction, device
        self._physics_dt = physics_dt
        names = gym.get_actor_dof_names(*handles[0])
        self._order = [robot.joints.index(name) for name in names]  # Isaac Gym's joint i is the robot's joint order[i]
        bodies = gym.get_actor_rigid_body_names(*handles[0])
        self._trunk = bodies.index(robot.trunk)
        self._file_mass, self._file_com = self._measured_bodies()
        damping = gym.get_actor_dof_properties(*handles[0])["damping"].tolist()
        self._own_damping = [total - robot.kd[joint] for total, joint in zip(damping, self._order)]
        self._torque_limit_nm = torch.tensor(robot.torque_limit_nm, device=device)
        self._position_drives = robot.drive == "position"
        self.friction = torch.full((n,), friction, device=device)
        self._now = {"trunk_mass": torch.full((n,), self._file_mass[self._trunk], device=device),
                     "link_mass": torch.ones(n, device=device), "com": torch.zeros(n, 3, device=device),
                     "friction": self.friction,
                     "kp": torch.tensor(robot.kp, device=device).repeat(n, 1),
                     "kd": torch.tensor(robot.kd, device=device).repeat(n, 1),
                     "motor_strength": torch.ones(n, joints, device=device),
                     "armature": self._measured_armature()}

    def _measured_bodies(self) -> Tuple[List[float], List[float]]:
        """Masses (B,) kg, and where the trunk's centre of mass is (3,) m."""
        bodies = self._gym.get_actor_rigid_body_properties(*self._handles[0])
        com = bodies[self._trunk].com
        return [float(body.mass) for body in bodies], [float(com.x), float(com.y), float(com.z)]

    def _measured_armature(self) -> torch.Tensor:
        """(N, J), in the robot's order."""
        theirs = self._gym.get_actor_dof_properties(*self._handles[0])["armature"].tolist()
        ours = [theirs[self._order.index(i)] for i in range(len(theirs))]
        return torch.tensor(ours, device=self._device).repeat(len(self._handles), 1)

    def torque(self, error_rad: torch.Tensor, joint_vel: torch.Tensor) -> torch.Tensor:
        """The drives' torque (N, J) N·m at errors of position (N, J) rad and joint velocities (N, J) rad/s."""
        strength, kp = self._now["motor_strength"], self._now["kp"]
        torque = strength * (kp * error_rad - (self._now["kd"] + kp * self._physics_dt) * joint_vel)
        limit = strength * self._torque_limit_nm
        return torch.maximum(torch.minimum(torque, limit), -limit)

    def effort(self, torque_nm: torch.Tensor) -> torch.Tensor:
        """The torque (N, J) N·m of torque drives that are told (N, J) N·m; kd is the joints' damping."""
        return self._now["motor_strength"] * torch.maximum(torch.minimum(torque_nm, self._torque_limit_nm),
                                                           -self._torque_limit_nm)

    def get(self, name: str) -> torch.Tensor:
        """See :meth:`Simulator.get_param`."""
        check_name(name, KNOWN, "isaacgym")
        return self._now[name].clone()

    def set(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor]) -> None:
        """See :meth:`Simulator.set_param`."""
        values = checked(name, values, len(self._handles), len(self._order), KNOWN, "isaacgym")
        if mask is None:
            mask = torch.ones(len(self._handles), dtype=torch.bool, device=self._device)
        if name == "friction":
            values = values.clamp(min=0.5 * self._ground_friction)
        now = self._now[name]
        torch.where(mask if now.dim() == 1 else mask[:, None], values, now, out=now)
        self._write(name, mask.nonzero().flatten().tolist())

    def _write(self, name: str, robots: List[int]) -> None:
        writers: Dict[str, Callable[[int], None]] = {"friction": self._write_friction, **dict.fromkeys(
            ("trunk_mass", "link_mass", "com"), self._write_bodies)}
        for i in robots:
            writers.get(name, self._write_drives)(i)

    def _write_bodies(self, i: int) -> None:
        bodies = self._gym.get_actor_rigid_body_properties(*self._handles[i])
        factor, com = float(self._now["link_mass"][i]), self._now["com"][i].tolist()
        for body, mass in zip(bodies, self._file_mass):
            body.mass = factor * mass
        trunk = bodies[self._trunk]
        trunk.mass = float(self._now["trunk_mass"][i])
        trunk.com.x, trunk.com.y, trunk.com.z = (file + moved for file, moved in zip(self._file_com, com))
        recompute_inertia = True
        self._gym.set_actor_rigid_body_properties(*self._handles[i], bodies, recompute_inertia)

    def _write_friction(self, i: int) -> None:
        shapes = self._gym.get_actor_rigid_shape_properties(*self._handles[i])
        for shape in shapes:
            shape.friction = 2.0 * float(self.friction[i]) - self._ground_friction
        self._gym.set_actor_rigid_shape_properties(*self._handles[i], shapes)

    def _write_drives(self, i: int) -> None:
        props = self._gym.get_actor_dof_properties(*self._handles[i])
        names = ("motor_strength", "kp", "kd", "armature")
        strength, kp, kd, armature = (self._now[name][i].tolist() for name in names)
        limit = self._torque_limit_nm.tolist()
        for dof, joint in enumerate(self._order):
            if self._position_drives:
                props["stiffness"][dof] = strength[joint] * kp[joint]
            props["damping"][dof] = self._own_damping[dof] + strength[joint] * kd[joint]
            props["effort"][dof] = strength[joint] * limit[joint]
            props["armature"][dof] = armature[joint]
        self._gym.set_actor_dof_properties(*self._handles[i], props)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """All parameters, (N,) or (N, J)."""
        return {name: values.clone() for name, values in self._now.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state_dict()``; only robots whose parameters differ are written."""
        for name, values in self._now.items():
            if name not in state:  # saved before there was such a parameter
                continue
            differs = state[name].to(values.device) != values
            values.copy_(state[name])
            self._write(name, (differs if differs.dim() == 1 else differs.any(dim=1)).nonzero().flatten().tolist())
