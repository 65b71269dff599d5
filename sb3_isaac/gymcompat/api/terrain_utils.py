"""``isaacgym.terrain_utils``: patches of terrain as height fields, and a height field as a mesh.

Heights are whole multiples of ``vertical_scale`` in an int16 grid whose samples are ``horizontal_scale`` apart; the
first axis is x, the second y. The formulas are those of :mod:`sb3_isaac.terrain.shapes`. Randomness is numpy's global
one, which client programs seed.
"""

from __future__ import annotations

import math
from typing import Optional, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.terrain import shapes


class SubTerrain:
    """A patch of terrain.

    ================= =============== ===========================================
    member            type            what
    ================= =============== ===========================================
    width, length     int             samples along x and along y
    vertical_scale    float           m, one unit of height
    horizontal_scale  float           m, between samples
    height_field_raw  (width, length) int16, in units of ``vertical_scale``
    ================= =============== ===========================================
    """

    def __init__(self, terrain_name: str = "terrain", width: int = 256, length: int = 256,
                 vertical_scale: float = 1.0, horizontal_scale: float = 1.0) -> None:
        if not (vertical_scale > 0 and horizontal_scale > 0):
            raise UserError(f"SubTerrain has vertical_scale {vertical_scale} and horizontal_scale {horizontal_scale}: "
                            "give metres above 0.")
        self.terrain_name, self.width, self.length = terrain_name, int(width), int(length)
        self.vertical_scale, self.horizontal_scale = vertical_scale, horizontal_scale
        self.height_field_raw = np.zeros((self.width, self.length), dtype=np.int16)

    @property
    def shape(self) -> Tuple[int, int]:
        """Samples along x and y."""
        return self.width, self.length

    def _samples(self, metres: float) -> int:
        return _whole(metres / self.horizontal_scale)

    def _units(self, metres: float) -> int:
        return _whole(metres / self.vertical_scale)

    def _centre(self, metres: float) -> Tuple[slice, slice]:
        """The samples of a square of this side in the middle."""
        return shapes.centre(self.shape, self._samples(metres / 2))


def _whole(quotient: float) -> int:
    """Rounded towards 0, but 0.3 / 0.1 is 3."""
    return int(quotient + math.copysign(1e-6, quotient))


def random_uniform_terrain(terrain: SubTerrain, min_height: float, max_height: float, step: float = 1,
                           downsampled_scale: Optional[float] = None) -> SubTerrain:
    """Add heights drawn from ``min_height, min_height + step, ..., max_height`` m.

    They are drawn every `downsampled_scale` m (by default for every sample) and interpolated in between.
    """
    spacing = terrain.horizontal_scale if downsampled_scale is None else downsampled_scale
    low, high, by = (terrain._units(value) for value in (min_height, max_height, step))
    if by < 1 or high < low or spacing < terrain.horizontal_scale:
        raise UserError(f"random_uniform_terrain has min_height {min_height}, max_height {max_height}, step {step} and "
                        f"downsampled_scale {downsampled_scale}: give a rising range, a step of at least the vertical "
                        f"scale {terrain.vertical_scale}, and at least the horizontal scale "
                        f"{terrain.horizontal_scale}.")
    coarse = [max(2, int(n * terrain.horizontal_scale / spacing)) for n in (terrain.width, terrain.length)]
    drawn = np.random.choice(np.arange(low, high + by, by), tuple(coarse)).astype(np.float64)
    terrain.height_field_raw += np.rint(shapes.resampled(drawn, terrain.shape)).astype(np.int16)
    return terrain


def sloped_terrain(terrain: SubTerrain, slope: float = 1) -> SubTerrain:
    """Add a plane that rises by `slope` m a metre along x."""
    top = slope * terrain.horizontal_scale / terrain.vertical_scale * terrain.width
    terrain.height_field_raw += (top * np.arange(terrain.width) / terrain.width).astype(np.int16)[:, None]
    return terrain


def pyramid_sloped_terrain(terrain: SubTerrain, slope: float = 1, platform_size: float = 1.0) -> SubTerrain:
    """Add a pyramid that rises by `slope` towards a flat top `platform_size` m wide; below 0 it is a pit.

    The height is the product of two triangles, so that the slope is exact along the axes through the middle.
    """
    top = slope * terrain.horizontal_scale / terrain.vertical_scale * terrain.width / 2
    terrain.height_field_raw += (top * shapes.pyramid(terrain.shape)).astype(np.int16)
    corner = tuple(cut.start for cut in terrain._centre(platform_size))
    edge = int(terrain.height_field_raw[corner])
    np.clip(terrain.height_field_raw, min(edge, 0), max(edge, 0), out=terrain.height_field_raw)
    return terrain


