"""Robots on terrain: the grid of tiles, heights above the ground, levels that go up and down, the height scan."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, Tuple

import numpy as np
import pytest
import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import from_yaw
from sb3_isaac.envs.statistics import RolloutStatistics
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts.ground import Ground
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity
from sb3_isaac.terrain.grid import TILES, TerrainGrid
from sb3_isaac.terrain.height_map import HeightMap

SMALL = {"tiles": {"stairs_down": 1, "slope_up": 1, "flat": 1}, "levels": 3, "tile_m": 4.0, "start_level": 1}
STILL = {"forward_m_s": 0.0, "left_m_s": 0.0, "yaw_rad_s": 0.0}


def make(num_envs: int = 6, **options: Any) -> QuadrupedVelocity:
    env = make_task("IsaacQuadrupedVelocity-v0", num_envs, **{"seed": 0, "threads": 1, "stagger": False,
                                                              "terrain": SMALL, **options})
    assert isinstance(env, QuadrupedVelocity)
    return env


@pytest.fixture(scope="module")
def env() -> Iterator[QuadrupedVelocity]:
    made = make(command=STILL)
    yield made
    made.close()


def put(env: QuadrupedVelocity, offset_m: Any, yaw: float = 0.0) -> None:
    """All robots so far from their origins, standing."""
    zero = torch.zeros(env.num_envs, 3)
    where = env.origin_w + torch.tensor([*offset_m, env.robot.base_height_m])
    env.sim.reset(torch.ones(env.num_envs, dtype=torch.bool), where, from_yaw(torch.full((env.num_envs,), yaw)), zero,
                  zero, env.default_joint_pos.expand(env.num_envs, 12), torch.zeros(env.num_envs, 12))


# ---- the grid

def test_a_grid_worked_by_hand() -> None:
    """Levels along x, columns along y; tiles of 4 m are 40 cells, the grid's middle is at 0."""
    grid = TerrainGrid({"stairs_down": 1, "slope_up": 2}, levels=2, difficulty=(0.0, 1.0), tile_m=4.0)
    assert grid.columns == ("stairs_down", "slope_up", "slope_up") and grid.difficulties.tolist() == [0.0, 1.0]
    assert grid.ground.heights.shape == (2 * 40 + 1 + 20, 3 * 40 + 1 + 20)
    x, y, z = np.moveaxis(grid.origins, -1, 0)
    assert x[:, 0].tolist() == pytest.approx([-2.0, 2.0]) and y[0].tolist() == pytest.approx([-4.0, 0.0, 4.0])
    # 13 cells of platform; rings of 3 cells while 41 − 6 k > 13 are 5 levels, of 0.02 m and of 0.2 m.
    assert z[:, 0].tolist() == pytest.approx([0.1, 1.0])
    # 20 cells to the middle, less half a platform of 6, of 0.4 m a metre: 0 on level 0 and 0.4 · 1.4 m on level 1, but
    # for the corner of the platform, where the pyramid is (1 − 6 / 20)² high.
    assert z[:, 1].tolist() == pytest.approx([0.0, -0.4 * 2.0 * 0.49])
    height = HeightMap(grid.ground).exact_height_at
    torch.testing.assert_close(height(torch.tensor(x).float(), torch.tensor(y).float()), torch.tensor(z).float())
    edges = torch.tensor([-4.0, 0.0, 4.0])
    assert height(edges, torch.full((3,), -3.3)).tolist() == pytest.approx([0.0] * 3), "tiles meet at 0"
    assert float(height(torch.tensor(-4.3), torch.tensor(-7.0))) == 0.0, "and so is the ground around them"


def test_origins_are_on_top_of_what_is_around_them() -> None:
    grid = TerrainGrid({"wave": 3, "rough": 3}, levels=2)
    footprint, ground = torch.linspace(-0.4, 0.4, 9), HeightMap(grid.ground)
    for x, y, z in grid.origins.reshape(-1, 3).tolist():
        around = ground.height_at(*torch.meshgrid(x + footprint, y + footprint, indexing="ij"))
        assert float(around.max()) == pytest.approx(z, abs=1e-3)


def test_one_seed_draws_the_same_ground_and_each_tile_its_own() -> None:
    first, again, other = (TerrainGrid({"rough": 2}, levels=2, tile_m=4.0, seed=seed).ground.heights
                           for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first[10:50, 10:50], first[10:50, 50:90])
    assert set(TILES) == set(TerrainGrid().columns)


