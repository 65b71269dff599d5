"""IsaacQuadrupedVelocity-v0: how commands are drawn, told in turn and steered by, and what its report is made of."""

from __future__ import annotations

import argparse
import math
from typing import Any, Dict, List, Tuple

import pytest
import torch

from sb3_isaac.cli import main as cli
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks import make_task, task_options
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.parts.command import Axis, Commands
from sb3_isaac.tasks.parts.gait_report import gait_report
from sb3_isaac.tasks.quadruped_velocity import GRID, QuadrupedVelocity

ENV = "IsaacQuadrupedVelocity-v0"
AXES = {"forward_m_s": Axis(-1.5, 1.5), "left_m_s": Axis(-0.8, 0.8)}


def make(num_envs: int = 4, **options: Any) -> QuadrupedVelocity:
    env = make_task(ENV, num_envs, **{"seed": 0, "threads": 1, "stagger": False, **options})
    assert isinstance(env, QuadrupedVelocity)
    return env


def draw(commands: Commands, count: int, steps: int = 0) -> torch.Tensor:
    told = torch.full((count, len(commands.axes)), math.nan)
    commands.draw(told, torch.ones(count, dtype=torch.bool), torch.full((count,), steps), 0.02,
                  torch.Generator().manual_seed(0))
    return told


def test_a_share_is_zero_on_each_axis_and_a_share_on_all() -> None:
    """Zero on an axis: 0.1 that stand, and 0.2 of the other 0.9; on both: 0.1 + 0.9 · 0.2²."""
    told = draw(Commands(AXES, {"zero_share": 0.2, "stand_share": 0.1}), 100_000)
    zero = told == 0.0
    torch.testing.assert_close(zero.float().mean(dim=0), torch.tensor([0.28, 0.28]), atol=0.005, rtol=0)
    assert float(zero.all(dim=1).float().mean()) == pytest.approx(0.136, abs=0.005)
    assert float(told[:, 0].min()) == pytest.approx(-1.5, abs=0.01) and float(told[:, 1].max()) <= 0.8
    fixed = draw(Commands(AXES, {"forward_m_s": 0.7, "stand_share": 1.0}), 10)
    assert (fixed[:, 0] == 0.7).all() and (fixed[:, 1] == 0.0).all(), "a number is kept, a range is not"
    slow = draw(Commands(AXES, {"forward_m_s": [0.2, 0.4], "stand_share": 1.0}), 100)
    assert (slow[:, 0] >= 0.2).all() and (slow[:, 1] == 0.0).all(), "a range without 0 is kept too"


def test_a_share_is_at_the_ends_of_each_axis_also_of_ranges_that_widen() -> None:
    """Corners: 0.25² of the draws, a quarter of them each."""
    told = draw(Commands(AXES, {"edge_share": 0.25, "zero_share": 0.2}), 100_000)
    ends = torch.tensor([1.5, 0.8])
    assert (told.abs() <= ends).all()
    at_end = told.abs() == ends
    torch.testing.assert_close(at_end.float().mean(dim=0), torch.tensor([0.25, 0.25]), atol=0.005, rtol=0)
    torch.testing.assert_close((told == 0.0).float().mean(dim=0), torch.tensor([0.2, 0.2]), atol=0.005, rtol=0)
    for corner in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        share = (told == ends * torch.tensor(corner)).all(dim=1).float().mean()
        assert float(share) == pytest.approx(0.25**2 / 4, abs=0.002)
    commands, told = Commands(AXES, {"edge_share": 1.0, "first": {"forward_m_s": [0.5, 1.0]}}), torch.zeros(1000, 2)
    commands.draw(told, torch.ones(1000, dtype=torch.bool), torch.zeros(1000), 0.02, torch.Generator().manual_seed(0),
                  torch.tensor([[0.5, 0.25], [1.0, 1.0], [1.0, 1.0]]))
    assert sorted(told[:, 0].unique().tolist()) == pytest.approx([-0.5, 1.125])