def discrete_obstacles_terrain(terrain: SubTerrain, max_height: float, min_size: float, max_size: float,
                               num_rects: int, platform_size: float = 1.0) -> SubTerrain:
    """Set `num_rects` boxes and pits, all or half of `max_height` m high or deep, sides `min_size` to `max_size` m.

    A square of `platform_size` m in the middle stays level.
    """
    height = terrain._units(max_height)
    sides = np.arange(terrain._samples(min_size), terrain._samples(max_size), 4)
    if len(sides) == 0 or sides[-1] >= min(terrain.width, terrain.length):
        raise UserError(f"discrete_obstacles_terrain has sizes {min_size} to {max_size} m: give a range that rises by "
                        "more than a sample, and is smaller than the terrain.")
    shapes.set_rectangles(terrain.height_field_raw, sides, [-height, -(height // 2), height // 2, height], num_rects,
                          np.random)
    terrain.height_field_raw[terrain._centre(platform_size)] = 0
    return terrain


def wave_terrain(terrain: SubTerrain, num_waves: int = 1, amplitude: float = 1.0) -> SubTerrain:
    """Add waves along both axes, `num_waves` to the length, together within ± `amplitude` m."""
    if num_waves < 1:
        raise UserError(f"wave_terrain has num_waves {num_waves}: give at least 1.")
    height = terrain._units(0.5 * amplitude)
    terrain.height_field_raw += (height * shapes.waves(terrain.shape, terrain.length / num_waves)).astype(np.int16)
    return terrain


def stairs_terrain(terrain: SubTerrain, step_width: float, step_height: float) -> SubTerrain:
    """Add stairs that rise by `step_height` m every `step_width` m along x."""
    levels = shapes.stairs(terrain.shape, _run(terrain, step_width))
    terrain.height_field_raw += (terrain._units(step_height) * levels).astype(np.int16)
    return terrain


def pyramid_stairs_terrain(terrain: SubTerrain, step_width: float, step_height: float,
                           platform_size: float = 1.0) -> SubTerrain:
    """Set stairs from all four sides to a flat top `platform_size` m wide; a `step_height` below 0 leads down."""
    levels = shapes.pyramid_stairs(terrain.shape, _run(terrain, step_width), terrain._samples(platform_size))
    terrain.height_field_raw[levels > 0] = (terrain._units(step_height) * levels[levels > 0]).astype(np.int16)
    return terrain


def _run(terrain: SubTerrain, step_width: float) -> int:
    run = terrain._samples(step_width)
    if run < 1:
        raise UserError(f"step_width is {step_width} m: give at least the horizontal scale, "
                        f"{terrain.horizontal_scale} m.")
    return run


def stepping_stones_terrain(terrain: SubTerrain, stone_size: float, stone_distance: float, max_height: float,
                            platform_size: float = 1.0, depth: float = -10) -> SubTerrain:
    """Set square stones of `stone_size` m, `stone_distance` m apart, over a ground at `depth` m.

    Their tops are drawn within ± `max_height` m, their rows are shifted at random, and a square of `platform_size` m
    in the middle is level.
    """
    stone, gap = _run(terrain, stone_size), terrain._samples(stone_distance)
    reach = terrain._units(max_height)
    tops = np.arange(-reach - 1, reach, 1)
    terrain.height_field_raw[...] = terrain._units(depth)
    shapes.set_stones(terrain.height_field_raw, stone, gap, tops, np.random)
    terrain.height_field_raw[terrain._centre(platform_size)] = 0
    return terrain


def convert_heightfield_to_trimesh(height_field_raw: np.ndarray, horizontal_scale: float, vertical_scale: float,
                                   slope_threshold: Optional[float] = None) -> Tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) float32 m, row by row of x, and triangles (m, 3) uint32 of a height field.

    :param slope_threshold: steeper cells become vertical walls: the lower vertex moves under the higher one.
    """
    field = np.asarray(height_field_raw, dtype=np.float64)
    rows, columns = field.shape
    x, y = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    shift_x, shift_y = np.zeros(field.shape), np.zeros(field.shape)
    if slope_threshold is not None:
        shift_x, shift_y = _towards_walls(field, slope_threshold * horizontal_scale / vertical_scale)
    vertices = np.stack(((x + shift_x) * horizontal_scale, (y + shift_y) * horizontal_scale, field * vertical_scale),
                        axis=-1).reshape(-1, 3).astype(np.float32)
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    triangles = np.stack((np.stack((a, d, b), axis=1), np.stack((a, c, d), axis=1)), axis=1)
    return vertices, triangles.reshape(-1, 3).astype(np.uint32)


def _towards_walls(field: np.ndarray, rise: float) -> Tuple[np.ndarray, np.ndarray]:
    """How many samples each vertex moves along x and y: towards a neighbour that is more than `rise` higher.

    A vertex in the corner of a wall has only its diagonal neighbour higher, and moves along both axes.
    """
    padded = np.pad(field, 1, mode="edge")
    rows, columns = field.shape

    def higher(dx: int, dy: int) -> np.ndarray:
        neighbour = padded[1 + dx:1 + dx + rows, 1 + dy:1 + dy + columns]
        return (neighbour - field > rise).astype(np.float64)

    along_x, along_y = higher(1, 0) - higher(-1, 0), higher(0, 1) - higher(0, -1)
    corner_x = np.clip(higher(1, 1) + higher(1, -1) - higher(-1, 1) - higher(-1, -1), -1, 1)
    corner_y = np.clip(higher(1, 1) + higher(-1, 1) - higher(1, -1) - higher(-1, -1), -1, 1)
    alone = (along_x == 0) & (along_y == 0)
    return along_x + corner_x * alone, along_y + corner_y * alone
