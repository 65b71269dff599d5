"""What a client may rely on of Isaac Gym's tensors: addresses, who writes when, indices, frames, signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymcompat_robots import PENDULUM, WALKER, World, options, plane, sim_params

from sb3_isaac.gymcompat.api import gymapi, gymtorch
from sb3_isaac.gymcompat.runtime import settings


def unwrap(tensor: torch.Tensor) -> Any:
    return gymtorch.unwrap_tensor(tensor.contiguous())


def indices(*values: int) -> Any:
    return gymtorch.unwrap_tensor(torch.tensor(values, dtype=torch.int32))


def test_tensors_keep_their_address_and_are_float32(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, n=3)
    bodies = len(world.asset.body_names)
    calls = {"actor_root_state": (3, 13), "dof_state": (24, 2), "rigid_body_state": (3 * bodies, 13),
             "net_contact_force": (3 * bodies, 3)}
    for name, shape in calls.items():
        first = gymtorch.wrap_tensor(getattr(world.gym, f"acquire_{name}_tensor")(world.sim))
        world.step(2)
        again = gymtorch.wrap_tensor(getattr(world.gym, f"acquire_{name}_tensor")(world.sim))
        assert tuple(first.shape) == shape and first.dtype == torch.float32
        assert first.data_ptr() == again.data_ptr()


def test_only_refresh_writes_and_each_refresh_its_own_tensor(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, height=0.6)
    tensors = {"actor_root_state": world.root, "dof_state": world.dof, "rigid_body_state": world.body,
               "net_contact_force": world.contact}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    for _ in range(150):
        world.gym.simulate(world.sim)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    for name in tensors:
        getattr(world.gym, f"refresh_{name}_tensor")(world.sim)
        changed = {n for n, tensor in tensors.items() if not torch.equal(tensor, before[n])}
        assert changed == {name}
        before[name] = tensors[name].clone()


def test_what_a_client_writes_moves_nothing_until_it_is_set(tmp_path: Path) -> None:
    """legged_gym writes into its views at a reset and then sets them; a client that forgets gets the old state back."""
    world = World(tmp_path, WALKER)
    truth = world.root.clone()
    world.root[:, 2] += 7.0
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert torch.equal(world.root, truth)
    world.root[:, 2] += 7.0
    world.set_root()
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert torch.allclose(world.root[:, 2], truth[:, 2] + 7.0)


def test_bodies_and_contacts_stay_those_of_the_last_step_after_a_set(tmp_path: Path) -> None:
    """Also if nobody had refreshed them since."""
    world = World(tmp_path, WALKER, height=0.43)
    world.step(100)
    old_body, old_contact = world.body.clone(), world.contact.clone()
    assert old_contact[:, :, 2].sum() > 50
    for _ in range(3):
        world.gym.simulate(world.sim)
    world.gym.refresh_actor_root_state_tensor(world.sim)
    world.root[:, 2] += 3.0
    world.set_root()
    world.gym.refresh_net_contact_force_tensor(world.sim)
    world.gym.refresh_rigid_body_state_tensor(world.sim)
    world.gym.refresh_net_contact_force_tensor(world.sim)
    assert not torch.equal(world.body, old_body), "they are those of the steps in between"
    assert torch.allclose(world.body[..., 2], old_body[..., 2], atol=0.05)
    assert world.contact[:, :, 2].sum() > 50
    world.step(1)
    assert (world.body[:, 0, 2] - old_body[:, 0, 2] > 2.9).all()
    assert world.contact.abs().max() == 0


def test_contacts_do_not_depend_on_whether_bodies_were_refreshed_before(tmp_path: Path) -> None:
    """Bodies are computed when they are asked for, by one thread for many worlds: here one stands and three fly."""
    before = settings.current()
    settings.use(settings.Settings(threads=1))
    try:
        world = World(tmp_path, WALKER, n=4, height=0.43)
    finally:
        settings.use(before)
    world.root[1:, 2] += 50.0
    world.set_root()
    world.step(100)
    for _ in range(3):
        world.gym.simulate(world.sim)
    world.gym.refresh_net_contact_force_tensor(world.sim)
    expected = world.contact.clone()
    assert expected[0, :, 2].sum() > 50 and expected[1:].abs().max() == 0
    world.gym.refresh_rigid_body_state_tensor(world.sim)
    world.gym.refresh_net_contact_force_tensor(world.sim)
    assert torch.equal(world.contact, expected)


def test_a_set_pose_has_xyzw_order_and_angular_velocity_in_the_world_frame(tmp_path: Path) -> None:
    """A robot lying on its left side spins about the world's z axis: its y axis, which points up, does not move."""
    world = World(tmp_path, WALKER, n=1, ground=False, params=sim_params(dt=0.001, gravity=0.0))
    world.root[:, 3:7] = torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5])  # 90° about x
    world.root[:, 10:13] = torch.tensor([0.0, 0.0, 2.0])
    world.set_root()
    world.step(100)
    x, y, z, w = world.root[0, 3:7].tolist()
    up = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))  # the body's y axis
    assert up == pytest.approx((0, 0, 1), abs=0.02)
    assert world.root[0, 10:13].tolist() == pytest.approx([0, 0, 2], abs=0.05)