def test_random_times_are_so_far_apart_on_average() -> None:
    commands, generator = Commands(AXES, {"resample_s": 2.0, "random_times": True}), torch.Generator().manual_seed(0)
    due = [commands.due(torch.zeros(1000, dtype=torch.long), 0.02, generator) for _ in range(500)]
    assert float(torch.stack(due).float().mean()) == pytest.approx(0.02 / 2.0, rel=0.05)
    fixed = Commands(AXES, {"resample_s": 0.1})
    assert [bool(fixed.due(torch.tensor([i]), 0.02, generator)) for i in (1, 4, 5, 6, 10)] == [
        False, False, True, False, True]


def test_commands_in_turn_begin_with_another_one_for_each_robot() -> None:
    rows = [{"forward_m_s": 1.0}, {"forward_m_s": 2.0}, {"forward_m_s": 3.0}]
    commands = Commands(AXES, {"sequence": rows, "resample_s": 0.1})
    assert draw(commands, 5)[:, 0].tolist() == [1, 2, 3, 1, 2]
    assert draw(commands, 5, steps=5)[:, 0].tolist() == [2, 3, 1, 2, 3]
    assert draw(commands, 5, steps=12)[:, 0].tolist() == [3, 1, 2, 3, 1]
    assert len(set(draw(commands, 5)[:, 1].tolist())) == 5, "what is not told is drawn"
    again = Commands(AXES, commands.options())
    assert torch.equal(draw(again, 5), draw(commands, 5))


def widen(commands: Commands, reach: torch.Tensor, followed: float, times: int = 100) -> None:
    for _ in range(times):
        commands.widened(reach, torch.full((4,), followed), torch.zeros(4, 2), 0.02)


def test_ranges_widen_while_commands_are_followed() -> None:
    """A hundred control steps of 0.02 s are a fifth of the way: from [0, 1] to [-1.5, 1.5] that is [-0.3, 1.1]."""
    commands = Commands(AXES, {"first": {"forward_m_s": [0.0, 1.0]}})
    reach = commands.first_reach(torch.device("cpu"))
    assert reach.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], "an axis without a first range has all of its own"
    widen(commands, reach, 0.7)
    widen(commands, reach, 0.5)
    assert reach[0].tolist() == pytest.approx([0.2, 0.2])
    told, everyone = torch.zeros(20_000, 2), torch.ones(20_000, dtype=torch.bool)
    commands.draw(told, everyone, torch.zeros(20_000), 0.02, torch.Generator().manual_seed(0), reach)
    assert -0.3 <= told[:, 0].min() < -0.29 and 1.09 < told[:, 0].max() <= 1.1
    assert told[:, 1].min() < -0.79, "an axis without a first range has all of its own"
    widen(commands, reach, 0.7, times=1000)
    assert (reach == 1.0).all()
    fixed = Commands(AXES, {"forward_m_s": 1.5, "first": {"forward_m_s": [0.0, 1.0]}})
    fixed.draw(told, everyone, torch.zeros(20_000), 0.02, torch.Generator(), fixed.first_reach(reach.device))
    assert (told[:, 0] == 1.5).all(), "a number is told from the beginning"


def test_an_end_widens_as_those_follow_that_are_told_what_is_near_it() -> None:
    """Of the present range [0, 1], from 0.75 on; robots that do not count have 0, and the others twice as much."""
    commands = Commands(AXES, {"first": {"forward_m_s": [0.0, 1.0]}, "each_end": True})
    reach = commands.first_reach(torch.device("cpu"))
    told = torch.tensor([[0.1, 0.0], [0.8, 0.0], [0.5, 0.0], [0.9, 0.0], [0.0, 0.0], [0.8, 0.0]])
    commands.widened(reach, torch.tensor([0.5, 0.7, 0.1, 0.0, 0.0, 0.0]) * 2.0, told, 2.0)
    assert reach[0].tolist() == pytest.approx([0.0, 0.2]), "0.7 of one that counts is enough, 0.5 is not"
    commands.widened(reach, torch.tensor([0.7, 0.5, 0.7, 0.0, 0.0, 0.0]) * 2.0, told, 2.0)
    assert reach[0].tolist() == pytest.approx([0.2, 0.2]), "the range was [0, 1.1] by then, and 0.8 not at its end"
    commands.widened(reach, torch.zeros(6), told, 2.0)
    assert reach[0].tolist() == pytest.approx([0.2, 0.2]), "where nobody counts, nothing widens"


