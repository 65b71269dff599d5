"""Terrain: generators by difficulty, and heights that are those of MuJoCo's collider."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import from_yaw
from sb3_isaac.terrain.generators import GENERATORS, PIT_M, generate
from sb3_isaac.terrain.height_map import HeightMap, scan_points
from sb3_isaac.terrain.heightfield import Heightfield

SHAPE, CELL_M = (60, 80), 0.1


def made(name: str, difficulty: float, seed: int = 0, shape: Any = SHAPE) -> np.ndarray:
    return generate(name, shape, CELL_M, difficulty, np.random.default_rng(seed))


def hardness(name: str, heights: np.ndarray) -> float:
    """What difficulty makes larger: the share of pits, or the range of heights."""
    return float((heights <= -PIT_M).mean() if name in ("gaps", "stepping_stones") else np.ptp(heights))


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_difficulty_makes_it_harder_and_the_same_random_state_the_same_ground(name: str) -> None:
    values = []
    for difficulty in np.linspace(0.0, 1.0, 6):
        heights = made(name, float(difficulty))
        assert heights.shape == SHAPE and np.isfinite(heights).all()
        assert np.array_equal(heights, made(name, float(difficulty)))
        values.append(np.mean([hardness(name, made(name, float(difficulty), seed)) for seed in range(8)]))
    if name == "flat":
        assert values == [0.0] * 6
    else:
        assert (np.diff(values) >= 0).all() and values[-1] > 1.5 * values[0], values
    random = name in ("rough", "discrete_obstacles", "stepping_stones", "wave")
    assert np.array_equal(made(name, 0.5, 1), made(name, 0.5, 2)) is not random


@pytest.mark.parametrize("name", sorted(set(GENERATORS) - {"rough", "wave"}))
@pytest.mark.parametrize("shape", [(60, 80), (8, 8), (40, 9)])
def test_robots_start_on_level_ground_in_the_middle(name: str, shape: Any) -> None:
    heights = made(name, 1.0, shape=shape)
    x, y = (n // 2 for n in shape)
    assert (heights[x - 1:x + 1, y - 1:y + 1] == 0.0).all()


def test_heights_worked_by_hand() -> None:
    slope = made("slope_down", 1.0, shape=(80, 80))
    assert slope[20, 40] - slope[10, 40] == pytest.approx(0.4 * 10 * CELL_M)
    assert np.array_equal(made("slope_up", 1.0, shape=(80, 80)), -slope)
    down, up = made("stairs_down", 0.5, shape=(80, 80)), made("stairs_up", 0.5, shape=(80, 80))
    assert np.array_equal(up, -down)
    # Steps of 3 cells and 0.11 m; the middle is 10 steps above the border: rings while 80 − 2 · 3 k > 20.
    assert down[40, 2] == pytest.approx(-10 * 0.11) and down[40, 3] == pytest.approx(-9 * 0.11) and down[40, 40] == 0.0
    gaps = made("gaps", 1.0, shape=(80, 80))
    assert [gaps[x, 40] for x in (49, 50, 57, 58)] == [0.0, -PIT_M, -PIT_M, 0.0]
    assert set(np.unique(made("discrete_obstacles", 0.0))) <= {-0.02, -0.01, 0.0, 0.01, 0.02}
    assert np.abs(made("wave", 1.0)).max() <= 0.2 and np.abs(made("rough", 1.0)).max() <= 0.1
    stones = made("stepping_stones", 1.0)
    assert ((stones == -PIT_M) | (np.abs(stones) <= 0.05)).all()


def test_impossible_patches_are_sentences() -> None:
    for args, said in ((("stears_up", SHAPE, 0.1, 0.5), "did you mean 'stairs_up'"),
                       (("rough", (7, 80), 0.1, 0.5), "at least 8 each"), (("rough", SHAPE, 0.0, 0.5), "cell_m is 0.0"),
                       (("rough", SHAPE, 0.1, 1.5), "difficulty is 1.5"),
                       (("rough", SHAPE, 0.1, float("nan")), "difficulty is nan")):
        with pytest.raises(UserError, match=said):
            generate(*args, np.random.default_rng(0))
    for heights, spacing in ((np.zeros((1, 5)), (0.1, 0.1)), (np.full((5, 5), np.nan), (0.1, 0.1)),
                             (np.zeros((5, 5)), (0.0, 0.1))):
        with pytest.raises(UserError, match="a heightfield has"):
            Heightfield(heights, spacing)


def steps_and_noise() -> Heightfield:
    heights = np.random.default_rng(0).uniform(-0.2, 0.3, (9, 14))
    heights[4:7, 3:9] = 1.0
    return Heightfield(heights, (0.25, 0.1), (-1.5, 2.0, 0.4))


def points_within(field: Heightfield, count: int = 2000) -> np.ndarray:
    size = [(n - 1) * step for n, step in zip(field.heights.shape, field.spacing)]
    inside = np.random.default_rng(1).uniform(0.001, 0.999, (count, 2)) * size
    return inside + np.array(field.position[:2])


@pytest.mark.parametrize("lowered_m", [0.0, 0.017])
def test_exact_heights_are_those_that_mujocos_rays_hit(lowered_m: float) -> None:
    mujoco = pytest.importorskip("mujoco")
    field = steps_and_noise()
    spec = mujoco.MjSpec()
    geom = field.add_to(spec, "ground", margin_m=0.02, lowered_m=lowered_m)
    assert geom.margin == 0.02
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    points = points_within(field)
    hits = np.zeros(len(points))
    for i, (x, y) in enumerate(points):
        geomid = np.zeros(1, dtype=np.int32)
        distance = mujoco.mj_ray(model, data, np.array([x, y, 5.0]), np.array([0.0, 0.0, -1.0]), None, 1, -1, geomid)
        assert geomid[0] == 0
        hits[i] = 5.0 - distance
    x, y = torch.from_numpy(points).float().unbind(dim=1)
    exact = HeightMap(field).exact_height_at(x, y) - lowered_m
    np.testing.assert_allclose(exact.numpy(), hits, atol=2e-5)
    bilinear = HeightMap(field).height_at(x, y) - lowered_m
    assert float(np.abs(bilinear.numpy() - hits).max()) < 0.35, "off within cells that are no plane, never far"


def test_a_body_comes_to_rest_on_the_height_below_it() -> None:
    mujoco = pytest.importorskip("mujoco")
    heights = np.zeros((21, 31))
    heights[10:, :] = 0.3
    field = Heightfield(heights, (0.1, 0.1), (1.0, -2.0, 0.2))
    spec = mujoco.MjSpec()
    field.add_to(spec, "ground")
    for i, x in enumerate((1.4, 2.5)):
        body = spec.worldbody.add_body(pos=[x, -1.0, 1.0])
        body.add_freejoint(name=str(i))
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.1, 0, 0], condim=3)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 1000)
    z = torch.from_numpy(data.xpos[1:, 2]).float()
    expected = HeightMap(field).height_at(torch.tensor([1.4, 2.5]), torch.tensor([-1.0, -1.0])) + 0.1
    assert expected.tolist() == pytest.approx([0.3, 0.6])
    torch.testing.assert_close(z, expected, atol=2e-3, rtol=0.0)


def test_heights_at_samples_on_planes_and_beyond_the_border() -> None:
    x, y = np.meshgrid(np.arange(5) * 0.5, np.arange(7) * 0.2, indexing="ij")
    field = Heightfield(0.3 * x - 0.7 * y, (0.5, 0.2), (10.0, -3.0, 1.0))
    ground = HeightMap(field)
    points = torch.from_numpy(points_within(field)).float()
    plane = 1.0 + 0.3 * (points[:, 0] - 10.0) - 0.7 * (points[:, 1] + 3.0)
    for height_at in (ground.height_at, ground.exact_height_at):
        torch.testing.assert_close(height_at(points[:, 0], points[:, 1]), plane, atol=2e-5, rtol=0.0)
        corners = height_at(torch.tensor([10.0, 12.0, 0.0, 99.0]), torch.tensor([-3.0, -1.8, -99.0, 99.0]))
        assert corners.tolist() == pytest.approx([1.0, 1.0 + 0.6 - 0.84, 1.0, 0.76], abs=1e-5)
        grid = height_at(points[:60, 0].view(3, 4, 5), points[:60, 1].view(3, 4, 5))
        torch.testing.assert_close(grid, plane[:60].view(3, 4, 5), atol=2e-5, rtol=0.0)


def test_a_scan_moves_and_turns_with_the_robot() -> None:
    """On a ground that rises by 1 along x and 10 along y, heights are coordinates."""
    x, y = np.meshgrid(np.arange(21.0), np.arange(21.0), indexing="ij")
    ground = HeightMap(Heightfield(x + 10.0 * y, (1.0, 1.0), (-10.0, -10.0, -110.0)))
    points = scan_points((0.0, 2.0), (-1.0, 0.0, 1.0))
    assert points.tolist() == [[0, -1], [0, 0], [0, 1], [2, -1], [2, 0], [2, 1]]
    pos = torch.tensor([[0.0, 0.0, 5.0], [3.0, -2.0, 0.5]])
    quat = from_yaw(torch.tensor([0.0, 0.5 * math.pi]))
    heights = ground.scan(pos, quat, points)
    assert heights[0].tolist() == pytest.approx([-10, 0, 10, -8, 2, 12], abs=1e-4)
    # Ahead is +y, left is −x.
    assert heights[1].tolist() == pytest.approx([v - 17 for v in (1, 0, -1, 21, 20, 19)], abs=1e-4)
    pitch = torch.tensor([[math.cos(0.3), 0.0, math.sin(0.3), 0.0]])
    torch.testing.assert_close(ground.scan(pos[:1], pitch, points), heights[:1], atol=1e-4, rtol=0.0)