def test_indexed_sets_touch_the_listed_actors_only(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, n=5)
    root, dof = world.root.clone(), world.dof.clone()
    world.root[:, :3] += torch.tensor([1.0, 2.0, 3.0])
    world.dof[..., 0], world.dof[..., 1] = 0.25, -0.5
    world.gym.set_actor_root_state_tensor_indexed(world.sim, unwrap(world.root), indices(1, 4), 2)
    world.gym.set_dof_state_tensor_indexed(world.sim, unwrap(world.dof.view(-1, 2)), indices(3, 1, 0), 2)
    new_root, new_dof = world.root.clone(), world.dof.clone()
    world.refresh()
    for i in range(5):
        assert torch.allclose(world.root[i], (new_root if i in (1, 4) else root)[i])
        assert torch.allclose(world.dof[i], (new_dof if i in (3, 1) else dof)[i]), "only two indices were announced"


def test_efforts_and_targets_by_index_reach_the_listed_actors_only(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, n=4, fix_base_link=True, params=sim_params(gravity=0.0))
    world.gym.set_dof_actuation_force_tensor_indexed(world.sim, unwrap(torch.ones(4)), indices(2), 1)
    world.step(5)
    moved = world.dof[:, 0, 1] != 0
    assert moved.tolist() == [False, False, True, False]


def test_contact_forces_point_away_from_the_ground_and_add_up_body_by_body(tmp_path: Path) -> None:
    """The sign is that of the force on the body; feet behind kept fixed joints have rows of their own."""
    world = World(tmp_path, WALKER, height=0.43)
    feet = [world.asset.body_names.index(f"{leg}_foot") for leg in ("back", "front", "left", "right")]
    for _ in range(400):
        world.effort(-60.0 * world.dof[..., 0] - 2.0 * world.dof[..., 1])
        world.step(1)
    assert (world.contact[:, feet, 2] > 5).all()
    others = [b for b in range(len(world.asset.body_names)) if b not in feet]
    assert world.contact[:, others].abs().max() == 0
    assert world.contact[0, :, 2].sum().item() == pytest.approx(world.mass * 9.81, rel=0.02)


def test_substeps_divide_dt_and_time_is_counted(tmp_path: Path) -> None:
    fine = World(tmp_path, WALKER, params=sim_params(dt=0.01, substeps=4), height=5.0)
    fine.step(10)
    assert fine.gym.get_sim_time(fine.sim) == pytest.approx(0.1) and fine.gym.get_frame_count(fine.sim) == 10
    assert fine.root[0, 2].item() == pytest.approx(5.0 - 9.81 * 0.0025**2 * 40 * 41 / 2, abs=1e-4)


def test_gravity_changes_in_all_environments_by_sim_params(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, height=5.0)
    params = world.gym.get_sim_params(world.sim)
    params.gravity = gymapi.Vec3(1.0, 0.0, 0.0)
    world.gym.set_sim_params(world.sim, params)
    world.step(20)
    assert world.root[:, 7].tolist() == pytest.approx([0.1, 0.1], rel=0.02)
    assert world.root[:, 9].abs().max() < 1e-5


def test_forces_on_bodies_last_one_step(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, ground=False, params=sim_params(gravity=0.0))
    force = torch.zeros(2 * len(world.asset.body_names), 3)
    force[0, 0] = 100.0  # environment 0's trunk
    world.gym.apply_rigid_body_force_tensors(world.sim, unwrap(force), None, gymapi.ENV_SPACE)
    world.step(1)
    first = world.root[:, 7].clone()
    assert first[0] >= 100.0 * 0.005 / world.mass and first[1] == 0
    world.step(20)
    assert world.root[0, 7].item() < 1.5 * first[0].item(), "it coasts"