def test_standing_is_told_more_often_as_the_ranges_widen() -> None:
    """A hundred control steps of 0.02 s of 10 s are a fifth: of a share of 0.5, a tenth of the robots stand."""
    commands = Commands(AXES, {"first": {"forward_m_s": [0.5, 1.0]}, "stand_share": 0.5})
    reach = commands.first_reach(torch.device("cpu"))
    told, everyone = torch.zeros(20_000, 2), torch.ones(20_000, dtype=torch.bool)
    standing = []
    for times in (0, 100, 1000):
        widen(commands, reach, 0.7, times)
        commands.draw(told, everyone, torch.zeros(20_000), 0.02, torch.Generator().manual_seed(0), reach)
        standing.append(float((told == 0).all(dim=1).float().mean()))
    assert standing == [0.0, pytest.approx(0.1, abs=0.01), pytest.approx(0.5, abs=0.02)]


@pytest.mark.parametrize("each_end", [False, True])
def test_standing_is_told_more_often_also_where_no_range_widens(each_end: bool) -> None:
    """The user gives the range that the task would have widened; where he gives `first`, his shares count at once."""
    settings = {"first": {"forward_m_s": [0.5, 1.0]}, "stand_share": 0.5, "each_end": each_end}
    told, everyone = torch.zeros(20_000, 2), torch.ones(20_000, dtype=torch.bool)

    def standing(given: Dict[str, Any], followed: float) -> List[float]:
        commands, shares = Commands(AXES, given, settings), []
        reach = commands.first_reach(torch.device("cpu"))
        for times in (0, 100, 1000):
            widen(commands, reach, followed, times)
            commands.draw(told, everyone, torch.zeros(20_000), 0.02, torch.Generator().manual_seed(0), reach)
            shares.append(float((told == 0).all(dim=1).float().mean()))
            assert told[:, 0].min() < -0.99, "the range is the user's from the beginning"
        assert float(commands.way(reach)) == (1.0 if followed > 0.6 or "first" in given else 0.0)
        return shares

    given = {"forward_m_s": [-1.0, 1.0]}
    assert standing(given, 0.7) == [0.0, pytest.approx(0.1, abs=0.01), pytest.approx(0.5, abs=0.02)]
    assert standing(given, 0.5) == [0.0, 0.0, 0.0]
    assert standing({**given, "first": {}}, 0.0) == [pytest.approx(0.5, abs=0.02)] * 3


def test_a_new_episode_begins_with_the_first_command() -> None:
    env = make(2, command={"sequence": [{"forward_m_s": 1.0}, {"forward_m_s": -1.0}], "resample_s": 0.1,
                           "random_times": False}, episode_length_s=0.3)
    env.reset()
    told = []
    for _ in range(20):
        env.step(torch.zeros(2, 12))
        told.append(float(env.command[0, 0]))
    # Steps 1 to 4 are told the first, 5 to 9 the second, 10 to 14 the first; the episode ends at 15.
    assert told == [1.0] * 4 + [-1.0] * 5 + [1.0] * 5 + [1.0] * 5 + [-1.0]