@pytest.mark.parametrize(("terrain", "words"), [
    ({"tiles": {"stears_up": 1}}, ("unknown terrain 'stears_up'", "did you mean 'stairs_up'")),
    ({"tiles": {"flat": 0}}, ("no column",)), ({"tiles": {"flat": 1.5}}, ("terrain flat", "whole number")),
    ({"tiles": 3}, ("terrain tiles is 3", "a mapping")), ({"levels": 0}, ("terrain levels is 0",)),
    ({"difficulty": [0.5, 0.2]}, ("difficulty is [0.5, 0.2]", "low <= high")), ({"difficulty": 1}, ("[low, high]",)),
    ({"tile_m": 0.5}, ("tile_m 0.5 is 5 cells", "even number")), ({"cell_m": 0.0}, ("cell_m is 0.0",)),
    ({"tile_m": 0.8}, ("tile_m is 0.8", "feet", "at least")),
    ({"tile_m": 400.0}, ("more than 20,000,000 samples",)), ({"seed": -1}, ("terrain seed is -1",)),
    ({"level": 10}, ("terrain level is 10", "at most 9")),
    ({"start_level": -1}, ("start_level is -1",)), ({"start_level": 10}, ("start_level is 10", "at most 9")),
    ({"curriculum": 1}, ("terrain curriculum is 1", "true or false")),
    ({"levls": 3}, ("unknown terrain option 'levls'", "did you mean 'levels'")), (3, ("terrain is 3", "a mapping")),
    ("stairs_up", ("terrain is 'stairs_up'",)),
])
def test_mistakes_are_one_sentence(terrain: Any, words: Tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        make_task("IsaacQuadrupedVelocity-v0", 1, threads=1, terrain=terrain)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_what_has_no_terrain_says_so(env: QuadrupedVelocity) -> None:
    with pytest.raises(UserError, match="terrain is not available on sim='isaacgym'"):
        make_task("IsaacQuadrupedFlat-v0", 1, sim="isaacgym", terrain={})
    with pytest.raises(UserError, match="brings its own terrain"):
        make_task("IsaacQuadrupedFlat-v0", 6, sim=env.sim, terrain=SMALL)
    with pytest.raises(UserError, match="there is no terrain"):
        make_task("IsaacQuadrupedFlat-v0", 1, threads=1, observation={"policy": {"scan": lambda f: f.height_scan}})


# ---- robots on it

def test_heights_are_those_above_the_ground(env: QuadrupedVelocity) -> None:
    """Robots that stand on tiles of other heights stand alike, as on a plane."""
    env.reset(0)
    assert env.level.tolist() == [0, 0, 0, 1, 1, 1]
    torch.testing.assert_close(env.sim.state.root_pos_w[:, :2], env.origin_w[:, :2])
    plane = make_task("IsaacQuadrupedVelocity-v0", 1, threads=1, seed=0)
    torch.testing.assert_close(plane.stance_height, env.stance_height, atol=1e-5, rtol=0)  # type: ignore[attr-defined]
    put(env, (0.0, 0.0))
    for _ in range(50):
        env.step(torch.zeros(6, 12))
    features = env.features()
    assert float(env.sim.state.root_pos_w[:, 2].max() - env.sim.state.root_pos_w[:, 2].min()) > 0.5
    assert float(features.trunk_height.max() - features.trunk_height.min()) < 0.005
    assert float(features.foot_clearance.abs().max()) < 0.004 and features.foot_contact.all()


def test_the_scan_is_what_rays_hit_around_the_robot(env: QuadrupedVelocity) -> None:
    """On planes; 1.2 m beside the middle of the slope its side falls along one axis alone."""
    mujoco = pytest.importorskip("mujoco")
    env.reset(0)
    put(env, (1.2, 0.0), yaw=0.7)
    scan = env.features().height_scan
    assert scan.shape == (6, 17 * 11)
    for robot in (1, 2, 4):
        data = env.sim.engine.mj_data(robot)  # type: ignore[attr-defined]
        root = data.qpos[:3].copy()
        data.qpos[2] += 50.0  # out of the rays' way
        model = env.sim.model  # type: ignore[attr-defined]
        mujoco.mj_forward(model, data)
        for i in range(0, 187, 3):
            ahead, left = 0.1 * (i // 11 - 8), 0.1 * (i % 11 - 5)
            x = root[0] + math.cos(0.7) * ahead - math.sin(0.7) * left
            y = root[1] + math.sin(0.7) * ahead + math.cos(0.7) * left
            hit = 9.0 - mujoco.mj_ray(model, data, np.array([x, y, 9.0]), np.array([0.0, 0.0, -1.0]), None, 1, -1,
                                      np.zeros(1, dtype=np.int32))
            wanted = hit + 0.017 - (root[2] - env.robot.base_height_m)
            assert float(scan[robot, i]) == pytest.approx(wanted, abs=0.012 if robot != 2 else 1e-4)
    assert torch.equal(scan[2], scan[5]) and float(scan[4].std()) > 0.05, "flat at any level, and a slope"


def test_an_episode_ends_as_by_time_beyond_the_edge_and_the_robot_goes_up(env: QuadrupedVelocity) -> None:
    env.reset(0)
    put(env, (1.9, -1.9))
    inside = env.step(torch.zeros(6, 12))
    assert not (inside.truncated | inside.terminated | inside.log["is_success"]).any()
    put(env, (0.0, -2.05))
    step = env.step(torch.zeros(6, 12))
    assert step.truncated.all() and not step.terminated.any() and step.log["is_success"].all()
    assert env.level.tolist() == [1, 1, 1, 2, 2, 2] and step.log["curriculum/level"].tolist() == [0, 0, 0, 1, 1, 1]
    torch.testing.assert_close(env.origin_w, env.ground.origin(env.level))  # type: ignore[union-attr]
    torch.testing.assert_close(env.sim.state.root_pos_w[:, :2], env.origin_w[:, :2])
    put(env, (2.05, 0.0))
    env.step(torch.zeros(6, 12))
    assert env.level[:3].tolist() == [2, 2, 2] and (env.level[3:] < 3).all(), "who has left the last level is drawn one"
    env.reset()
    assert env.level.tolist() == [0, 0, 0, 1, 1, 1], "a reset begins anew"


def test_levels_worked_by_hand(env: QuadrupedVelocity) -> None:
    """Left the tile; fell; told 3 m and got 1; told 3 m and got 2; told half a metre and stayed; still running."""
    env.reset(0)
    features = env.features()
    features.told_w = torch.tensor([[3.0, 0.0]] * 4 + [[0.5, 0.0]] * 2)
    features.walked_w = torch.tensor([[2.1, 0.0], [1.9, 0.0], [0.6, 0.8], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    over = torch.tensor([True] * 5 + [False])
    fell = torch.tensor([False, True, False, False, False, False])
    ground, level = env.ground, torch.ones(6, dtype=torch.long)
    assert ground is not None
    assert ground.next_level(features, level, over, fell, None).tolist() == [2, 0, 0, 1, 1, 1]
    assert ground.next_level(features, 0 * level, over, fell, None).tolist() == [1, 0, 0, 0, 0, 0]
    fixed = Ground({**SMALL, "level": 2})
    fixed.settle(6, env.device)
    assert fixed.first_level().tolist() == [2] * 6
    assert fixed.next_level(features, level, over, fell, None).tolist() == [1] * 6
    spread = Ground({**SMALL, "curriculum": False})
    spread.settle(12, env.device)
    assert spread.first_level().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0]


def test_what_it_was_told_is_counted_in_the_direction_it_looks() -> None:
    env = make(3, command={"forward_m_s": 0.5, "left_m_s": -0.2, "yaw_rad_s": 0.0})
    env.reset(0)
    put(env, (0.0, 0.0), yaw=0.5 * math.pi)
    env.step(torch.zeros(3, 12))
    # Ahead is +y, left is −x.
    torch.testing.assert_close(env.told_w, torch.tensor([[0.004, 0.01]]).expand(3, 2), atol=5e-4, rtol=0)
    env.restart(torch.tensor([True, False, False]))
    assert not env.told_w[0].any() and env.told_w[1].any()


def test_levels_go_on_from_a_checkpoint() -> None:
    first, second = make(), make()
    first.reset(0)
    put(first, (2.05, 0.0))
    first.step(torch.zeros(6, 12))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.level, second.level) and torch.equal(first.origin_w, second.origin_w)
    for _ in range(3):
        one, other = (env.step(torch.full((6, 12), 0.1)) for env in (first, second))
        assert torch.equal(one.obs["policy"], other.obs["policy"])
        assert all(torch.equal(one.log[name], other.log[name]) for name in one.log)


def test_the_log_has_the_mean_level_of_each_kind() -> None:
    env = make(5, command=STILL)  # stairs at levels 0 and 1, the slope at 0 and 1, flat at 0
    env.reset(0)
    statistics = RolloutStatistics(5, env.device, env.logged)
    statistics.add(env.step(torch.zeros(5, 12)), torch.zeros(5, 12))
    values = statistics.read()
    assert values["curriculum/level"] == pytest.approx(0.4)
    assert {name: value for name, value in values.items() if name.startswith("curriculum/level_")} == pytest.approx({
        "curriculum/level_stairs_down": 0.5, "curriculum/level_slope_up": 0.5, "curriculum/level_flat": 0.0})


def test_the_report_by_terrain_and_level(env: QuadrupedVelocity) -> None:
    """Six episodes on three kinds × two levels: on stairs one of two, on slopes both, on the flat none."""
    options = QuadrupedVelocity.evaluation_options({"terrain": SMALL})
    assert options["terrain"] == {**SMALL, "curriculum": False}
    assert "terrain" not in QuadrupedVelocity.evaluation_options({})
    episodes, over = Episodes(6, torch.device("cpu")), torch.ones(6, dtype=torch.bool)
    log: Dict[str, torch.Tensor] = {"curriculum/level": torch.tensor([0.0, 0, 0, 1, 1, 1]),
                                    "terrain_kind": torch.tensor([0, 1, 2] * 2), "is_success": torch.zeros(6)}
    episodes.add(torch.zeros(6), ~over, ~over, log)
    episodes.add(torch.zeros(6), ~over, over, {**log, "is_success": torch.tensor([1.0, 1, 0, 0, 1, 0])})
    assert env.ground is not None
    assert env.ground.report(episodes) == {
        "success_fraction": 0.5, "success_stairs_down": 0.5, "success_slope_up": 1.0, "success_flat": 0.0,
        "success_level_0": pytest.approx(2 / 3), "success_level_1": pytest.approx(1 / 3),
        "success_by_level": [[0, 0.0, 1.0, 1.0, 0.0], [1, 0.5, 0.0, 1.0, 0.0]]}