def test_a_headless_simulation_has_no_viewer_and_is_made_anew_at_will(tmp_path: Path) -> None:
    """IsaacGymEnvs keeps a simulation, destroys it and makes another."""
    for height in (1.0, 2.0):
        world = World(tmp_path, WALKER, height=height)
        assert world.gym.create_viewer(world.sim, gymapi.CameraProperties()) is None
        assert world.root[0, 2] == height
        assert str(world.root.device) == "cpu"
        world.gym.destroy_sim(world.sim)


def test_several_actors_share_an_environment() -> None:
    """A box beside a ball in each of three environments: rows, indices, and sets by actor index."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    gym.add_ground(sim, plane())
    box, ball = (gym.create_box(sim, 0.2, 0.2, 0.2, options(density=1000.0)),
                 gym.create_sphere(sim, 0.1, options(density=500.0)))
    envs = [gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 3) for _ in range(3)]
    for env in envs:
        gym.create_actor(env, box, gymapi.Transform(p=gymapi.Vec3(0, 0, 0.1)), "box", 0, 0)
        gym.create_actor(env, ball, gymapi.Transform(p=gymapi.Vec3(0, 0, 1.0)), "ball", 0, 0)
    gym.prepare_sim(sim)
    root = gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))
    contact = gymtorch.wrap_tensor(gym.acquire_net_contact_force_tensor(sim)).view(3, 2, 3)
    balls = [gym.find_actor_index(env, "ball", gymapi.DOMAIN_SIM) for env in envs]
    assert tuple(root.shape) == (6, 13) and balls == [1, 3, 5]
    assert [gym.get_actor_rigid_body_index(env, 1, 0, gymapi.DOMAIN_SIM) for env in envs] == [1, 3, 5]
    root[:, 0] += 5.0
    gym.set_actor_root_state_tensor_indexed(sim, unwrap(root), indices(3), 1)
    gym.refresh_actor_root_state_tensor(sim)
    assert root[:, 0].tolist() == [0, 0, 0, 5, 0, 0]
    for _ in range(300):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    gym.refresh_net_contact_force_tensor(sim)
    assert root[1, 2].item() == pytest.approx(0.3, abs=0.02), "the ball lies on the box"
    assert root[3, 2].item() == pytest.approx(0.1, abs=0.02), "the one that was set aside lies on the ground"
    weight = 500.0 * 4 / 3 * torch.pi * 0.1**3 * 9.81
    assert contact[0, 1, 2].item() == pytest.approx(weight, rel=0.1)


def test_actors_of_different_groups_or_filters_with_a_common_bit_pass_through_each_other() -> None:
    gym = gymapi.acquire_gym()
    for group, bits, meets in ((0, 0, True), (0, 2, True), (1, 0, False), (0, 1, False), (-1, 0, True)):
        sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
        gym.add_ground(sim, plane())
        box = gym.create_box(sim, 0.4, 0.4, 0.4, options(density=1000.0))
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        gym.create_actor(env, box, gymapi.Transform(p=gymapi.Vec3(0, 0, 0.2)), "low", 0, 1)
        gym.create_actor(env, box, gymapi.Transform(p=gymapi.Vec3(0, 0, 0.7)), "high", group, bits)
        gym.prepare_sim(sim)
        root = gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))
        for _ in range(150):
            gym.simulate(sim)
        gym.refresh_actor_root_state_tensor(sim)
        assert (root[1, 2].item() > 0.5) is meets, (group, bits)


def test_a_star_import_of_gymtorch_leaves_torchs_tensor() -> None:
    """``from torch import Tensor; from isaacgym.gymtorch import *``, as in all tasks of IsaacGymEnvs."""
    assert set(gymtorch.__all__) == {"wrap_tensor", "unwrap_tensor"}


def test_an_actor_whose_physics_diverges_goes_back_to_where_it_was_created(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, height=2.0, ground=False, params=sim_params(gravity=0.0))
    world.root[:, 0], world.root[1, 7] = 5.0, 1e20
    world.set_root()
    world.step()
    assert world.sim.diverged.tolist() == [False, True] and world.sim.bad_worlds == 1
    assert world.root[0, :3].tolist() == pytest.approx([5.0, 0.0, 2.0])
    assert world.root[1].tolist() == pytest.approx([0, 0, 2, 0, 0, 0, 1] + [0] * 6)
    world.step()
    assert not world.sim.diverged.any()