def test_the_observation_is_the_table() -> None:
    env = make(command={"forward_m_s": 0.7, "left_m_s": -0.3, "yaw_rad_s": 0.5})
    obs = env.reset()["policy"]
    assert env.obs_table == {"joint_pos": 12, "joint_vel": 12, "last_action": 12, "imu_ang_vel_b": 3,
                             "imu_gravity_b": 3, "command": 3, "told_to_stand": 1}
    torch.testing.assert_close(obs[:, 42:], torch.tensor([[0.7, -0.3, 0.5, 0.0]]).expand(4, 4))
    standing = make(2, command={"forward_m_s": 0.0, "left_m_s": 0.1, "yaw_rad_s": 0.0}).reset()["policy"]
    torch.testing.assert_close(standing[:, 42:], torch.tensor([[0.0, 0.1, 0.0, 1.0]]).expand(2, 4))
    assert {"heading", "clock", "robot", "threads", "command"} <= set(task_options(ENV))


def test_a_heading_is_turned_to_the_shorter_way() -> None:
    error = torch.tensor([0.5, -0.5, 3.0, math.pi + 0.1, 2 * math.pi + 0.2])
    torch.testing.assert_close(gait.turn_towards(error, 1.0, 1.2), torch.tensor([0.5, -0.5, 1.2, -1.2, 0.2]))
    env = make(2, heading=True, command={"forward_m_s": 0.0, "left_m_s": 0.0, "heading_rad": 0.4})
    obs = env.reset()["policy"]
    assert list(env.command_columns) == ["forward_m_s", "left_m_s", "heading_rad"] and (env.command[:, 2] == 0.4).all()
    torch.testing.assert_close(obs[:, 44], torch.full((2,), 0.4))
    half = torch.tensor([[math.cos(0.16), 0.0, 0.0, math.sin(0.16)]]).expand(2, 4)  # turned by 0.32 rad
    zero = torch.zeros(2, 3)
    env.sim.reset(torch.tensor([True, True]), torch.tensor([[0.0, 0.0, 0.4]] * 2), half, zero, zero,
                  env.default_joint_pos.expand(2, 12), torch.zeros(2, 12))
    features = env.features()
    torch.testing.assert_close(features.velocity_command, torch.tensor([[0.0, 0.0, 0.08]] * 2), atol=1e-5, rtol=0)
    assert features.standing.all(), "nearly there is there"


def test_a_clock_is_observed_when_it_is_asked_for_and_stops_while_standing() -> None:
    """2 strides a second at 50 Hz are 0.04 of a stride a step; the first robot starts at 0, the next at 0.618."""
    env = make(2, clock=True, command={"forward_m_s": 0.5, "left_m_s": 0.0, "yaw_rad_s": 0.0})
    obs = env.reset()["policy"]
    assert env.obs_table["clock"] == 2 and not torch.equal(obs[0, 46:], obs[1, 46:])
    torch.testing.assert_close(env.phase, torch.tensor([0.0, 0.618034]))
    for _ in range(5):
        obs = env.step(torch.zeros(2, 12)).obs["policy"]
    torch.testing.assert_close(obs[0, 46:], torch.tensor([math.sin(0.4 * math.pi), math.cos(0.4 * math.pi)]))
    env.command.zero_()
    env.step(torch.zeros(2, 12))
    torch.testing.assert_close(env.phase, torch.tensor([0.2, 0.818034]))
    assert "clock" not in make(2).obs_table


def test_a_little_nearer_is_worth_more_however_far_off() -> None:
    error = torch.tensor([0.0, 0.5, 1.5])
    worth = gait.approach(error.square(), 0.25, 0.08)
    torch.testing.assert_close(worth, torch.tensor([1.0, 0.25 + 0.5 * math.exp(-0.25 / 0.08), 0.05 + 0.5 * math.exp(
        -2.25 / 0.08)]))
    nearer = gait.approach((error - 0.1).square(), 0.25, 0.08) - worth
    assert nearer[2] > 0.005, "told to run backward, a robot that stands gains by moving"
    env = make(2, command={"forward_m_s": -1.0, "left_m_s": 0.0, "yaw_rad_s": 0.6})
    env.reset()
    features = env.features()
    features.lin_vel_b, features.ang_vel_b = torch.zeros(2, 3), torch.tensor([[0.0, 0.0, 0.6]]).expand(2, 3)
    torch.testing.assert_close(features.approach, torch.full((2,), 0.1 + 0.5 * math.exp(-1.0 / 0.08)))
    features = env.features()
    features.lin_vel_b, features.ang_vel_b = torch.tensor([[-1.0, 0.0, 0.0]]).expand(2, 3), torch.zeros(2, 3)
    turned = 0.5 / (1 + 0.36 / 0.25) + 0.5 * math.exp(-0.36 / 0.08)
    torch.testing.assert_close(features.approach, torch.full((2,), 0.4 + 0.6 * turned))


