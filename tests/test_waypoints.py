"""Waypoints over a frozen walker: what is told, seen and rewarded, by hand; the contract; walkers that do not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Iterator

import pytest
import torch

pytest.importorskip("mujoco", reason="needs MuJoCo")

from standing_walker import FLAT, VELOCITY, standing_walker

from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.quadruped_waypoint import ARRIVED_M, CLEAR_M, QuadrupedWaypoint
from sb3_isaac.testing import check_tensor_env

ID = "IsaacQuadrupedWaypoint-v0"


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return standing_walker(tmp_path_factory.mktemp("walker") / "policy.pth")


@pytest.fixture
def task(walker: str) -> Iterator[QuadrupedWaypoint]:
    """Four robots that stand at the origin and look along x; the waypoints are put where a test wants them."""
    made = make_task(ID, 4, walker=walker, threads=1, seed=0, stagger=False, obstacles=2)
    made.reset(seed=0)
    assert isinstance(made, QuadrupedWaypoint)
    made.obstacle_radius.fill_(-10.0)
    yield made
    made.close()


def put(task: QuadrupedWaypoint, *points: Any) -> None:
    task.waypoints_w[:, :] = torch.tensor([points[min(i, len(points) - 1)] for i in range(4)])
    task.last_distance.copy_(task.features().distance)
    task.last_angle.copy_(task.features().angle)


def test_it_keeps_the_contract(walker: str) -> None:
    check_tensor_env(QuadrupedWaypoint(4, walker=walker, threads=1, waypoints=2, obstacles=2, decision_s=0.04,
                                       episode_length_s=0.4))


def test_an_action_is_a_command_in_the_walkers_ranges(task: QuadrupedWaypoint) -> None:
    """Flat: 0 to 1.2 m/s and −0.5 to 0.5 rad/s. 10 control steps of 0.02 s are a decision of 0.2 s."""
    task.step(torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, 3.0]]))
    expected = torch.tensor([[0.0, -0.5], [0.6, 0.0], [1.2, 0.5], [0.9, 0.5]])
    assert torch.allclose(task.walking.command, expected, atol=1e-6)
    assert task.control_dt == pytest.approx(0.2) and task.max_steps == 300
    assert task.walking.steps.tolist() == [10] * 4 and task.told[3].tolist() == [0.5, 1.0]


def test_what_is_seen_of_waypoints_is_in_the_robots_frame(task: QuadrupedWaypoint) -> None:
    """From (1, 2), looking along y, the point (1, 5) is 3 m ahead and (0, 2) is 1 m to the left."""
    state, n = task.walking.sim.state, 4
    at, quat = state.root_pos_w.clone(), torch.tensor([[math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]]).expand(n, 4)
    at[:, 0], at[:, 1] = 1.0, 2.0
    zero = torch.zeros(n, 3)
    task.walking.sim.reset(torch.ones(n, dtype=torch.bool), at, quat, zero, zero,
                           state.joint_pos.clone(), torch.zeros_like(state.joint_vel))
    put(task, (1.0, 5.0), (0.0, 2.0))
    f = task.features()
    assert torch.allclose(f.next_b, torch.tensor([[3.0, 0.0]]).expand(n, 2), atol=1e-5)
    assert torch.allclose(f.after_b, torch.tensor([[0.0, 1.0]]).expand(n, 2), atol=1e-5)
    assert torch.allclose(f.distance, torch.full((n,), 3.0), atol=1e-5) and f.left.tolist() == [4.0] * n
    assert torch.allclose(f.bearing, torch.tensor([[1.0, 0.0]]).expand(n, 2), atol=1e-5)
    task.reached.fill_(1.0)  # now to the left
    assert torch.allclose(task.features().angle, torch.full((n,), math.pi / 2), atol=1e-5)


def test_progress_and_arrival_by_hand(task: QuadrupedWaypoint) -> None:
    """A robot that stands: the first waypoint is within reach, the second 2 m away, so after the arrival progress is
    counted from there."""
    start = task.features().robot.trunk_pos_w[0].tolist()
    put(task, (start[0] + 0.2, start[1]), (start[0] + 2.0, start[1]))
    still = torch.tensor([[-1.0, 0.0]]).expand(4, 2)
    step = task.step(still)
    assert step.log["arrived"].all() and task.reached.tolist() == [1.0] * 4 and not step.terminated.any()
    assert step.log["reward/arrival"].tolist() == [1.0] * 4
    assert step.log["reward/time"].tolist() == pytest.approx([-0.02] * 4)
    assert step.log["reward/change"].tolist() == pytest.approx([-0.01] * 4)  # from an action of (0, 0) to (−1, 0)
    assert task.last_distance[0] == pytest.approx(2.0, abs=0.1)
    before, step = task.last_distance.clone(), task.step(still)
    assert torch.allclose(step.log["reward/progress"], before - task.last_distance, atol=1e-6)
    assert float(step.log["reward/progress"].abs().max()) < 0.1 and step.log["reward/change"].tolist() == [0.0] * 4
    assert float(step.obs["policy"][0, 5]) == 3.0  # of four waypoints three are left


def test_the_last_waypoint_ends_the_episode_as_a_success(task: QuadrupedWaypoint) -> None:
    put(task, task.features().robot.trunk_pos_w[0].tolist())
    for reached in range(4):
        step = task.step(torch.zeros(4, 2))
        assert step.terminated.all() == (reached == 3) and step.log["is_success"].all() == (reached == 3)
    assert task.reached.tolist() == [0.0] * 4 and task.steps.tolist() == [0] * 4


def test_an_obstacle_ends_the_episode_where_it_is_too_near(task: QuadrupedWaypoint) -> None:
    """Radius 0.2 m: the trunk's centre has to keep 0.2 + CLEAR_M from its centre."""
    at = task.features().robot.trunk_pos_w
    task.obstacle_radius[:, 0] = 0.2
    task.obstacles_w[:, 0] = at + torch.tensor([[0.2 + CLEAR_M + 0.1, 0.0]])
    task.obstacles_w[0, 0, 0] -= 0.2
    put(task, (5.0, 0.0))
    seen = task.features().obstacles_b
    assert torch.allclose(seen[1, :3], torch.tensor([0.6, 0.0, 0.2]), atol=1e-5)
    step = task.step(torch.tensor([[-1.0, 0.0]]).expand(4, 2))
    assert step.terminated.tolist() == [True, False, False, False]
    assert step.log["reward/collision"].tolist() == [-2.0, 0.0, 0.0, 0.0]
    assert step.log["reward/near"].tolist() == pytest.approx([-0.4, -0.2, -0.2, -0.2], abs=0.05)


