"""isaacgym.terrain_utils: heights counted by hand, and meshes that lie on their height fields."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import pytest

from sb3_isaac import UserError
from sb3_isaac.gymcompat.api import terrain_utils as tu


def patch(width: int = 80, length: int = 80) -> tu.SubTerrain:
    """8 m × 8 m, heights in units of 5 mm: the size that legged_gym uses."""
    return tu.SubTerrain("terrain", width=width, length=length, vertical_scale=0.005, horizontal_scale=0.1)


def test_a_patch_begins_flat() -> None:
    terrain = patch(20, 30)
    assert terrain.height_field_raw.shape == (20, 30) and terrain.height_field_raw.dtype == np.int16
    assert not terrain.height_field_raw.any()


def test_a_slope_rises_along_x_alone() -> None:
    field = tu.sloped_terrain(patch(), slope=0.5).height_field_raw
    assert (np.ptp(field, axis=1) == 0).all()
    assert field[40, 0] * 0.005 == pytest.approx(0.5 * 4.0, abs=0.005)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_pyramid_has_its_slope_along_the_middle_and_a_flat_top(sign: int) -> None:
    field = sign * tu.pyramid_sloped_terrain(patch(), slope=0.3 * sign, platform_size=2.0).height_field_raw
    assert (field[20, 40] - field[10, 40]) * 0.005 == pytest.approx(0.3 * 1.0, abs=0.011)
    assert np.ptp(field[30:50, 30:50]) == 0 and field.max() == field[40, 40] and field.min() >= 0
    assert (field == field.T).all()


def test_pyramid_stairs_step_by_step() -> None:
    field = tu.pyramid_stairs_terrain(patch(), step_width=0.3, step_height=0.1, platform_size=3.0).height_field_raw
    # Three samples a step, 20 units each: a sample at depth d from the border is on step d // 3.
    assert field[2, 40] == 0 and field[3, 40] == 20 and field[5, 40] == 20 and field[6, 40] == 40
    assert field[40, 3] == 20 and field[3, 3] == 20 and field[2, 2] == 0
    # The last ring is cut while more than 30 samples remain inside: after ring 8, 80 − 48 = 32; after ring 9, 26.
    assert field.max() == field[40, 40] == 9 * 20
    down = tu.pyramid_stairs_terrain(patch(), step_width=0.3, step_height=-0.1, platform_size=3.0).height_field_raw
    assert (down == -field).all()


def test_stairs_rise_along_x() -> None:
    field = tu.stairs_terrain(patch(), step_width=1.0, step_height=0.1).height_field_raw
    assert field[:, 0].tolist() == [20 * (1 + i // 10) for i in range(80)]


def test_random_heights_are_drawn_on_the_coarse_grid() -> None:
    np.random.seed(0)
    field = tu.random_uniform_terrain(patch(), -0.05, 0.05, step=0.005, downsampled_scale=0.2).height_field_raw
    assert field.min() >= -10 and field.max() <= 10 and len(np.unique(field)) == 21
    fine = tu.random_uniform_terrain(patch(), -0.05, 0.05, step=0.025).height_field_raw
    assert set(np.unique(fine)) == {-10, -5, 0, 5, 10}
    # Interpolated heights differ less from sample to sample than drawn ones.
    assert np.abs(np.diff(field, axis=0)).mean() < 0.7 * np.abs(np.diff(fine, axis=0)).mean()
    before = fine.copy()
    again = patch()
    again.height_field_raw[...] = before
    assert (tu.random_uniform_terrain(again, 0.1, 0.1, step=0.005).height_field_raw == before + 20).all()


def test_obstacles_have_one_of_four_heights_and_leave_the_platform() -> None:
    np.random.seed(0)
    field = tu.discrete_obstacles_terrain(patch(), 0.2, 1.0, 2.0, 40, platform_size=3.0).height_field_raw
    assert set(np.unique(field)) == {-40, -20, 0, 20, 40}
    assert not field[25:55, 25:55].any()


def test_stones_stand_over_a_deep_ground() -> None:
    np.random.seed(0)
    field = tu.stepping_stones_terrain(patch(), stone_size=1.0, stone_distance=0.2, max_height=0.0,
                                       platform_size=2.0).height_field_raw
    assert set(np.unique(field)) == {-2000, -1, 0}
    assert not field[30:50, 30:50].any()
    outside = np.concatenate((field[:, :30].ravel(), field[:, 50:].ravel()))
    # Of 12 samples along each axis, 10 are stone: 0.69 of the ground. The first stone of a row may be cut short.
    assert (outside > -2000).mean() == pytest.approx((10 / 12) ** 2, abs=0.06)


def test_waves_repeat() -> None:
    field = tu.wave_terrain(patch(), num_waves=4, amplitude=0.5).height_field_raw.astype(int)
    assert np.abs(field[20:] - field[:-20]).max() <= 1
    assert np.abs(field).max() * 0.005 <= 0.5 and field.max() * 0.005 > 0.45


def test_a_mesh_lies_on_its_height_field_and_faces_up() -> None:
    field = tu.pyramid_sloped_terrain(patch(12, 9), slope=0.4).height_field_raw
    vertices, triangles = tu.convert_heightfield_to_trimesh(field, 0.1, 0.005)
    assert vertices.dtype == np.float32 and vertices.shape == (12 * 9, 3)
    assert triangles.dtype == np.uint32 and triangles.shape == (2 * 11 * 8, 3)
    np.testing.assert_allclose(vertices.reshape(12, 9, 3)[5, 7], [0.5, 0.7, field[5, 7] * 0.005], atol=1e-6)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    assert (normals[:, 2] > 0).all()
    assert normals[:, 2].sum() / 2 == pytest.approx(1.1 * 0.8, rel=1e-5)  # the ground's area, once


def test_steep_cells_become_walls() -> None:
    """A plateau 1 m high: its foot moves under its edge, one sample in, corners along both axes."""
    field = np.zeros((7, 7), dtype=np.int16)
    field[2:5, 2:5] = 200
    vertices, _ = tu.convert_heightfield_to_trimesh(field, 0.1, 0.005, slope_threshold=0.75)
    grid = vertices.reshape(7, 7, 3)
    np.testing.assert_allclose(grid[1, 3], [0.2, 0.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(grid[5, 3], [0.4, 0.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(grid[1, 1], [0.2, 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(grid[5, 1], [0.4, 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(grid[2, 2], [0.2, 0.2, 1.0], atol=1e-6)
    np.testing.assert_allclose(grid[0, 0], [0.0, 0.0, 0.0], atol=1e-6)
    gentle, _ = tu.convert_heightfield_to_trimesh(field, 0.1, 0.005, slope_threshold=20.0)
    assert (gentle == tu.convert_heightfield_to_trimesh(field, 0.1, 0.005)[0]).all()


@pytest.mark.parametrize(("generator", "kwargs"), [
    (tu.random_uniform_terrain, {"min_height": 0.1, "max_height": -0.1, "step": 0.01}),
    (tu.random_uniform_terrain, {"min_height": -0.1, "max_height": 0.1, "step": 0.001}),
    (tu.random_uniform_terrain, {"min_height": -0.1, "max_height": 0.1, "step": 0.01, "downsampled_scale": 0.01}),
    (tu.discrete_obstacles_terrain, {"max_height": 0.1, "min_size": 1.0, "max_size": 1.0, "num_rects": 3}),
    (tu.discrete_obstacles_terrain, {"max_height": 0.1, "min_size": 1.0, "max_size": 20.0, "num_rects": 3}),
    (tu.wave_terrain, {"num_waves": 0}),
    (tu.stairs_terrain, {"step_width": 0.01, "step_height": 0.1}),
    (tu.pyramid_stairs_terrain, {"step_width": 0.01, "step_height": 0.1}),
    (tu.stepping_stones_terrain, {"stone_size": 0.01, "stone_distance": 0.1, "max_height": 0.1}),
])
def test_impossible_terrain_is_a_sentence(generator: Any, kwargs: Dict[str, float]) -> None:
    with pytest.raises(UserError, match="give"):
        generator(patch(), **kwargs)


def test_scales_above_zero() -> None:
    with pytest.raises(UserError, match="above 0"):
        tu.SubTerrain(vertical_scale=0.0)
