"""Observations of what happened in a step, and of what adds up, are right in `obs` and in `final_obs`."""

from __future__ import annotations

from typing import Any, Dict

import pytest
import torch

from sb3_isaac.tasks import make_task

N = 24
ASKED: Dict[str, Any] = {"turning": lambda f: f.heading_rate, "course": lambda f: f.course_error,
                         "foot_speed": lambda f: f.foot_vel_w[:, :, 0], "slip": lambda f: f.foot_slip,
                         "landed": lambda f: f.foot_landed.float()}


def columns(env: Any, obs: Dict[str, torch.Tensor], name: str) -> torch.Tensor:
    start = sum(width for other, width in list(env.obs_table.items())[:list(env.obs_table).index(name)])
    return obs["policy"][:, start:start + env.obs_table[name]]


def test_what_a_step_did_is_observed_of_robots_that_go_on_and_not_of_those_that_begin() -> None:
    env = make_task("IsaacQuadrupedFlat-v0", N, seed=0, threads=1, episode_length_s=0.6,
                    observation={"policy": dict(ASKED)})
    env.reset(seed=0)
    generator, began = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        step = env.step(2 * torch.rand(N, 12, generator=generator) - 1)
        over = step.terminated | step.truncated
        for name in ASKED:
            assert torch.equal(columns(env, step.obs, name)[~over], columns(env, step.final_obs, name)[~over]), name
        assert torch.equal(columns(env, step.final_obs, "turning")[:, 0][~over], step.log["heading_rate"][~over])
        assert columns(env, step.obs, "turning")[~over].abs().max() > 0.1
        for name in ("turning", "foot_speed", "landed"):
            assert not columns(env, step.obs, name)[over].any(), "an episode's first state has no step behind it"
        began += int(over.sum())
    assert began > N


def test_what_observations_do_not_ask_for_costs_nothing() -> None:
    assert make_task("IsaacQuadrupedFlat-v0", 2, threads=1, privileged=True)._step_features == ()
    asking = make_task("IsaacQuadrupedFlat-v0", 2, threads=1, observation={"policy": {"v": lambda f: f.velocity}})
    assert asking._step_features == ("heading_rate",)


@pytest.mark.parametrize("task, options", [("IsaacBipedVelocity-v0", {}),
                                           ("IsaacQuadrupedVelocity-v0", {"clock": True})])
def test_a_last_observation_shows_the_clock_that_the_next_action_would_be_judged_by(task: str,
                                                                                   options: Dict[str, Any]) -> None:
    env = make_task(task, N, seed=0, threads=1, episode_length_s=0.4, **options)
    env.reset(seed=0)
    checked = 0
    for _ in range(40):
        advanced = torch.remainder(env.phase + env.STRIDE_HZ * env.control_dt * ~env.features().standing, 1.0)
        step = env.step(torch.zeros(N, env.action_space.shape[0]))
        over = step.terminated | step.truncated
        angle = 2 * torch.pi * advanced
        due = torch.stack((angle.sin(), angle.cos()), dim=1)
        assert torch.allclose(columns(env, step.final_obs, "clock")[over], due[over], atol=1e-5)
        checked += int(over.sum())
    assert checked > N