def test_ways_are_as_told_and_no_obstacle_is_on_a_waypoint(walker: str) -> None:
    task = QuadrupedWaypoint(64, walker=walker, threads=1, seed=1, obstacles=6)
    task.reset(seed=1)
    points = torch.cat((task.features().robot.trunk_pos_w[:, None], task.waypoints_w), dim=1)
    legs = points.diff(dim=1).norm(dim=2)
    assert 1.5 <= float(legs.min()) < 1.6 and 2.9 < float(legs.max()) <= 3.0
    gaps = (task.obstacles_w[:, :, None] - points[:, None]).norm(dim=3).amin(dim=2) - task.obstacle_radius
    assert float(gaps.min()) > CLEAR_M and float((task.obstacle_radius > 0).float().mean()) > 0.7
    assert ARRIVED_M < 1.5
    task.close()


def test_a_mirror_turns_left_into_right(walker: str) -> None:
    task = QuadrupedWaypoint(2, walker=walker, threads=1, obstacles=3)
    mirrors, f = task.mirror(), task.features()
    assert mirrors.action.sign == (1, -1)  # forward, yaw
    obs = torch.cat([of(f).reshape(2, -1) for of in task.OBSERVATION["policy"].values()], dim=1)
    task.waypoints_w[:, :, 1] *= -1
    task.obstacles_w[:, :, 1] *= -1
    g = task.features()
    image = torch.cat([of(g).reshape(2, -1) for of in task.OBSERVATION["policy"].values()], dim=1)
    where = slice(0, 6)  # distance, bearing, after, left: what waypoints alone decide, as the robot starts at y = 0
    assert torch.allclose(mirrors.observation["policy"].of(obs)[:, where], image[:, where], atol=1e-5)
    task.close()


