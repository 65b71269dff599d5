"""Sums on the device, worked by hand."""

from __future__ import annotations

from typing import Any, Dict

import pytest
import torch

from sb3_isaac.contract.tensor_env import Step
from sb3_isaac.envs.statistics import RolloutStatistics

ACTIONS = torch.zeros(2, 1)


def step(reward: Any, terminated: Any = (0, 0), truncated: Any = (0, 0), diverged: Any = (0, 0)) -> Step:
    obs: Dict[str, torch.Tensor] = {"policy": torch.zeros(2, 1)}
    rewards, fell, late, lost = torch.tensor(reward), *(torch.tensor(x, dtype=torch.bool)
                                                        for x in (terminated, truncated, diverged))
    speed = torch.where(lost, torch.nan, 2 * rewards)
    log = {"reward/speed": rewards, "falls": fell, "bad_world": lost, "forward_speed": speed,
           "foot_contact": torch.ones(2, 4)}
    return Step(obs, rewards, fell, late, obs, log)


def test_means_counts_and_episodes() -> None:
    """The first robot falls at its second step (1 + 2), the other runs out of time at the third (10 + 20 + 30)."""
    sums = RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls"))
    assert sums.read() == {}
    sums.add(step([1.0, 10.0]), ACTIONS)
    assert "rollout/ep_rew_mean" not in sums.read()
    sums.add(step([2.0, 20.0], terminated=(1, 0)), ACTIONS)
    sums.add(step([4.0, 30.0], truncated=(0, 1)), ACTIONS)
    values = sums.read()
    assert values["reward/speed"] == pytest.approx(67 / 6) and values["rollout/forward_speed"] == pytest.approx(134 / 6)
    assert values["rollout/ep_rew_mean"] == pytest.approx((3 + 60) / 2) and values["rollout/ep_len_mean"] == 2.5
    assert (values["rollout/falls"], values["rollout/timeouts"], values["rollout/bad_worlds"]) == (1, 1, 0)
    sums.clear()
    sums.add(step([8.0, 40.0], terminated=(1, 0)), ACTIONS)  # 4 + 8: the episode went on over the clearing
    assert sums.read()["rollout/ep_rew_mean"] == 12 and sums.read()["rollout/ep_len_mean"] == 2


def test_lost_worlds_are_counted_and_in_no_mean() -> None:
    sums = RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls"))
    sums.add(step([0.0, 3.0], terminated=(1, 0), diverged=(1, 0)), ACTIONS)
    values = sums.read()
    assert values["rollout/bad_worlds"] == 1 and values["rollout/falls"] == 0 and "rollout/ep_rew_mean" not in values
    assert values["reward/speed"] == 3.0 and values["rollout/forward_speed"] == 6.0, "of the one good robot"


def test_running_episodes_are_saved() -> None:
    first, second = (RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls")) for _ in range(2))
    first.add(step([1.0, 2.0], terminated=(1, 0)), ACTIONS)
    second.load_state_dict(first.state_dict())
    for sums in (first, second):
        sums.clear()
        sums.add(step([5.0, 6.0], truncated=(1, 1)), ACTIONS)
        assert sums.read()["rollout/ep_rew_mean"] == pytest.approx((5 + 8) / 2)


def test_steps_since_what_is_counted_was_seen_go_over_rollouts_and_are_saved() -> None:
    sums = RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls"))
    calm, falling = step([1.0, 1.0]), step([1.0, 1.0], terminated=(1, 0))
    without = []
    for steps in ([calm, calm], [calm], [calm, falling, calm], [calm]):
        sums.clear()
        for one in steps:
            sums.add(one, ACTIONS)
        without.append(sums.read()["rollout/steps_without_falls"])
    assert without == [4, 6, 0, 2]
    assert sums.read()["rollout/steps_without_falls"] == 2, "reading changes nothing"
    assert "rollout/steps_without_forward_speed" not in sums.read()
    again = RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls"))
    again.load_state_dict(sums.state_dict())
    old = RolloutStatistics(2, torch.device("cpu"), ("forward_speed", "falls"))
    old.load_state_dict({key: value for key, value in sums.state_dict().items() if key != "without"})
    for one in (sums, again, old):
        one.clear()
        one.add(calm, ACTIONS)
    assert [one.read()["rollout/steps_without_falls"] for one in (sums, again, old)] == [4, 4, 2]
    sums.merge(lambda total: 3 * total, 3)
    assert sums.read()["rollout/steps_without_falls"] == 2 + 6