def test_a_circle_is_told_from_a_heading_that_swings() -> None:
    """One robot turns by 0.05 rad/s more than told, the other swings by 0.5 rad/s in the rhythm of its steps."""
    env = make_task("IsaacQuadrupedFlat-v0", 2, threads=1, command={"forward_m_s": 1.0, "yaw_rad_s": 0.3})
    env.reset()
    tracking, time_constant_s = [], 2.0
    for i in range(500):
        features = env.features()
        features.lin_vel_b = torch.tensor([[1.0, 0.0, 0.0]]).expand(2, 3)
        features.heading_rate = 0.3 + torch.tensor([0.05, 0.5 * math.sin(math.pi * i / 10)])
        tracking.append(features.tracking)
        env.course_error.copy_(features.course_error)
    circle, swing = env.course_error.tolist()
    assert circle == pytest.approx(0.05 * time_constant_s, rel=1e-2) and abs(swing) < 0.04
    held = torch.stack(tracking[-20:]).mean(dim=0)
    assert held[0] == pytest.approx(0.5 + 0.25 * math.exp(-0.0025 / 0.25) + 0.25 * math.exp(-0.01 / 0.0125), abs=0.01)
    env.restart(torch.tensor([True, False]))
    assert env.course_error[0] == 0.0 and env.course_error[1] == pytest.approx(swing)


def test_who_is_told_to_turn_keeps_no_course() -> None:
    """The course is the flat task's: who turns 1.2 rad less than told, and then as told, follows its command."""
    env = make(1, command={"forward_m_s": 1.0, "left_m_s": 0.2, "yaw_rad_s": 1.2})
    env.reset()
    env.course_error.fill_(1.2)
    features = env.features()
    features.lin_vel_b, features.ang_vel_b = torch.tensor([[1.0, 0.2, 0.1]]), torch.tensor([[0.3, 0.3, 1.2]])
    assert features.tracking.tolist() == [1.0]
    features = env.features()
    features.lin_vel_b, features.ang_vel_b = torch.tensor([[1.0, 0.2, 0.1]]), torch.tensor([[0.3, 0.3, 0.7]])
    assert float(features.tracking) == pytest.approx(0.5 + 0.5 * math.exp(-0.25 / 0.25))


def test_the_yaw_rate_is_that_of_the_heading() -> None:
    """A heading that turns while the body's own yaw rate is 0, as where a leaning robot rolls, is off the command."""
    env = make_task("IsaacQuadrupedFlat-v0", 1, threads=1, command={"forward_m_s": 0.0, "yaw_rad_s": 0.0})
    env.reset()
    features = env.features()
    features.lin_vel_b, features.ang_vel_b = torch.zeros(1, 3), torch.zeros(1, 3)
    features.heading = env.last_heading + 0.5 * env.control_dt
    expected = 0.5 + 0.25 * math.exp(-0.25 / 0.25) + 0.25 * math.exp(-(0.5 * env.control_dt) ** 2 / 0.0125)
    assert float(features.tracking) == pytest.approx(expected, rel=1e-3)


def test_a_step_has_one_or_two_feet_in_the_air_and_pays_while_told_to_move() -> None:
    contact = torch.tensor([[True] * 4, [True] * 3 + [False], [True, False] * 2, [False] * 3 + [True]] * 2)
    moving = torch.tensor([True] * 4 + [False] * 4)
    assert gait.stepping(contact, moving).tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_a_robot_is_still_on_all_its_feet_with_joints_at_rest() -> None:
    contact = torch.tensor([[True] * 4, [True, False, False, True], [True] * 4])
    speed = torch.zeros(3, 5)
    speed[2] = 2.0  # Σ q̇² is 20
    assert gait.still(contact, speed).tolist() == [1.0, 0.5, 0.5]


