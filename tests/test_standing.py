"""How robots that are told to stand are watched."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from sb3_isaac.tasks.parts import legged
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity, at_rest

STAND = {"forward_m_s": 0.0, "left_m_s": 0.0, "yaw_rad_s": 0.0}


def test_a_robot_that_stands_is_watched_from_two_seconds_on() -> None:
    env = QuadrupedVelocity(2, seed=0, threads=1, stagger=False, command=STAND)
    env.reset()
    for i in range(103):
        step = env.step(torch.zeros(2, 12))
        if i <= 100:
            assert (step.log["standing_drift_m"] == 0).all()
    assert (step.log["standing_drift_m"] < 0.005).all() and not step.log["standing_steps"].any()
    before, at = env.sim.state.root_pos_w.clone(), env.stood_at_w.clone()
    torch.testing.assert_close(step.log["standing_drift_m"], (before[:, :2] - at).norm(dim=1))
    ones = torch.ones(3)
    stood = SimpleNamespace(standing=ones, foot_contact=ones[:, None], joint_vel=torch.zeros(3, 12),
                            standing_drift=torch.tensor([0.0, 0.01, 0.1]))
    assert at_rest(stood).tolist() == pytest.approx([1.0, 0.5 / 1.04 + 0.5 * math.exp(-1.0), 0.5 / 5.0], abs=1e-4)


def test_what_it_moves_is_measured_over_ten_seconds_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second here, after the two: a robot that creeps by 1 cm a second has never moved by more."""
    assert legged.WATCHED_S == 10.0
    monkeypatch.setattr(legged, "WATCHED_S", 1.0)
    env = QuadrupedVelocity(1, seed=0, threads=1, stagger=False, command=STAND)
    env.reset()
    drift = []
    for i in range(260):
        env.sim.state.root_pos_w[:, 0] = 1.0 + 0.0002 * i  # type: ignore[attr-defined]
        features = env.features()
        drift.append(float(features.standing_drift))
        env.steps += 1
        env._remember(features)
    assert drift[:101] == [0.0] * 101
    assert max(drift) == pytest.approx(0.01, abs=3e-4)
    again = [i for i in range(1, 260) if drift[i] < drift[i - 1]]
    assert 2 <= len(again) <= 3 and all(50 <= b - a <= 53 for a, b in zip(again, again[1:])), again
