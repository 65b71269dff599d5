"""Small robots as URDF and MJCF, and a simulation of them on the emulation of Isaac Gym."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

import torch

from sb3_isaac.gymcompat.api import gymapi, gymtorch

ROBOTS = Path(__file__).resolve().parents[1] / "sb3_isaac" / "robots"
_INERTIAL = '<inertial><mass value="{m}"/><inertia ixx="{i}" iyy="{i}" izz="{i}" ixy="0" ixz="0" iyz="0"/></inertial>'


def _leg(name: str, x: float, y: float) -> str:
    """A hip about x, a knee about y, and a foot behind a fixed joint."""
    return f"""
  <link name="{name}_shin">{_INERTIAL.format(m=0.4, i=0.002)}
    <collision><origin xyz="0 0 -0.1"/><geometry><cylinder radius="0.01" length="0.16"/></geometry></collision></link>
  <link name="{name}_foot">{_INERTIAL.format(m=0.1, i=0.0002)}
    <collision><geometry><sphere radius="0.025"/></geometry></collision></link>
  <link name="{name}_thigh">{_INERTIAL.format(m=0.8, i=0.004)}</link>
  <joint name="{name}_knee" type="revolute"><parent link="{name}_thigh"/><child link="{name}_shin"/>
    <origin xyz="0 0 -0.2"/><axis xyz="0 1 0"/><limit lower="-2" upper="2" effort="40" velocity="20"/></joint>
  <joint name="{name}_ankle" type="fixed" dont_collapse="true"><parent link="{name}_shin"/><child link="{name}_foot"/>
    <origin xyz="0 0 -0.2"/></joint>
  <joint name="{name}_hip" type="revolute"><parent link="trunk"/><child link="{name}_thigh"/>
    <origin xyz="{x} {y} 0"/><axis xyz="1 0 0"/><limit lower="-1" upper="1" effort="30" velocity="20"/></joint>"""


WALKER = f"""<robot name="walker">
  <mujoco><compiler fusestatic="false"/></mujoco>
  <link name="trunk">{_INERTIAL.format(m=6.0, i=0.05)}
    <visual><geometry><mesh filename="nowhere.dae"/></geometry></visual>
    <collision><geometry><box size="0.5 0.3 0.1"/></geometry></collision></link>
  {_leg("right", -0.2, -0.15)}{_leg("left", 0.2, 0.15)}{_leg("back", -0.2, 0.15)}{_leg("front", 0.2, -0.15)}
  <link name="camera">{_INERTIAL.format(m=0.5, i=0.001)}</link>
  <joint name="camera_mount" type="fixed"><parent link="trunk"/><child link="camera"/><origin xyz="0.2 0 0.1"/></joint>
  <link name="lamp"><collision><geometry><box size="0.1 0.1 0.1"/></geometry></collision></link>
  <joint name="lamp_mount" type="fixed"><parent link="camera"/><child link="lamp"/><origin xyz="0 0 0.1"/></joint>
</robot>"""
"""Four legs, listed out of alphabetical order; 6 + 0.5 + 4 × 1.3 kg, and a lamp that states no inertia."""

PENDULUM = f"""<robot name="pendulum">
  <link name="base">{_INERTIAL.format(m=1.0, i=0.01)}</link>
  <link name="rod">{_INERTIAL.format(m=2.0, i=0.02).replace("<mass", '<origin xyz="0 0 -0.5"/><mass')}</link>
  <joint name="swing" type="continuous"><parent link="base"/><child link="rod"/><axis xyz="0 1 0"/>
    <limit effort="100" velocity="50"/></joint>