def test_standing_pays_only_where_it_is_told() -> None:
    """Per episode of 1000 steps, of robots that stand: told to stand, forward, backward, left."""
    rows = [{"forward_m_s": x, "left_m_s": y, "yaw_rad_s": 0.0} for x, y in ((0, 0), (1, 0), (-1, 0), (0, 0.8))]
    env = make(command={"sequence": rows, "random_times": False})
    env.reset()
    total = sum((env.step(torch.zeros(4, 12)).reward.clone() for _ in range(100)), torch.zeros(4))
    assert 10 * total[0] > 600 and (10 * total[1:] < 150).all(), total


def test_feet_slip_on_the_ground_alone() -> None:
    contact = torch.tensor([[True, False]])
    speed = torch.tensor([[[0.3, 0.4, 9.0], [5.0, 0.0, 0.0]]])
    torch.testing.assert_close(gait.slip(contact, speed), torch.tensor([0.25]))


def report_of(steps: List[Dict[str, torch.Tensor]]) -> Dict[str, Any]:
    episodes = Episodes(2, torch.device("cpu"), control_dt=1.0)
    over = torch.zeros(2, dtype=torch.bool)
    usual = {"forward_speed": torch.ones(2), "left_speed": torch.tensor([0.0, 0.5]),
             "heading_rate": torch.tensor([0.2, 0.0]),
             "power_w": torch.ones(2), "trunk_height_m": torch.ones(2), "knee_contact": over, "foot_contact": over,
             "swing_peak_m": torch.zeros(2), "swing_ended": over, "command": torch.zeros(2, 3),
             **{f"{kind}_violations": torch.zeros(2) for kind in ("range", "speed", "torque")}}
    for i, step in enumerate(steps):
        episodes.add(torch.zeros(2), over, over | (i == len(steps) - 1), {**usual, **step})
    return gait_report(episodes, 100.0, ["forward_m_s", "left_m_s", "yaw_rad_s"])


def test_the_report_worked_by_hand() -> None:
    """Four steps of a second; the first robot is told to stand and is watched from 2 s on, the second walks."""
    errors = [[[0.1, 0.0, 0.2], [0.3, 0.1, 0.0]], [[0.1, 0.2, 0.2], [0.3, 0.1, 0.0]]] * 2
    drift, landed = [0.0, 0.0, 0.01, 0.03], [0, 0, 1, 2]
    report = report_of([{"tracking_error": torch.tensor(error), "standing": torch.tensor([True, False]),
                         "foot_slip_m_s": torch.tensor([0.1, 0.3]), "standing_steps": torch.tensor([steps, 0]),
                         "standing_drift_m": torch.tensor([away, 0.0])}
                        for error, away, steps in zip(errors, drift, landed)])
    assert report["tracking_error_forward_m_s"] == pytest.approx(0.2)
    assert report["tracking_error_left_m_s"] == pytest.approx(0.1)
    assert report["tracking_error_yaw_rad_s"] == pytest.approx(0.1)
    assert report["foot_slip_m_s"] == pytest.approx(0.2)
    assert report["left_speed_mean"] == pytest.approx(0.25) and report["yaw_rate_mean"] == pytest.approx(0.1)
    assert "by_command" not in report, "both were told the same"
    assert report["standing_drift_m"] == pytest.approx(0.03) and report["standing_steps_s"] == pytest.approx(1.5)