# ---- walkers


def test_the_walker_that_comes_with_the_package_walks_where_it_is_told() -> None:
    """2 s at 0.75 m/s forward, to the right and turning left: half of the velocity task's ranges."""
    task = QuadrupedWaypoint(4, threads=1, seed=0, stagger=False)
    task.reset(seed=0)
    action = torch.tensor([[0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, -0.5, 0.0], [0.5, 0.0, 0.5]])
    for _ in range(10):
        step = task.step(action)
    velocity = step.final_obs["policy"][:, 6:8]
    assert float(velocity[:2, 0].min()) > 0.5 and float(velocity[2, 1]) < -0.2
    assert float(task.features().robot.heading[3]) > 0.6 and not step.log["falls"].any()
    task.close()


def test_a_walker_of_rough_ground_walks_on_a_plane(tmp_path: Path) -> None:
    made = QuadrupedWaypoint(2, walker=standing_walker(tmp_path / "rough.pth", "IsaacQuadrupedRough-v0"), threads=1)
    assert made.walking.ground is None and made.action_space.shape == (3,)
    made.close()


@pytest.mark.parametrize(("changes", "said"), [
    ({"env": "IsaacDoublePendulum-v0"}, "was trained on IsaacDoublePendulum-v0: give a policy of a walking task"),
    ({"env": "NotMine-v0"}, "was trained on NotMine-v0"),
    ({"obs_table": {"joint_pos": 44}}, "and QuadrupedFlat shows"),
    ({"env": VELOCITY}, "and QuadrupedVelocity shows"),
])
def test_a_walker_that_does_not_fit_is_one_sentence(tmp_path: Path, changes: Any, said: str) -> None:
    path = standing_walker(tmp_path / "policy.pth", FLAT, **changes)
    with pytest.raises(UserError, match=said):
        QuadrupedWaypoint(2, walker=path, threads=1)


@pytest.mark.parametrize(("options", "said"), [
    ({"walker": "nowhere/run"}, "there is no run folder or policy file 'nowhere/run'"),
    ({"walker": 7}, "walker is 7"), ({"walker_options": {"robbot": "go2"}}, "robbot"),
    ({"decision_s": 0}, "decision_s"), ({"waypoints": 0}, "waypoints"), ({"obstacles": -1}, "obstacles"),
])
def test_bad_options_are_one_sentence(walker: str, options: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_task(ID, 2, **{"walker": walker, "threads": 1, **options})


def test_train_resume_eval_and_play(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of four iterations, and one of two that is continued: the same weights to the bit."""
    small = ["--env", ID, "--num-envs", "8", "--seed", "3", "--eval-episodes", "2", "-params", "n_steps:4",
             "--env-kwargs", "threads:1", "waypoints:1", "episode_length_s:1.0", "decision_s:0.1"]
    for folder, steps in (("whole", "128"), ("parts", "64")):
        assert main(["train", *small, "-n", steps, "-f", str(tmp_path / folder)]) == 0
    whole, parts = (tmp_path / folder / "ppo" / f"{ID}_1" for folder in ("whole", "parts"))
    assert main(["train", "-i", str(parts), "-n", "128"]) == 0
    one, two = (torch.load(run / "policy.pth", weights_only=True) for run in (whole, parts))
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    assert torch.equal(one["obs_mean"], two["obs_mean"])
    capsys.readouterr()
    assert main(["eval", str(parts), "--episodes", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"success_fraction", "waypoints_mean", "collisions_fraction"} <= set(report) and report["steps"] == 128
