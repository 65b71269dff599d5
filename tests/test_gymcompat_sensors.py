"""Force sensors, joint forces, Jacobians, mass matrices, attractors and forces at points of the emulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymcompat_robots import PENDULUM, ROBOTS, WALKER, World, options, plane, sim_params

from sb3_isaac.contract.rotations import rotate
from sb3_isaac.gymcompat.api import gymapi, gymtorch

WRAP, UNWRAP = gymtorch.wrap_tensor, gymtorch.unwrap_tensor


def box_world(*kinds: Any, height: float = 0.05, gravity: float = -9.81) -> Any:
    """(gym, sim, readings (F, 6), mass): a box of 0.1 m, a sensor of each of these (contacts, others, world) on it."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params(gravity=gravity))
    gym.add_ground(sim, plane())
    box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=1000.0, angular_damping=0.0))
    for contacts, others, in_world in kinds:
        props = gymapi.ForceSensorProperties()
        props.enable_constraint_solver_forces, props.enable_forward_dynamics_forces = contacts, others
        props.use_world_frame = in_world
        gym.create_asset_force_sensor(box, 0, gymapi.Transform(gymapi.Vec3(0.05, 0, 0)), props)
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0, 0, height)), "box", 0, 0)
    gym.prepare_sim(sim)
    return gym, sim, WRAP(gym.acquire_force_sensor_tensor(sim)), 1.0


def test_force_sensors_tell_contacts_from_the_rest() -> None:
    """At rest contacts carry the weight and all forces are 0 together; the moment is about the sensor's place."""
    gym, sim, readings, mass = box_world((True, True, False), (True, False, False), (False, True, False))
    assert gym.get_sim_force_sensor_count(sim) == 3 == gym.get_actor_force_sensor_count(sim.envs[0], 0)
    for _ in range(200):
        gym.simulate(sim)
    gym.acquire_rigid_body_state_tensor(sim)  # brings the kinematics up to date: the forces of the last step stay
    gym.refresh_force_sensor_tensor(sim)
    weight = 9.81 * mass
    assert readings[0].tolist() == pytest.approx([0.0] * 6, abs=0.02)
    assert readings[1].tolist() == pytest.approx([0, 0, weight, 0, 0.05 * weight, 0], abs=0.05)
    assert readings[2].tolist() == pytest.approx([0, 0, -weight, 0, -0.05 * weight, 0], abs=0.05)


def test_a_falling_spinning_box_feels_its_weight_in_its_own_frame_or_the_worlds() -> None:
    """Mass times acceleration, and the sensor's turned frame; no moment about the centre, so r × F about the sensor."""
    gym, sim, readings, mass = box_world((True, True, True), (True, True, False), height=5.0)
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    root[0, 10:13] = torch.tensor([1.0, 2.0, 3.0])
    gym.set_actor_root_state_tensor(sim, UNWRAP(root))
    for _ in range(50):
        gym.simulate(sim)
    before = root.clone()
    gym.refresh_actor_root_state_tensor(sim)
    gym.refresh_force_sensor_tensor(sim)
    assert not torch.equal(before, root)
    force = torch.tensor([0.0, 0.0, -9.81 * mass])
    assert readings[0, :3].tolist() == pytest.approx(force.tolist(), abs=1e-3)
    quat = root[:, [6, 3, 4, 5]]
    assert torch.allclose(rotate(quat, readings[1:, :3])[0], force, atol=0.2), "the frame is a step older"
    arm = -torch.tensor([0.05, 0.0, 0.0])
    assert torch.allclose(torch.linalg.cross(arm, readings[1, :3]), readings[1, 3:], atol=1e-3)


def test_joint_forces_are_efforts_and_drives(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, params=sim_params(gravity=0.0), ground=False, fix_base_link=True)
    forces = WRAP(world.gym.acquire_dof_force_tensor(world.sim))
    assert world.gym.enable_actor_dof_force_sensors(world.envs[0], 0) and forces.shape == (2, 1)
    world.effort(torch.tensor([3.0, -2.0]))
    world.step()
    assert not forces.any(), "stale until it is refreshed"
    world.gym.refresh_dof_force_tensor(world.sim)
    assert forces[:, 0].tolist() == [3.0, -2.0]