def test_the_report_of_each_command() -> None:
    told = torch.tensor([[0.5, 0.0, 1.0], [-0.5, 0.0, 0.0]])
    usual = {"standing": torch.zeros(2), "foot_slip_m_s": torch.zeros(2), "standing_steps": torch.zeros(2),
             "standing_drift_m": torch.zeros(2), "command": told}
    report = report_of([{**usual, "tracking_error": torch.tensor([[0.1, 0.0, 0.2], [0.3, error, 0.0]])}
                        for error in (0.1, 0.3)])
    assert report["by_command"] == [[-0.5, 0.0, 0.0, 0.3, 0.2, 0.0, 0.0], [0.5, 0.0, 1.0, 0.1, 0.0, 0.2, 0.0]]
    assert "standing_drift_m" not in report, "none stood"


def test_evaluations_tell_every_command_of_the_grid() -> None:
    assert len({tuple(sorted(row.items())) for row in GRID}) == 45 and not any(GRID[0].values())
    env = make(45, **{k: v for k, v in QuadrupedVelocity.evaluation_options({}).items() if k != "stagger"})
    env.reset()
    told = {tuple(round(value, 3) for value in row) for row in env.command.tolist()}
    assert told == {(row["forward_m_s"], row["left_m_s"], row["yaw_rad_s"]) for row in GRID}
    options = QuadrupedVelocity.evaluation_options({"command": {"zero_share": 0.5}}, [[1, 0, 0], [0, 0, 1]], hold_s=2.0)
    assert options["command"] == {"zero_share": 0.5, "resample_s": 2.0, "random_times": False, "sequence": [
        {"forward_m_s": 1.0, "left_m_s": 0.0, "yaw_rad_s": 0.0},
        {"forward_m_s": 0.0, "left_m_s": 0.0, "yaw_rad_s": 1.0}]}
    steered = QuadrupedVelocity.evaluation_options({"heading": True}, [0.5, 0.0, 1.0])["command"]
    assert steered == {"forward_m_s": 0.5, "left_m_s": 0.0, "heading_rad": 1.0, "resample_s": 1e6}


def test_commands_that_begin_with_a_minus_are_numbers() -> None:
    parser = cli.ArgumentParser()
    cli.add_command(parser, "")
    for given, wanted in ((["--command", "-1,0,0.5"], [-1.0, 0.0, 0.5]), ([], None),
                          (["--command", "-.5,0", "--command", "1,-2"], [[-0.5, 0.0], [1.0, -2.0]])):
        args: argparse.Namespace = parser.parse_args(given)
        assert cli.command_of(args) == wanted


@pytest.mark.parametrize(("options", "words"), [
    ({"command": {"left_m_s": [1.0, 0.0]}}, ("left_m_s", "low <= high")),
    ({"command": {"yaw_rad_s": [-1.0, math.inf]}}, ("yaw_rad_s", "low <= high")),
    ({"command": {"zero_share": 1.5}}, ("zero_share", "from 0 to 1")),
    ({"command": {"stand_share": 0.9}}, ("zero_share 0.2", "more than 1")),
    ({"command": {"edge_share": 0.9}}, ("zero_share 0.2", "edge_share 0.9", "more than 1")),
    ({"command": {"random_times": 3}}, ("random_times", "true or false")),
    ({"command": {"sequence": 3}}, ("sequence", "a list")),
    ({"command": {"sequence": [{"speed": 1.0}]}}, ("'speed'", "forward_m_s")),
    ({"command": {"sequence": [{"yaw_rad_s": "fast"}]}}, ("'fast'", "finite number")),
    ({"command": {"heading_rad": 1.0}}, ("'heading_rad'", "yaw_rad_s")),
    ({"command": {"first": {"yaw_rad_s": [1.0, 0.0]}}}, ("first yaw_rad_s", "low <= high")),
    ({"heading": "north"}, ("heading", "true or false")),
    ({"clok": True}, ("'clok'", "did you mean 'clock'")),
])
def test_mistakes_are_one_sentence(options: Dict[str, Any], words: Tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        make_task(ENV, 1, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_command_of_two_numbers_is_asked_for_the_third() -> None:
    with pytest.raises(UserError, match="of length 2: give 3 numbers, forward_m_s, left_m_s, yaw_rad_s"):
        QuadrupedVelocity.evaluation_options({}, [1.0, 0.0])
