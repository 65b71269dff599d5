"""Patches of terrain by difficulty: pure functions ``(shape, cell_m, difficulty, rng) -> heights``.

========== ============ ==========================================================================================
argument   type         what
========== ============ ==========================================================================================
shape      (X, Y)       samples along x and y, at least 8 each
cell_m     float        m between samples
difficulty float        0 (easy) to 1; what it changes is in each function's table, linearly unless told otherwise
rng        Generator    of numpy; the same state gives the same heights
heights    (X, Y)       float64 m. Robots start in the middle, on a level square where the shape has one, at 0 m
========== ============ ==========================================================================================

The ranges of slopes, steps and obstacles end about where those of legged_gym's curriculum do (Rudin et al. 2022,
"Learning to walk in minutes using massively parallel deep reinforcement learning") and begin lower, for robots that
are 30 cm high.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Callable, Mapping, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError, number_above_zero, unknown
from sb3_isaac.terrain.shapes import (
    Shape,
    centre,
    pyramid,
    pyramid_stairs,
    resampled,
    set_rectangles,
    set_stones,
    waves,
)

PLATFORM_M = 2.0
"""Side of the level square in the middle; a third of the patch where that is smaller."""
PIT_M = 1.0
"""Depth of what a robot must not step into: gaps, and the ground between stepping stones."""
_LEAST_SAMPLES = 8


def flat(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Level ground at any difficulty."""
    _check(shape, cell_m, difficulty)
    return np.zeros(shape)


def rough(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Heights drawn every 0.2 m within ± 0.01 to 0.1 m, linear in between, without a level square."""
    _check(shape, cell_m, difficulty)
    coarse = tuple(max(2, round(n * cell_m / 0.2)) for n in shape)
    return _between(0.01, 0.1, difficulty) * resampled(rng.uniform(-1.0, 1.0, coarse), shape)


def slope_down(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """A pyramid that falls from its level top by 0 to 0.4 m a metre."""
    _check(shape, cell_m, difficulty)
    rise = _between(0.0, 0.4, difficulty) * cell_m * (min(shape) // 2)
    heights = rise * pyramid(shape)
    corner = tuple(cut.start for cut in centre(shape, _platform_cells(shape, cell_m) // 2))
    return np.minimum(heights, heights[corner]) - heights[corner]


def slope_up(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """A pyramid upside down, which rises from its level bottom by 0 to 0.4 m a metre."""
    return -slope_down(shape, cell_m, difficulty, rng)


def stairs_down(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Stairs that lead down from the middle to all sides, steps 0.3 m wide and 0.02 to 0.2 m high."""
    _check(shape, cell_m, difficulty)
    run = max(1, round(0.3 / cell_m))
    levels = pyramid_stairs(shape, run, _platform_cells(shape, cell_m))
    return _between(0.02, 0.2, difficulty) * (levels - levels.max())


def stairs_up(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Stairs that lead up from the middle, otherwise as those down."""
    return -stairs_down(shape, cell_m, difficulty, rng)


def discrete_obstacles(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """20 boxes and pits, sides 0.5 to 2 m, 0.02 to 0.2 m or half of that high or deep."""
    _check(shape, cell_m, difficulty)
    height, heights = _between(0.02, 0.2, difficulty), np.zeros(shape)
    longest = min(round(2.0 / cell_m), min(shape) // 3)
    sides = np.arange(min(max(1, round(0.5 / cell_m)), longest), longest + 1)
    set_rectangles(heights, sides, [-height, -0.5 * height, 0.5 * height, height], 20, rng)
    heights[centre(shape, _platform_cells(shape, cell_m) // 2)] = 0.0
    return heights


def stepping_stones(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Square stones over a ground ``PIT_M`` deep: 1.0 to 0.3 m wide, 0.1 to 0.3 m apart, tops within ± 0 to 0.05 m."""
    _check(shape, cell_m, difficulty)
    stone, gap = (max(1, round(_between(easy, hard, difficulty) / cell_m)) for easy, hard in ((1.0, 0.3), (0.1, 0.3)))
    reach, heights = _between(0.0, 0.05, difficulty), np.full(shape, -PIT_M)
    set_stones(heights, stone, gap, list(np.linspace(-reach, reach, 11)), rng)
    heights[centre(shape, _platform_cells(shape, cell_m) // 2)] = 0.0
    return heights


def gaps(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """A level patch with a ring of a gap around the middle, 0.1 to 0.8 m wide and ``PIT_M`` deep."""
    _check(shape, cell_m, difficulty)
    inner = _platform_cells(shape, cell_m) // 2
    width = min(max(1, round(_between(0.1, 0.8, difficulty) / cell_m)), min(shape) // 2 - inner)
    heights = np.zeros(shape)
    heights[centre(shape, inner + width)] = -PIT_M
    heights[centre(shape, inner)] = 0.0
    return heights


def wave(shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Waves 2 m long along both axes, together within ± 0.02 to 0.2 m, at a random phase."""
    _check(shape, cell_m, difficulty)
    length = max(4, round(2.0 / cell_m))
    shift = [int(rng.integers(length)) for _ in shape]
    whole = waves((shape[0] + length, shape[1] + length), length)
    return 0.5 * _between(0.02, 0.2, difficulty) * whole[shift[0]:shift[0] + shape[0], shift[1]:shift[1] + shape[1]]


Generator = Callable[[Tuple[int, int], float, float, np.random.Generator], np.ndarray]
GENERATORS: Mapping[str, Generator] = MappingProxyType({
    function.__name__: function for function in (flat, rough, slope_up, slope_down, stairs_up, stairs_down,
                                                 discrete_obstacles, stepping_stones, gaps, wave)})
"""Name -> generator."""


def generate(name: str, shape: Shape, cell_m: float, difficulty: float, rng: np.random.Generator) -> np.ndarray:
    """Heights (X, Y) m of the generator `name`.

    :raises UserError: for a name that is not in ``GENERATORS``, or arguments that no patch can have.
    """
    if name not in GENERATORS:
        raise unknown("terrain", name, GENERATORS)
    return GENERATORS[name](shape, cell_m, difficulty, rng)


def _check(shape: Shape, cell_m: float, difficulty: float) -> None:
    number_above_zero("cell_m", cell_m)
    if len(shape) != 2 or min(shape) < _LEAST_SAMPLES:
        raise UserError(f"shape is {shape}: give the numbers of samples along x and y, at least {_LEAST_SAMPLES} each.")
    if not 0.0 <= difficulty <= 1.0:
        raise UserError(f"difficulty is {difficulty}: give a number from 0 to 1.")


def _between(easy: float, hard: float, difficulty: float) -> float:
    return easy + (hard - easy) * difficulty


def _platform_cells(shape: Shape, cell_m: float) -> int:
    return max(2, min(round(PLATFORM_M / cell_m), min(shape) // 3))
