"""State of single actors and bodies by arrays, before the simulation is prepared and while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymcompat_robots import PENDULUM, WALKER, World, options, sim_params

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api import gymapi, gymtorch


def test_poses_and_states_can_be_read_and_set_while_environments_are_built(tmp_path: Path) -> None:
    """The rod hangs from the base, which lies on its side; nothing that is asked for builds the physics too early."""
    (tmp_path / "p.urdf").write_text(PENDULUM)
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params(gravity=0.0))
    asset = gym.load_asset(sim, str(tmp_path), "p.urdf", options(fix_base_link=True))
    for i in range(2):
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        turned = gymapi.Quat(0.5**0.5, 0, 0, 0.5**0.5)
        actor = gym.create_actor(env, asset, gymapi.Transform(gymapi.Vec3(0, 0, 1 + i), turned), "p", 0, 0)
        pose = gym.get_rigid_transform(env, gym.find_actor_rigid_body_handle(env, actor, "rod"))
        assert list(pose.p) == [0, 0, 1 + i] and list(pose.r) == pytest.approx(list(turned))
        states = gym.get_actor_dof_states(env, actor, gymapi.STATE_ALL)
        assert states["pos"].tolist() == [0.0]
        states["pos"], states["vel"] = 0.25 * (i + 1), 1.0
        assert gym.set_actor_dof_states(env, actor, states, gymapi.STATE_POS)
    gym.prepare_sim(sim)
    dof = gymtorch.wrap_tensor(gym.acquire_dof_state_tensor(sim))
    assert dof.tolist() == [[0.25, 0.0], [0.5, 0.0]], "STATE_POS says nothing of velocities"
    assert gym.get_actor_dof_states(env, actor, gymapi.STATE_POS)["pos"].tolist() == [0.5]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, WALKER)


def test_arrays_and_tensors_tell_the_same(world: World) -> None:
    world.effort(torch.full((2, 8), 0.1))
    world.step(20)
    gym, env = world.gym, world.envs[1]
    bodies = gym.get_actor_rigid_body_states(env, 0, gymapi.STATE_ALL)
    assert bodies["pose"]["p"]["z"].tolist() == pytest.approx(world.body[1, :, 2].tolist(), abs=1e-6)
    assert bodies["vel"]["angular"]["y"].tolist() == pytest.approx(world.body[1, :, 11].tolist(), abs=1e-6)
    assert not gym.get_actor_rigid_body_states(env, 0, gymapi.STATE_POS)["vel"]["linear"]["z"].any()
    foot = gym.find_actor_rigid_body_handle(env, 0, "back_foot")
    assert list(gym.get_rigid_transform(env, foot).p) == pytest.approx(world.body[1, foot, :3].tolist(), abs=1e-6)
    assert list(gym.get_rigid_linear_velocity(env, foot)) == pytest.approx(world.body[1, foot, 7:10].tolist(), abs=1e-6)
    joints = gym.get_actor_dof_states(env, 0, gymapi.STATE_ALL)
    assert joints["vel"].tolist() == world.dof[1, :, 1].tolist()


def test_what_is_set_for_one_actor_leaves_the_others(world: World) -> None:
    gym, env = world.gym, world.envs[1]
    before = world.dof.clone()
    states: Any = np.zeros(8, gymapi.DofState.dtype)
    states["pos"] = 0.3
    gym.set_actor_dof_states(env, 0, states, gymapi.STATE_ALL)
    gym.set_rigid_transform(env, 0, gymapi.Transform(gymapi.Vec3(1, 2, 3)))
    gym.refresh_dof_state_tensor(world.sim)
    gym.refresh_actor_root_state_tensor(world.sim)
    assert torch.equal(world.dof[0], before[0]) and (world.dof[1, :, 0] == 0.3).all()
    assert world.root[:, 2].tolist() == [1.0, 3.0]
    gym.apply_actor_dof_efforts(env, 0, np.full(8, 2.0))
    forces = gymtorch.wrap_tensor(gym.acquire_dof_force_tensor(world.sim)).view(2, 8)
    world.step()
    gym.refresh_dof_force_tensor(world.sim)
    assert not forces[0].any() and (forces[1] == 2.0).all()
    gym.set_actor_dof_position_targets(env, 0, np.full(8, 0.5))
    assert gym.get_actor_dof_position_targets(env, 0).tolist() == [0.5] * 8
    with pytest.raises(UserError, match="8 joints"):
        gym.set_actor_dof_states(env, 0, states[:3], gymapi.STATE_ALL)
    with pytest.raises(UserError, match="no root body"):
        gym.set_rigid_transform(env, 3, gymapi.Transform())
