"""IsaacBipedVelocity-v0: its robot, its clock, and steps worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import get_robot
from sb3_isaac.sim.scene import compose_scene
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.biped_velocity import BipedVelocity, in_time, on_one_foot

ENV = "IsaacBipedVelocity-v0"
STEPS = SimpleNamespace(
    foot_contact=torch.tensor([[True, False], [False, True], [True, True], [False, False], [True, False]]),
    phase=torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2]), standing=torch.tensor([False, False, False, False, True]))


def test_the_g1_has_its_published_mass_and_stands_on_its_soles() -> None:
    robot = get_robot("g1")
    model = compose_scene(robot, 0.01)
    data = mujoco.MjData(model)
    data.qpos[:7] = (0, 0, robot.base_height_m, 1, 0, 0, 0)
    data.qpos[7:] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    assert model.body_subtreemass[0] == pytest.approx(32.107, abs=0.001)
    assert [model.joint(j).name for j in range(1, model.njnt)] == list(robot.joints)
    soles = [g for g in range(model.ngeom) if model.body(model.geom_bodyid[g]).name in robot.feet]
    lowest = data.geom_xpos[soles, 2] - model.geom_size[soles, 0]
    assert len(soles) == 8
    np.testing.assert_allclose(lowest, 0.0, atol=1e-3)
    assert abs(data.subtree_com[0][1]) < 1e-6, "its sides are mirror images"


def test_a_walk_is_on_one_foot_at_a_time() -> None:
    assert on_one_foot(STEPS).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert in_time(STEPS).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    STEPS.phase += 0.5
    assert in_time(STEPS).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_the_clock_is_there_unless_it_is_left_out_and_runs_at_its_own_pace() -> None:
    env = BipedVelocity(2, threads=1, seed=0, stagger=False,
                        command={"forward_m_s": 0.5, "stand_share": 0.0, "zero_share": 0.0, "first": {}})
    env.reset()
    assert env.obs_table["clock"] == 2 and sum(env.obs_table.values()) == 48
    before = env.phase.clone()
    obs = env.step(torch.zeros(2, 12)).obs["policy"]
    torch.testing.assert_close(torch.remainder(env.phase - before, 1.0), torch.full((2,), 1.5 * 0.02))
    torch.testing.assert_close(obs[:, 46], (2 * math.pi * env.phase).sin())
    assert "clock" not in BipedVelocity(1, threads=1, clock=False).obs_table


def test_in_the_mirror_it_is_half_a_stride_later() -> None:
    seen = make_task(ENV, 2, threads=1).mirror()
    assert seen.observation["policy"].sign[-2:] == (-1, -1)
    assert seen.action.source == (*range(6, 12), *range(6))
    assert seen.action.sign == (1, -1, -1, 1, 1, -1) * 2, "pitch stays, roll and yaw change their sign"


def test_four_feet_do_not_walk() -> None:
    with pytest.raises(UserError, match="robot 'quadruped' has 4 feet, and a walk is for two"):
        make_task(ENV, 1, threads=1, robot="quadruped")
