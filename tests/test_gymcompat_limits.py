"""Velocity limits of joints and of bodies, as PhysX cuts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymcompat_robots import PENDULUM, World, options, sim_params

from sb3_isaac.gymcompat.api import gymapi, gymtorch

WRAP, UNWRAP = gymtorch.wrap_tensor, gymtorch.unwrap_tensor


@pytest.mark.parametrize("substeps", [1, 4])
def test_a_joint_turns_no_faster_than_its_own_limit_and_its_bodys(substeps: int, tmp_path: Path) -> None:
    """100 N·m on 0.52 kg·m² would make 38 rad/s in 0.2 s. Limits: 3 rad/s of the joint; none of the joint, and the 8
    rad/s of the body; 50 rad/s of the joint, and the body's again."""
    def edit(world: Any, i: int, env: Any, actor: Any) -> None:
        joints = world.gym.get_actor_dof_properties(env, actor)
        joints["velocity"] = (3.0, 0.0, 50.0)[i]
        world.gym.set_actor_dof_properties(env, actor, joints)

    world = World(tmp_path, PENDULUM, n=3, params=sim_params(0.02, substeps, gravity=0.0), fix_base_link=True,
                  edit=edit, max_angular_velocity=8.0)
    world.effort(torch.full((3, 1), 100.0))
    world.step(10)
    assert world.dof[:, 0, 1].tolist() == pytest.approx([3.0, 8.0, 8.0])
    before = world.dof[:, 0, 0].clone()
    world.step(10)
    assert (world.dof[:, 0, 0] - before).tolist() == pytest.approx([0.6, 1.6, 1.6], abs=1e-4), "and goes no further"
    joints = world.gym.get_actor_dof_properties(world.envs[0], 0)
    joints["velocity"] = 5.0
    world.gym.set_actor_dof_properties(world.envs[0], 0, joints)
    world.step(10)
    assert world.dof[:, 0, 1].tolist() == pytest.approx([5.0, 8.0, 8.0])


def test_a_free_body_keeps_to_the_limits_of_its_asset() -> None:
    """Two boxes: one falls at 2 m/s and spins about its diagonal at 9 rad/s; one is limited to neither."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    for limits in ({"max_linear_velocity": 2.0, "max_angular_velocity": 9.0}, {}):
        box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=1000.0, angular_damping=0.0, **limits))
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0, 0, 9)), "box", 0, 0)
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    root[:, 10:13] = 30.0
    gym.set_actor_root_state_tensor(sim, UNWRAP(root))
    for _ in range(100):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert root[:, 9].tolist() == pytest.approx([-2.0, -9.81 * 0.5], rel=1e-5)
    spin = 9.0 / 3**0.5
    assert root[0, 10:13].tolist() == pytest.approx([spin] * 3, rel=1e-3)
    assert root[1, 10:13].tolist() == pytest.approx([30.0] * 3, rel=1e-3)


def test_a_robot_without_joints_has_no_rows_of_joints() -> None:
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=1000.0))
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    actor = gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0, 0, 9)), "box", 0, 0)
    assert gym.get_asset_joint_count(box) == gym.get_actor_joint_count(env, actor) == 0
    assert gym.get_actor_joint_dict(env, actor) == {}
    gym.prepare_sim(sim)
    dof = WRAP(gym.acquire_dof_state_tensor(sim))
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    gym.set_dof_state_tensor(sim, UNWRAP(dof))
    gym.set_dof_actuation_force_tensor(sim, UNWRAP(torch.zeros(0)))
    gym.simulate(sim)
    gym.refresh_dof_state_tensor(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert tuple(dof.shape) == (0, 2) and float(root[0, 9]) == pytest.approx(-9.81 * 0.005)
