"""A task's saved state: one that was saved before the task remembered as much, and one of another task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat


def make(**options: Any) -> QuadrupedFlat:
    env = QuadrupedFlat(3, seed=0, threads=1, stagger=False, **options)
    env.reset()
    for _ in range(4):
        env.step(torch.full((3, 12), 0.2))
    return env


def test_what_was_not_remembered_yet_begins_anew() -> None:
    env, other = make(), QuadrupedFlat(3, seed=1, threads=1, stagger=False)  # whose own state is another one
    state = env.state_dict()
    for name in ("course_error", "last_foot_pos_w"):
        assert state["task"].pop(name).abs().max() > 0
    other.load_state_dict(state)
    assert not other.course_error.any(), "as in an episode's first state"
    torch.testing.assert_close(other.last_foot_pos_w, env.sim.state.foot_pos_w)
    assert torch.equal(other.last_action, env.last_action) and torch.equal(other.steps, env.steps)
    assert torch.isfinite(other.step(torch.zeros(3, 12)).reward).all()


@pytest.mark.parametrize("change, said", [
    (lambda state: state["task"].pop("command"), "command of the saved task is missing"),
    (lambda state: state["task"].update(command=torch.zeros(3, 5)), r"command of the saved task is of shape \(3, 5\)"),
    (lambda state: state["obs"].pop("policy"), "observation group 'policy' of the saved task is missing"),
])
def test_another_tasks_state_is_refused(change: Any, said: str) -> None:
    env = make()
    state = env.state_dict()
    change(state)
    with pytest.raises(UserError, match=said):
        env.load_state_dict(state)
