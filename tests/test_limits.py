"""Soft limits of joints: what is beyond them costs, is counted, and may end an episode."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts.limits import Limits, measures

FLAT = "IsaacQuadrupedFlat-v0"
INF = float("inf")


def test_how_far_joints_are_beyond_by_hand() -> None:
    """80% of [0, 2] is [0.2, 1.8]; of a joint without a range nothing is beyond; half of 10 N·m is 5."""
    limits = Limits({"range": 0.8, "speed": 3.0, "torque": 0.5}, torch.tensor([[0.0, 2.0], [-INF, INF]]),
                    torch.tensor([10.0, 10.0]))
    beyond = limits.beyond(torch.tensor([[1.9, 100.0], [0.0, 0.0], [1.0, 0.0]]),
                           torch.tensor([[-4.0, 3.0], [0.0, 5.0], [0.0, 0.0]]),
                           torch.tensor([[0.0, -7.0], [5.0, 0.0], [0.0, 0.0]]))
    expected = {"range": [[0.1, 0], [0.2, 0], [0, 0]], "speed": [[1, 0], [0, 2], [0, 0]],
                "torque": [[0, 2], [0, 0], [0, 0]]}
    for kind, values in expected.items():
        torch.testing.assert_close(beyond[kind], torch.tensor(values, dtype=torch.float32))
    assert {name: value().tolist() for name, value in measures(SimpleNamespace(beyond=beyond)).items()} == {
        "range_violations": [1, 1, 0], "speed_violations": [1, 1, 0], "torque_violations": [1, 0, 0]}


@pytest.mark.parametrize("end", [False, True])
def test_limits_cost_are_counted_and_may_end_an_episode(end: bool) -> None:
    pytest.importorskip("mujoco")
    env = make_task(FLAT, 4, threads=1, seed=0, limits={"torque": 0.01, "end": end}, reward={"torque_limit": -0.1},
                    stagger=False)
    env.reset(seed=0)
    step = env.step(torch.zeros(4, 12))
    features: Any = env.features()  # type: ignore[attr-defined]
    assert bool(step.terminated.all()) is end
    if not end:
        over = (features.torque.abs() - 0.01 * torch.tensor(env.robot.torque_limit_nm)).clamp(min=0)  # type: ignore
        torch.testing.assert_close(step.log["reward/torque_limit"], -0.1 * over.sum(dim=1))
        assert step.log["torque_violations"].tolist() == (over > 0).sum(dim=1).tolist()
    env.close()


@pytest.mark.parametrize(("given", "said"), [
    ({"rnage": 0.9}, "unknown limit 'rnage' in limits: did you mean 'range'"),
    ({"torque": 1.5}, "limits torque is 1.5: give a share above 0 and at most 1"),
    ({"speed": -1}, "limits speed is -1: give a finite number above 0"),
    ({"end": 1}, "limits end is 1: give true or false"),
])
def test_what_is_no_limit_is_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Limits(given, torch.zeros(2, 2), torch.ones(2))