</robot>"""
"""2 kg whose centre of mass hangs 0.5 m below a fixed pivot."""

CRAWLER = """<mujoco><compiler angle="radian"/><worldbody>
  <light pos="0 0 3"/><geom name="floor" type="plane" size="5 5 1" material="undefined"/>
  <body name="torso" pos="0 0 1"><freejoint/><geom type="sphere" size="0.1" mass="3"/>
    <body name="zeta" pos="0.1 0 0"><joint name="zeta" axis="0 1 0" range="-1 1" limited="true" damping="0.2"/>
      <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.5"/></body>
    <body name="alpha" pos="-0.1 0 0"><joint name="alpha" axis="0 1 0"/>
      <geom type="capsule" fromto="0 0 0 -0.2 0 0" size="0.02" mass="0.5"/></body>
  </body></worldbody>
  <actuator><motor name="m" joint="alpha" gear="15"/></actuator></mujoco>"""
"""File order: zeta before alpha; a floor with a material that is not defined."""


def sim_params(dt: float = 0.005, substeps: int = 1, gravity: float = -9.81) -> Any:
    params = gymapi.SimParams()
    params.dt, params.substeps, params.gravity = dt, substeps, gymapi.Vec3(0, 0, gravity)
    params.up_axis = gymapi.UP_AXIS_Z
    return params


def options(**values: Any) -> Any:
    made = gymapi.AssetOptions()
    made.default_dof_drive_mode, made.collapse_fixed_joints = gymapi.DOF_MODE_EFFORT, True
    made.density = 0.001
    for name, value in values.items():
        setattr(made, name, value)
    return made


class World:
    """N environments of one robot, prepared, with all tensors acquired.

    :param robot: URDF or MJCF text, or the path of a file.
    :param edit: called as ``edit(world, i, env, actor)`` after each actor's creation.
    """

    def __init__(self, folder: Path, robot: Any, n: int = 2, *, params: Any = None, height: float = 1.0,
                 ground: bool = True, edit: Optional[Callable[..., None]] = None, filter_bits: int = 1,
                 **asset_options: Any) -> None:
        self.gym = gymapi.acquire_gym()
        self.params = params or sim_params()
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, self.params)
        self.n = n
        if ground:
            self.gym.add_ground(self.sim, plane())
        if not isinstance(robot, Path):
            path = folder / ("robot.xml" if robot.startswith("<mujoco") else "robot.urdf")
            path.write_text(robot, encoding="utf-8")
            robot = path
        self.asset = self.gym.load_asset(self.sim, str(robot.parent), robot.name, options(**asset_options))
        self.envs = []
        for i in range(n):
            env = self.gym.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), n)
            pose = gymapi.Transform(p=gymapi.Vec3(0, 0, height))
            actor = self.gym.create_actor(env, self.asset, pose, "robot", i, filter_bits, 0)
            if edit is not None:
                edit(self, i, env, actor)
            self.envs.append(env)
        self.gym.prepare_sim(self.sim)
        wrap = gymtorch.wrap_tensor
        self.root = wrap(self.gym.acquire_actor_root_state_tensor(self.sim))
        self.dof = wrap(self.gym.acquire_dof_state_tensor(self.sim)).view(n, -1, 2)
        self.body = wrap(self.gym.acquire_rigid_body_state_tensor(self.sim)).view(n, -1, 13)
        self.contact = wrap(self.gym.acquire_net_contact_force_tensor(self.sim)).view(n, -1, 3)

    @property
    def num_dofs(self) -> int:
        return len(self.asset.dof_names)

    @property
    def mass(self) -> float:
        return float(self.asset.mass.sum())

    def refresh(self) -> None:
        self.gym.refresh_actor_root_state_tensor(self.sim)
        self.gym.refresh_dof_state_tensor(self.sim)
        self.gym.refresh_rigid_body_state_tensor(self.sim)
        self.gym.refresh_net_contact_force_tensor(self.sim)

    def effort(self, values: torch.Tensor) -> None:
        self.gym.set_dof_actuation_force_tensor(self.sim, gymtorch.unwrap_tensor(values.contiguous()))

    def step(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.gym.simulate(self.sim)
        self.refresh()

    def set_root(self) -> None:
        self.gym.set_actor_root_state_tensor(self.sim, gymtorch.unwrap_tensor(self.root))

    def set_dof(self) -> None:
        self.gym.set_dof_state_tensor(self.sim, gymtorch.unwrap_tensor(self.dof.view(-1, 2)))


def plane(friction: float = 1.0, restitution: float = 0.0) -> Any:
    params = gymapi.PlaneParams()
    params.normal = gymapi.Vec3(0, 0, 1)
    params.static_friction = params.dynamic_friction = friction
    params.restitution = restitution
    return params