@pytest.mark.parametrize("fixed", [False, True])
def test_jacobian_times_velocities_is_every_bodys_velocity(fixed: bool, tmp_path: Path) -> None:
    """And ½ v' M v is the kinetic energy, half the momentum's product with each body's velocity."""
    world = World(tmp_path, ROBOTS / "quadruped.xml", 2, ground=False, fix_base_link=fixed)
    torch.manual_seed(0)
    world.dof.copy_(0.3 * torch.randn_like(world.dof))
    world.set_dof()
    if not fixed:
        world.root[:, 3:7] = torch.nn.functional.normalize(torch.randn(2, 4), dim=1)
        world.root[:, 7:] = torch.randn(2, 6)
        world.set_root()
    jacobian = WRAP(world.gym.acquire_jacobian_tensor(world.sim, "robot"))
    mass = WRAP(world.gym.acquire_mass_matrix_tensor(world.sim, "robot"))
    world.step()
    world.gym.refresh_jacobian_tensors(world.sim)
    world.gym.refresh_mass_matrix_tensors(world.sim)
    joints, bodies = world.num_dofs, world.body.shape[1]
    velocity = world.dof[..., 1] if fixed else torch.cat([world.root[:, 7:], world.dof[..., 1]], dim=1)
    assert jacobian.shape == (2, bodies - fixed, 6, joints + 6 * (not fixed))
    moved = (jacobian @ velocity[:, None, :, None])[..., 0]
    assert torch.allclose(moved, world.body[:, int(fixed):, 7:], atol=1e-4)
    energy = 0.5 * (velocity[:, None] @ mass @ velocity[..., None]).flatten()
    quat, turn = world.body[..., [6, 3, 4, 5]], world.body[..., 10:]
    com = rotate(quat, torch.tensor(world.asset.com, dtype=torch.float32).expand_as(turn))
    linear = world.body[..., 7:10] + torch.linalg.cross(turn, com)
    spin = rotate(quat * torch.tensor([1.0, -1, -1, -1]), turn)
    tensor = torch.tensor(world.asset.inertia, dtype=torch.float32)
    masses = torch.tensor(world.asset.mass, dtype=torch.float32)
    by_body = 0.5 * masses * linear.square().sum(-1) + 0.5 * torch.einsum("nbi,bij,nbj->nb", spin, tensor, spin)
    armature = torch.tensor(world.asset.dof_properties["armature"].copy())
    rotors = 0.5 * (armature * world.dof[..., 1].square()).sum(dim=1)
    assert torch.allclose(energy, by_body.sum(dim=1) + rotors, rtol=1e-4)


def test_an_attractor_holds_a_point_and_follows_its_target() -> None:
    """A box hangs by its top from a stiff spring; a soft one gives way by weight / stiffness."""
    for stiffness, sag in ((5e6, 0.0), (500.0, 9.81 / 500.0)):
        gym = gymapi.acquire_gym()
        sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
        box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=1000.0, angular_damping=2.0))
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0.1, 0.2, 1)), "box", 0, 0)
        props = gymapi.AttractorProperties()
        props.stiffness, props.damping, props.axes = stiffness, 50.0, gymapi.AXIS_TRANSLATION
        props.offset.p, props.target.p = gymapi.Vec3(0, 0, 0.05), gymapi.Vec3(0.1, 0.2, 1.05)
        handle = gym.create_rigid_body_attractor(env, props)
        gym.prepare_sim(sim)
        root = WRAP(gym.acquire_actor_root_state_tensor(sim))
        for step in range(300):
            place = (0.1, 0.2, 1.05 + 0.001 * min(step, 100))
            gym.set_attractor_target(env, handle, gymapi.Transform(gymapi.Vec3(*place)))
            gym.simulate(sim)
        gym.refresh_actor_root_state_tensor(sim)
        assert root[0, :3].tolist() == pytest.approx([0.1, 0.2, 1.1 - sag], abs=3e-3), stiffness


def test_forces_in_the_bodys_frame_use_the_present_orientation(tmp_path: Path) -> None:
    """Turned by set_actor_root_state, a quarter about z: a force along the body's x pushes along the world's y."""
    world = World(tmp_path, WALKER, 1, params=sim_params(gravity=0.0), ground=False)
    world.step()
    world.root[0, 3:7] = torch.tensor([0.0, 0.0, 0.5**0.5, 0.5**0.5])
    world.set_root()
    forces = torch.zeros(world.body.shape[1], 3)
    forces[0, 0] = 100.0
    world.gym.apply_rigid_body_force_tensors(world.sim, UNWRAP(forces), None, gymapi.LOCAL_SPACE)
    world.step()
    velocity = world.root[0, 7:10]
    assert velocity[1] > 0.01 and abs(velocity[0]) < 0.05 * velocity[1], velocity


def test_a_force_at_a_point_turns_the_body(tmp_path: Path) -> None:
    """1 N along x, 0.05 m above the centre of a 1 kg cube of 0.1 m: v = F t / m, ω = F r t / I."""
    gym, sim, _, mass = box_world((True, True, True), height=1.0, gravity=0.0)
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    force, place = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 0, 1.05]])
    gym.apply_rigid_body_force_at_pos_tensors(sim, UNWRAP(force), UNWRAP(place), gymapi.ENV_SPACE)
    gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert float(root[0, 7]) == pytest.approx(0.005 / mass, rel=1e-3)
    assert float(root[0, 11]) == pytest.approx(0.05 * 0.005 / (mass * 0.01 / 6), rel=1e-3)


@pytest.mark.parametrize("damping", [0.5, 5.0])
def test_a_free_bodys_spin_decays_by_its_damping(damping: float) -> None:
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params(gravity=0.0))
    box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=1000.0, angular_damping=damping, linear_damping=damping))
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0, 0, 1)), "box", 0, 0)
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    root[0, 7], root[0, 12] = 1.0, 10.0
    gym.set_actor_root_state_tensor(sim, UNWRAP(root))
    for _ in range(200):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    share = (1 + damping * 0.005) ** -200
    assert float(root[0, 12]) == pytest.approx(10 * share, rel=0.01)
    assert float(root[0, 7]) == pytest.approx(share, rel=0.01)
