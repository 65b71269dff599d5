"""A grid of tiles as one ground: a column for each kind of terrain, a row for each level of difficulty."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Mapping, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, number_above_zero, unknown, whole_number
from sb3_isaac.terrain.generators import GENERATORS, generate
from sb3_isaac.terrain.heightfield import Heightfield

BORDER_M = 1.0
"""Level ground around the grid, for feet that step over its edge."""
FOOTPRINT_M = 0.8
"""Side of the square around an origin whose highest point is the origin's height: room for a robot's feet."""
MOST_SAMPLES = 20_000_000
TILES: Mapping[str, int] = {"stairs_up": 2, "stairs_down": 2, "slope_up": 1, "slope_down": 1, "rough": 1,
                            "discrete_obstacles": 1, "wave": 1, "stepping_stones": 1, "gaps": 1, "flat": 1}


@dataclass(frozen=True)
class TerrainGrid:
    """Tiles of ``GENERATORS``, all of one size: level ``r`` and column ``c`` lie in row r along x, column c along y.

    ============== ============== =====================================================================
    field          type           what
    ============== ============== =====================================================================
    tiles          {name: int}    how many columns each kind has, in order
    levels         int            rows, from the easiest to the hardest
    difficulty     (low, high)    of the first and the last level; those between are evenly spaced
    tile_m         float          side of a tile, an even number of cells
    cell_m         float          between samples of the ground
    seed           int            of the heights that are drawn
    ============== ============== =====================================================================

    Where the heights along a tile's edge are all the same, as those of stairs and slopes are, the tile is raised or
    lowered so that its edge is at 0; those of others are about 0.

    :raises UserError: for values that no grid can have.
    """

    tiles: Mapping[str, int] = field(default_factory=lambda: dict(TILES))
    levels: int = 10
    difficulty: Tuple[float, float] = (0.0, 1.0)
    tile_m: float = 8.0
    cell_m: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, count in mapping("terrain tiles", self.tiles).items():
            if name not in GENERATORS:
                raise unknown("terrain", name, GENERATORS)
            whole_number(f"the number of columns of terrain {name}", count, least=0, most=1000)
        if not self.columns:
            raise UserError("terrain tiles has no column: give a kind of terrain and a number, such as {stairs_up: 1}.")
        whole_number("terrain levels", self.levels, most=1000)
        whole_number("terrain seed", self.seed, least=0)
        given = self.difficulty
        pair = isinstance(given, (list, tuple)) and len(given) == 2 and all(map(is_number, given))
        if not pair or not 0.0 <= given[0] <= given[1] <= 1.0:
            raise UserError(f"terrain difficulty is {brief(given)}: give [low, high] with 0 <= low <= high <= 1.")
        cells = number_above_zero("terrain tile_m", self.tile_m) / number_above_zero("terrain cell_m", self.cell_m)
        if abs(cells - round(cells)) > 1e-6 or round(cells) % 2 or cells < 8:
            raise UserError(f"terrain tile_m {self.tile_m:g} is {cells:g} cells of {self.cell_m:g} m: give a tile of "
                            "an even number of cells, at least 8.")
        if round(cells) ** 2 * self.levels * len(self.columns) > MOST_SAMPLES:
            raise UserError(f"terrain of {self.levels} levels × {len(self.columns)} columns has more than "
                            f"{MOST_SAMPLES:,} samples: give fewer or smaller tiles, or a larger cell_m.")

    @cached_property
    def columns(self) -> Tuple[str, ...]:
        """The kind of terrain of each column."""
        return tuple(name for name, count in self.tiles.items() for _ in range(count))

    @property
    def difficulties(self) -> np.ndarray:
        """Of each level, from 0 to 1."""
        return np.linspace(*self.difficulty, self.levels)

    @cached_property
    def ground(self) -> Heightfield:
        """All tiles as one field; the grid's middle is at x = y = 0."""
        tile, border = round(self.tile_m / self.cell_m), round(BORDER_M / self.cell_m)
        shape = (self.levels * tile + 1 + 2 * border, len(self.columns) * tile + 1 + 2 * border)
        heights = np.zeros(shape)
        for level, difficulty in enumerate(self.difficulties):
            for column, name in enumerate(self.columns):
                x, y = border + level * tile, border + column * tile
                rng = np.random.default_rng((self.seed, level, column))
                made = generate(name, (tile + 1, tile + 1), self.cell_m, float(difficulty), rng)
                heights[x:x + tile + 1, y:y + tile + 1] = _edge_at_zero(made)  # the last is the next one's first
        corner = [-0.5 * self.tile_m * count - border * self.cell_m for count in (self.levels, len(self.columns))]
        return Heightfield(heights, (self.cell_m, self.cell_m), (corner[0], corner[1], 0.0))

    @cached_property
    def origins(self) -> np.ndarray:
        """The middles of the tiles (levels, columns, 3) m, as high as the highest point around them."""
        tile, border = round(self.tile_m / self.cell_m), round(BORDER_M / self.cell_m)
        half, ground = round(0.5 * FOOTPRINT_M / self.cell_m), self.ground
        origins = np.zeros((self.levels, len(self.columns), 3))
        for level in range(self.levels):
            for column in range(len(self.columns)):
                x, y = (border + tile // 2 + index * tile for index in (level, column))
                around = ground.heights[x - half:x + half + 1, y - half:y + half + 1]
                origins[level, column] = (ground.position[0] + x * self.cell_m, ground.position[1] + y * self.cell_m,
                                          around.max())
        return origins


def terrain_grid(given: Mapping[str, Any]) -> TerrainGrid:
    """A grid with the fields that are `given`."""
    for name in given:
        if name not in TerrainGrid.__dataclass_fields__:
            raise unknown("terrain option", name, TerrainGrid.__dataclass_fields__)
    return TerrainGrid(**given)


def _edge_at_zero(heights: np.ndarray) -> np.ndarray:
    edge = np.concatenate((heights[0], heights[-1], heights[:, 0], heights[:, -1]))
    return heights - edge[0] if np.ptp(edge) < 1e-9 else heights
