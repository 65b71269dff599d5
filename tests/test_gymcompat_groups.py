"""Environments with several actors, and with different ones: rows, indices and physics are each environment's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest
import torch
from gymcompat_robots import PENDULUM, options, plane, sim_params

from sb3_isaac.gymcompat.api import gymapi, gymtorch

WRAP, UNWRAP = gymtorch.wrap_tensor, gymtorch.unwrap_tensor


class Mixed:
    """Environment 0: a pendulum and a small box; 1: a large box; 2: as 0; 3: a ball, a pendulum and a ball."""

    def __init__(self, folder: Path) -> None:
        (folder / "pendulum.urdf").write_text(PENDULUM)
        self.gym = gym = gymapi.acquire_gym()
        self.sim = sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
        gym.add_ground(sim, plane())
        self.index: List[int] = []
        self.envs = [self.fill(folder, names) for names in ("ps", "L", "ps", "bpb")]
        gym.prepare_sim(sim)
        self.root = WRAP(gym.acquire_actor_root_state_tensor(sim))
        self.dof = WRAP(gym.acquire_dof_state_tensor(sim))
        self.body = WRAP(gym.acquire_rigid_body_state_tensor(sim))

    def fill(self, folder: Path, names: str) -> Any:
        gym, sim = self.gym, self.sim
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        for i, name in enumerate(names):
            if name == "p":
                asset = gym.load_asset(sim, str(folder), "pendulum.urdf", options(fix_base_link=True))
            elif name == "b":
                asset = gym.create_sphere(sim, 0.1, options(density=100.0))
            else:
                size = 0.1 if name == "s" else 0.4
                asset = gym.create_box(sim, size, size, size, options(density=100.0))
            actor = gym.create_actor(env, asset, gymapi.Transform(gymapi.Vec3(i, 0, 1 + i)), f"{name}{i}", 0, 0)
            self.index.append(gym.get_actor_index(env, actor, gymapi.DOMAIN_SIM))
        return env

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.gym.simulate(self.sim)
        self.gym.refresh_actor_root_state_tensor(self.sim)
        self.gym.refresh_dof_state_tensor(self.sim)
        self.gym.refresh_rigid_body_state_tensor(self.sim)


@pytest.fixture
def mixed(tmp_path: Path) -> Mixed:
    return Mixed(tmp_path)


def test_rows_are_in_the_order_of_creation_and_indices_are_right_while_building(mixed: Mixed) -> None:
    assert mixed.index == list(range(8)), "asked for while later environments did not exist"
    assert mixed.root[:, 0].tolist() == [0, 1, 0, 0, 1, 0, 1, 2]
    assert mixed.root[:, 2].tolist() == [1, 2, 1, 1, 2, 1, 2, 3]
    gym = mixed.gym
    assert (gym.get_sim_actor_count(mixed.sim), gym.get_sim_dof_count(mixed.sim),
            gym.get_sim_rigid_body_count(mixed.sim)) == (8, 3, 11)
    rod = gym.find_actor_rigid_body_index(mixed.envs[3], 1, "rod", gymapi.DOMAIN_SIM)
    assert rod == 3 + 1 + 3 + 1 + 1 and float(mixed.body[rod, 0]) == 1.0
    assert gym.find_actor_dof_index(mixed.envs[3], 1, "swing", gymapi.DOMAIN_SIM) == 2
    assert len(mixed.sim.running("test").groups) == 3, "equal environments share a model"


def test_each_falls_swings_and_is_set_by_its_own_index(mixed: Mixed) -> None:
    mixed.dof[:, 0] = torch.tensor([0.5, -0.5, 0.25])
    chosen = torch.tensor([6, 3], dtype=torch.int32)
    mixed.gym.set_dof_state_tensor_indexed(mixed.sim, UNWRAP(mixed.dof), UNWRAP(chosen), 2)
    mixed.root[7, 2], mixed.root[2, 2] = 9.0, 7.0
    mixed.gym.set_actor_root_state_tensor_indexed(
        mixed.sim, UNWRAP(mixed.root), UNWRAP(torch.tensor([7], dtype=torch.int32)), 1)
    mixed.step()
    assert mixed.dof[:, 0].tolist() == pytest.approx([0.0, -0.5, 0.25], abs=1e-3)
    assert mixed.root[[7, 2], 2].tolist() == pytest.approx([9.0, 1.0], abs=1e-3), "actor 2 was not listed"
    efforts = torch.tensor([5.0, 0.0, 0.0])
    mixed.gym.set_dof_actuation_force_tensor(mixed.sim, UNWRAP(efforts))
    before = mixed.dof[:, 1].clone()
    mixed.step()
    assert mixed.dof[0, 1] > before[0] + 0.01
    mixed.step(400)
    at_rest = mixed.root[[1, 2, 4, 5, 7], 2]
    assert at_rest.tolist() == pytest.approx([0.05, 0.2, 0.05, 0.1, 0.1], abs=2e-3)
    assert mixed.root[[0, 3, 6], 2].tolist() == [1, 1, 2], "fixed"


def test_the_same_file_loaded_for_each_environment_is_one_asset(tmp_path: Path) -> None:
    """One model, and changes of one actor's shapes or of one asset are its own."""
    mixed = Mixed(tmp_path)
    a, b = (mixed.gym.load_asset(mixed.sim, str(tmp_path), "pendulum.urdf", options()) for _ in range(2))
    assert a.key == b.key and a.spec is b.spec
    other = mixed.gym.load_asset(mixed.sim, str(tmp_path), "pendulum.urdf", options(density=5.0))
    assert other.key != a.key
    mixed.gym.create_asset_force_sensor(a, 0, gymapi.Transform())
    assert a.key != b.key and not b.sensors


def test_a_scaled_actor_is_larger_and_heavier() -> None:
    """A box of 0.1 m at three times its size rests at 0.15 m, and weighs 27 times as much."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    gym.add_ground(sim, plane())
    for scale in (1.0, 3.0):
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        box = gym.create_box(sim, 0.1, 0.1, 0.1, options(density=100.0))
        actor = gym.create_actor(env, box, gymapi.Transform(gymapi.Vec3(0, 0, 0.2)), "box", 0, 0)
        assert gym.set_actor_scale(env, actor, scale) and gym.get_actor_scale(env, actor) == scale
        assert gym.get_actor_rigid_body_properties(env, actor)[0].mass == pytest.approx(0.1 * scale**3)
    root = WRAP(gym.acquire_actor_root_state_tensor(sim))
    for _ in range(300):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert root[:, 2].tolist() == pytest.approx([0.05, 0.15], abs=1e-3)
    assert gym.set_actor_scale(env, actor, 3.0), "the size that it has"
    with pytest.raises(NotImplementedError, match="after prepare_sim"):
        gym.set_actor_scale(env, actor, 2.0)
