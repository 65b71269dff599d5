"""The Isaac Gym simulator, written against ``isaacgym.gymapi`` and ``gymtorch`` alone.

On a machine with NVIDIA's package these lines run on PhysX; elsewhere they run, the same, on
:mod:`sb3_isaac.gymcompat`. Whoever imports this module has settled before which of the two ``isaacgym`` is.

Conventions end here: Isaac Gym's quaternions are (x, y, z, w), its angular velocities in the world's frame, its joints
in the asset's order.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import isaacgym  # before torch, as NVIDIA's package demands
import torch
from isaacgym import gymapi, gymtorch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.rotations import rotate, rotate_inverse, wxyz_from_xyzw, xyzw_from_wxyz
from sb3_isaac.robots import Robot
from sb3_isaac.sim import SimState
from sb3_isaac.sim.isaacgym_params import IsaacGymParams

GRAVITY_M_S2 = 9.81
FRICTION = 0.8
"""Of ground and robot alike, so that it holds however two frictions are combined: dry rubber on concrete."""


class IsaacGymSimulator:
    """N robots in Isaac Gym (see :class:`~sb3_isaac.sim.Simulator`), each in an environment of its own.

    ``SimState`` is made of views of Isaac Gym's own tensors wherever the layouts agree. After ``reset`` Isaac Gym knows
    the contacts and the poses of the bodies only at the next step: until then the contacts of the robots that were
    reset are 0, and their bodies are where they would be in the default pose.

    Drives are integrated implicitly: a spring kp acts with kp · h more damping, h seconds being a physics step.
    ``joint_torque`` is kp (target − q) − (kd + kp h) q̇ within the limits, from the state before the last physics step.
    A saved simulation goes on from the same state, and not bit for bit: the solver's memory cannot be read.

    A world has diverged where its state is not finite. The emulation puts such a world back to its start by itself, and
    says so in a member that NVIDIA's package does not have, ``diverged`` of its simulation.

    :param device: ``auto`` is ``cuda:0`` where torch has one and ``isaacgym`` is NVIDIA's, else ``cpu``.
    :param physics_dt: seconds of one physics step.
    :param substeps: physics steps in a control step.
    :param threads: physics threads on a CPU.
    """

    def __init__(self, robot: Robot, num_envs: int, *, device: str = "auto", physics_dt: float = 0.01,
                 substeps: int = 2, threads: Optional[int] = None) -> None:
        self.robot, self.num_envs, self.substeps = robot, num_envs, substeps
        self.control_dt, self.physics_s = physics_dt * substeps, 0.0
        self.recorder: Optional[Recorder] = None
        self.device = _device(device)
        self._is_emulated = bool(getattr(isaacgym, "__emulated__", False))
        self._gym = gymapi.acquire_gym()
        self._sim = self._create_sim(physics_dt, threads)
        self._create_envs()
        self._gym.prepare_sim(self._sim)
        self._wrap_tensors()
        self._params = IsaacGymParams(self._gym, self._handles, robot, physics_dt, FRICTION, self.device)
        self.friction = self._params.friction
        self.diverged = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self.state = self._views()
        self._measure_default_pose()

    # ---- making the scene

    def _create_sim(self, physics_dt: float, threads: Optional[int]) -> Any:
        on_gpu, params = self.device.type == "cuda", gymapi.SimParams()
        params.dt, params.substeps = physics_dt, 1
        params.up_axis, params.gravity = gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -GRAVITY_M_S2)
        params.use_gpu_pipeline = params.physx.use_gpu = on_gpu
        params.physx.solver_type = 1  # temporal Gauss-Seidel
        params.physx.num_position_iterations, params.physx.num_velocity_iterations = 4, 1
        params.physx.contact_offset, params.physx.rest_offset = 0.01, 0.0
        if threads is not None:
            params.physx.num_threads = threads
        no_graphics = -1
        sim = self._gym.create_sim(self.device.index or 0, no_graphics, gymapi.SIM_PHYSX, params)
        if sim is None:
            raise UserError(f"Isaac Gym could not start on {self.device}: see what it printed above.")
        ground = gymapi.PlaneParams()
        ground.normal = gymapi.Vec3(0.0, 0.0, 1.0)
        ground.static_friction = ground.dynamic_friction = FRICTION
        self._gym.add_ground(sim, ground)
        return sim

    def _create_envs(self) -> None:
        """One robot in each environment. The environments lie on one another and do not meet, so that positions are
        the same in an environment's frame and in the world's."""
        gym, asset = self._gym, self._load_asset()
        dofs = self._dof_properties(asset)
        start, nowhere = gymapi.Transform(), gymapi.Vec3(0.0, 0.0, 0.0)
        start.p = gymapi.Vec3(0.0, 0.0, self.robot.base_height_m)
        actors: List[int] = []
        self._handles: List[Tuple[Any, int]] = []
        for i in range(self.num_envs):
            env = gym.create_env(self._sim, nowhere, nowhere, math.ceil(math.sqrt(self.num_envs)))
            no_self_collision = 1
            actor = gym.create_actor(env, asset, start, self.robot.name, i, no_self_collision)
            gym.set_actor_dof_properties(env, actor, dofs)
            self._handles.append((env, actor))
            actors.append(gym.get_actor_index(env, actor, gymapi.DOMAIN_SIM))
            if i == 0:
                masses = [body.mass for body in gym.get_actor_rigid_body_properties(env, actor)]
                self.weight_n = GRAVITY_M_S2 * sum(masses)
        self._actors = torch.tensor(actors, dtype=torch.int32, device=self.device)

    def _load_asset(self) -> Any:
        gym, path, options = self._gym, Path(self.robot.mjcf), gymapi.AssetOptions()
        options.default_dof_drive_mode = self._drive_mode()
        options.angular_damping = options.linear_damping = 0.0
        asset = gym.load_asset(self._sim, str(path.parent), path.name, options)
        if asset is None:
            raise UserError(f"robot {self.robot.name!r} has mjcf={self.robot.mjcf!r}: give a file that Isaac Gym can "
                            "load; it printed the reason above.")
        shapes = gym.get_asset_rigid_shape_properties(asset)
        for shape in shapes:
            shape.friction = FRICTION
        gym.set_asset_rigid_shape_properties(asset, shapes)
        self.body_names = tuple(gym.get_asset_rigid_body_names(asset))
        self._dof_names: List[str] = list(gym.get_asset_dof_names(asset))
        robot = self.robot
        if sorted(self._dof_names) != sorted(robot.joints):
            raise UserError(f"robot {robot.name!r} names the joints {', '.join(robot.joints)}, and {robot.mjcf} has "
                            f"{', '.join(self._dof_names)}: name those.")
        for name in (robot.trunk, *robot.feet, *robot.penalised_bodies, *robot.terminal_bodies):
            if name not in self.body_names:
                raise UserError(f"robot {robot.name!r} names body {name!r}, which {robot.mjcf} does not have: it has "
                                f"{', '.join(sorted(self.body_names))}.")
        return asset

    def _drive_mode(self) -> int:
        return int(gymapi.DOF_MODE_POS if self.robot.drive == "position" else gymapi.DOF_MODE_EFFORT)

    def _dof_properties(self, asset: Any) -> Any:
        """Isaac Gym's drives take the place of a joint's own damping, which is therefore added to theirs."""
        props = self._gym.get_asset_dof_properties(asset)
        robot = self.robot
        for i, name in enumerate(self._dof_names):
            joint = robot.joints.index(name)
            props["driveMode"][i] = self._drive_mode()
            if robot.drive == "position":  # efforts leave the file's own spring in place
                props["stiffness"][i] = robot.kp[joint]
            props["damping"][i] += robot.kd[joint]
            props["effort"][i] = robot.torque_limit_nm[joint]
            if robot.armature_kgm2 is not None:
                props["armature"][i] = robot.armature_kgm2[joint]
            if robot.friction_nm is not None:
                props["friction"][i] = robot.friction_nm[joint]
        in_order = [self._dof_names.index(name) for name in robot.joints]
        low, high = ([float(v) for v in props[side][in_order]] for side in ("lower", "upper"))
        self._low, self._high = torch.tensor(low, device=self.device), torch.tensor(high, device=self.device)
        self.joint_range = torch.stack((self._low, self._high), dim=1)
        return props

    # ---- tensors

    def _wrap_tensors(self) -> None:
        """Isaac Gym's state tensors, whose memory stays where it is: (N, 13), (N, J, 2), (N, B, 13), (N, B, 3)."""
        gym, sim, n = self._gym, self._sim, self.num_envs
        self._root = gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))
        self._dof = gymtorch.wrap_tensor(gym.acquire_dof_state_tensor(sim)).view(n, -1, 2)
        self._bodies = gymtorch.wrap_tensor(gym.acquire_rigid_body_state_tensor(sim)).view(n, -1, 13)
        self._contact = gymtorch.wrap_tensor(gym.acquire_net_contact_force_tensor(sim)).view(n, -1, 3)
        self._refresh()

    def _views(self) -> SimState:
        joints = len(self.robot.joints)
        self._order = _columns([self._dof_names.index(name) for name in self.robot.joints], self.device)
        self._inverse = _columns([self.robot.joints.index(name) for name in self._dof_names], self.device)
        self._feet = torch.tensor([self.body_names.index(name) for name in self.robot.feet], device=self.device)
        if isinstance(self._order, slice):
            joint_pos, joint_vel = self._dof[..., 0], self._dof[..., 1]
        else:
            joint_pos, joint_vel = torch.zeros(2, self.num_envs, joints, device=self.device)
        return SimState(
            root_pos_w=self._root[:, 0:3], root_quat_w=self._root[:, [6, 3, 4, 5]],
            root_lin_vel_w=self._root[:, 7:10], root_ang_vel_b=torch.zeros(self.num_envs, 3, device=self.device),
            joint_pos=joint_pos, joint_vel=joint_vel,
            joint_torque=torch.zeros(self.num_envs, joints, device=self.device),
            foot_pos_w=torch.zeros(self.num_envs, len(self.robot.feet), 3, device=self.device),
            contact_force_w=self._contact)

    def _refresh(self) -> None:
        self._gym.refresh_actor_root_state_tensor(self._sim)
        self._gym.refresh_dof_state_tensor(self._sim)
        self._gym.refresh_rigid_body_state_tensor(self._sim)
        self._gym.refresh_net_contact_force_tensor(self._sim)

    def _follow(self) -> None:
        """Bring up to date what is no view of Isaac Gym's tensors."""
        state, root = self.state, self._root
        state.root_quat_w.copy_(wxyz_from_xyzw(root[:, 3:7]))
        state.root_ang_vel_b.copy_(rotate_inverse(state.root_quat_w, root[:, 10:13]))
        state.foot_pos_w.copy_(self._bodies[:, self._feet, :3])
        if not isinstance(self._order, slice):
            state.joint_pos.copy_(self._dof[..., 0][:, self._order])
            state.joint_vel.copy_(self._dof[..., 1][:, self._order])

    def _measure_default_pose(self) -> None:
        """Where the bodies (B, 3) m are from the root's origin, in its frame: read after one step of free fall.

        It leaves the robots standing at their base height."""
        n, joints = self.num_envs, len(self.robot.joints)
        kw: Dict[str, Any] = {"device": self.device}
        default = torch.tensor(self.robot.default_joint_pos, **kw).repeat(n, 1)
        everyone, level = torch.ones(n, dtype=torch.bool, **kw), torch.zeros(n, 4, **kw)
        pos, still, unmoved = torch.zeros(n, 3, **kw), torch.zeros(n, 3, **kw), torch.zeros(n, joints, **kw)
        level[:, 0] = 1.0
        self._bodies_b = torch.zeros(len(self.body_names), 3, **kw)
        pos[:, 2] = 10.0
        self.reset(everyone, pos, level, still, still, default, unmoved)
        self.step(default)
        self._bodies_b.copy_(self._bodies[0, :, :3] - self.state.root_pos_w[0])
        pos[:, 2] = self.robot.base_height_m
        self.reset(everyone, pos, level, still, still, default, unmoved)
        self.physics_s = 0.0

    # ---- the Simulator's surface

    def step(self, targets: torch.Tensor) -> None:
        """See :meth:`Simulator.step`."""
        shape = (self.num_envs, len(self.robot.joints))
        if tuple(targets.shape) not in (shape, (self.substeps, *shape)):
            raise UserError(f"targets have shape {tuple(targets.shape)}: give {shape}, or {(self.substeps, *shape)} "
                            "with one for each physics step.")
        start = time.perf_counter()
        self.diverged.zero_()
        for i in range(self.substeps):
            if targets.dim() == 3 or i == 0 or self.robot.drive == "torque":  # an effort acts for one step
                self._aim(targets if targets.dim() == 2 else targets[i])
            if i == self.substeps - 1:
                self._set_torque(self._target)
            self._gym.simulate(self._sim)
            if self.device.type == "cpu":
                self._gym.fetch_results(self._sim, True)
            if self._is_emulated:
                self.diverged.logical_or_(self._sim.diverged)
            if i < self.substeps - 1:
                self._gym.refresh_dof_state_tensor(self._sim)
                self._follow()
        self._refresh()
        self._follow()
        self.physics_s += time.perf_counter() - start
        finite = torch.isfinite(self._root).all(dim=1) & torch.isfinite(self._dof).flatten(1).all(dim=1)
        self.diverged.logical_or_(~finite)

    def _aim(self, targets: torch.Tensor) -> None:
        """Targets (N, J) rad, within the joints' ranges, or N·m to the drives."""
        by_torque = self.robot.drive == "torque"
        self._target = self._params.effort(targets) if by_torque else torch.maximum(
            torch.minimum(targets, self._high), self._low)
        self._in_asset_order = self._target[:, self._inverse].contiguous()
        tell = self._gym.set_dof_actuation_force_tensor if by_torque else self._gym.set_dof_position_target_tensor
        tell(self._sim, gymtorch.unwrap_tensor(self._in_asset_order))

    def _set_torque(self, target: torch.Tensor) -> None:
        if self.robot.drive == "torque":
            self.state.joint_torque.copy_(target)
        else:
            self.state.joint_torque.copy_(self._params.torque(target - self.state.joint_pos, self.state.joint_vel))

    def reset(self, mask: torch.Tensor, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor,
              root_lin_vel_w: torch.Tensor, root_ang_vel_b: torch.Tensor,
              joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """See :meth:`Simulator.reset`. Isaac Gym takes actor indices, which are made of the mask here."""
        ids = mask.nonzero().flatten()
        if len(ids) == 0:
            return
        quat = root_quat_w[ids]
        self._root[ids] = torch.cat((root_pos_w[ids], xyzw_from_wxyz(quat), root_lin_vel_w[ids],
                                     rotate(quat, root_ang_vel_b[ids])), dim=1)
        self._dof[ids] = torch.stack((joint_pos[ids][:, self._inverse], joint_vel[ids][:, self._inverse]), dim=2)
        self._hand_over(ids)
        self._contact[ids] = 0.0
        self._bodies[ids, :, :3] = root_pos_w[ids][:, None] + rotate(quat[:, None], self._bodies_b[None])
        self._follow()
        torque = self._params.torque(torch.zeros_like(joint_vel), joint_vel)
        torch.where(mask[:, None], torque, self.state.joint_torque, out=self.state.joint_torque)
        self.diverged[ids] = False

    def _hand_over(self, ids: torch.Tensor) -> None:
        """Hand the rows `ids` of the root and joint states to the simulation."""
        actors = self._actors[ids].contiguous()
        indices, count = gymtorch.unwrap_tensor(actors), len(actors)
        self._gym.set_actor_root_state_tensor_indexed(self._sim, gymtorch.unwrap_tensor(self._root), indices, count)
        self._gym.set_dof_state_tensor_indexed(self._sim, gymtorch.unwrap_tensor(self._dof), indices, count)
        self._used = actors  # Isaac Gym reads it at the next step

    def push(self, lin_vel_w: torch.Tensor, ang_vel_b: torch.Tensor, mask: torch.Tensor) -> None:
        """See :meth:`Simulator.push`."""
        ids = mask.nonzero().flatten()
        if len(ids) == 0:
            return
        self._root[ids, 7:10] += lin_vel_w[ids]
        self._root[ids, 10:13] += rotate(self.state.root_quat_w[ids], ang_vel_b[ids])
        self._hand_over(ids)
        self._follow()

    def set_param(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Simulator.set_param`: all but gravity, which Isaac Gym has once for all robots."""
        self._params.set(name, values, mask)

    def get_param(self, name: str) -> torch.Tensor:
        """See :meth:`Simulator.get_param`."""
        return self._params.get(name)

    def warnings(self) -> Dict[str, int]:
        """See :meth:`Simulator.warnings`: Isaac Gym counts none."""
        return {}

    def make_renderer(self, width: int, height: int, **options: Any) -> Any:
        """See :meth:`Simulator.make_renderer`."""
        raise UserError("there are no pictures of sim='isaacgym': make the environment with sim='mujoco' to see it.")

    def make_viewer(self) -> Any:
        """See :meth:`Simulator.make_viewer`."""

    def make_shapes(self) -> Any:
        """See :meth:`Simulator.make_shapes`."""

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`Simulator.state_dict`."""
        return {"sim": "isaacgym", "joint_torque": self.state.joint_torque.clone(), "params": self._params.state_dict(),
                **{name: getattr(self, name).clone() for name in self._STATE}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Simulator.load_state_dict`."""
        if state.get("sim") != "isaacgym" or state["_dof"].shape != self._dof.shape:
            raise UserError("the saved simulation is one of another simulator, robot or number of environments: "
                            "continue with the same sim, robot and num_envs.")
        for name in self._STATE:
            getattr(self, name).copy_(state[name])
        self.state.joint_torque.copy_(state["joint_torque"])
        self._params.load_state_dict(state["params"])
        self._hand_over(torch.arange(self.num_envs, device=self.device))
        self._follow()

    _STATE = ("_root", "_dof", "_bodies", "_contact", "diverged")

    def close(self) -> None:
        """See :meth:`Simulator.close`."""
        if self._sim is not None:
            self._gym.destroy_sim(self._sim)
            self._sim = None


def _device(name: str) -> torch.device:
    emulated = bool(getattr(isaacgym, "__emulated__", False))
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() and not emulated else "cpu")
    if emulated and str(name) != "cpu":
        raise UserError(f"device {str(name)!r} is not where Isaac Gym is emulated: use device='cpu' or 'auto'.")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not available here: give 'auto', 'cpu', or a device that this PyTorch "
                        "has, such as 'cuda:0'.") from error


def _columns(ids: Sequence[int], device: torch.device) -> Union[slice, torch.Tensor]:
    """An index of these columns: a slice where it is all of them in order, which copies nothing."""
    return slice(None) if list(ids) == list(range(len(ids))) else torch.tensor(ids, device=device)
