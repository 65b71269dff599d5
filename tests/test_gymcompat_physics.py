"""Physical truths of the emulation, on every robot at hand: two of ours as MJCF and a walker as URDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymcompat_robots import CRAWLER, ROBOTS, WALKER, World, sim_params

from sb3_isaac.contract.rotations import rotate
from sb3_isaac.gymcompat.api import gymapi

EVERY_ROBOT = {"walker": WALKER, "crawler": CRAWLER, "quadruped": ROBOTS / "quadruped.xml",
               "anymal": ROBOTS / "anymal.xml"}
every_robot = pytest.mark.parametrize("robot", list(EVERY_ROBOT.values()), ids=list(EVERY_ROBOT))


def held(world: World, i: int, env: Any, actor: int) -> None:
    """Drives that hold every joint where it is, so that a robot comes to rest."""
    props = world.gym.get_actor_dof_properties(env, actor)
    props["driveMode"], props["stiffness"], props["damping"] = gymapi.DOF_MODE_POS, 80.0, 4.0
    world.gym.set_actor_dof_properties(env, actor, props)


def wxyz(xyzw: torch.Tensor) -> torch.Tensor:
    return torch.cat([xyzw[..., 3:], xyzw[..., :3]], dim=-1)


def axes(quat: torch.Tensor) -> torch.Tensor:
    """The frames' axes (N, B, axis, 3) of wxyz quaternions (N, B, 4)."""
    unit = torch.eye(3, dtype=quat.dtype)
    return torch.stack([rotate(quat, axis.expand_as(quat[..., :3])) for axis in unit], dim=2)


def com_velocity(world: World) -> torch.Tensor:
    """Velocities of the centres of mass (N, B, 3), from the body tensor."""
    arm = rotate(wxyz(world.body[..., 3:7]), torch.from_numpy(world.asset.com).float().expand_as(world.body[..., :3]))
    return world.body[..., 7:10] + torch.linalg.cross(world.body[..., 10:13], arm)


@every_robot
def test_at_rest_the_contact_forces_carry_the_weight(robot: Any, tmp_path: Path) -> None:
    world = World(tmp_path, robot, edit=held, height=0.6)
    world.step(800)
    assert world.root[:, 7:13].abs().max() < 0.02
    force = world.contact.sum(dim=1)
    assert force[:, 2].tolist() == pytest.approx([world.mass * 9.81] * 2, rel=0.01)
    assert force[:, :2].abs().max() < 0.01 * world.mass * 9.81


@every_robot
def test_free_fall(robot: Any, tmp_path: Path) -> None:
    """Semi-implicit Euler: after n steps v = −g n dt and z = z0 − g dt² n (n + 1) / 2, whatever the robot."""
    world = World(tmp_path, robot, height=5.0)
    start = world.root[:, 2].clone()
    world.step(100)
    com = com_velocity(world)[..., 2]
    assert com.flatten().tolist() == pytest.approx([-9.81 * 0.5] * com.numel(), rel=1e-3)
    assert (world.root[:, 2] - start).tolist() == pytest.approx([-9.81 * 0.005**2 * 100 * 101 / 2] * 2, rel=1e-3)
    assert world.contact.abs().max() == 0


@every_robot
def test_momentum_without_contacts_is_conserved(robot: Any, tmp_path: Path) -> None:
    """Torques between links are inner forces: Σ m v stays while the joints move."""
    world = World(tmp_path, robot, ground=False, params=sim_params(dt=0.001, gravity=0.0))
    mass = torch.from_numpy(world.asset.mass).float()[:, None]
    world.root[:, 7:10] = torch.tensor([0.3, -0.2, 0.1])
    world.set_root()
    before = world.mass * world.root[:, 7:10]
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        world.effort(torch.randn(2, world.num_dofs, generator=generator) * 2.0)
        world.step(10)
    assert world.dof[..., 1].abs().max() > 0.3
    after = (mass * com_velocity(world)).sum(dim=1)
    assert torch.allclose(after, before, atol=0.004 * world.mass)


@every_robot
def test_a_torque_moves_the_joint_that_it_names(robot: Any, tmp_path: Path) -> None:
    """One environment for each joint: the joint in the driven column turns, in the torque's direction."""
    count = World(tmp_path, robot, n=1).num_dofs
    world = World(tmp_path, robot, n=count, ground=False, params=sim_params(dt=0.001, gravity=0.0))
    world.effort(torch.eye(count))
    world.step(3)
    speed = world.dof[..., 1]
    assert (speed.diagonal() > 1e-3).all()
    assert torch.equal(speed.abs().argmax(dim=1), torch.arange(count))


@every_robot
def test_velocities_are_those_of_the_frames_in_the_world(robot: Any, tmp_path: Path) -> None:
    """Finite differences of the poses of two steps give the velocities of all bodies, and ω is in the world's frame."""
    world = World(tmp_path, robot, ground=False, params=sim_params(dt=1e-4, gravity=0.0))
    half = torch.tensor([0.5, 0.5, 0.5, 0.5])  # a rotation by 120° about (1, 1, 1): frames are told apart
    world.root[:, 3:7] = half
    world.root[:, 7:13] = torch.tensor([1.0, 2.0, 3.0, 0.7, -0.4, 0.2])
    world.dof[..., 1] = torch.linspace(-1, 1, world.num_dofs)
    world.set_root()
    world.set_dof()
    world.step(1)
    first = world.body.double()
    world.step(1)
    second = world.body.double()
    linear = (second[..., :3] - first[..., :3]) / 1e-4
    assert torch.allclose(linear, second[..., 7:10], atol=0.02)
    before, after = axes(wxyz(first[..., 3:7])), axes(wxyz(second[..., 3:7]))
    expected = torch.linalg.cross(second[..., None, 10:13].expand_as(after), after)
    assert torch.allclose((after - before) / 1e-4, expected, atol=0.02)
    assert torch.allclose(world.body[:, 0], world.root, atol=1e-5)
    assert torch.allclose(world.root[:, 10:13], torch.tensor([0.7, -0.4, 0.2]), atol=0.3)
