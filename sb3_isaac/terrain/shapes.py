"""The formulas of terrain, counted in cells and without a unit of height, for integer and float fields alike.

A field is an array (X, Y) whose first index runs along x. `rng` is numpy's ``Generator``, ``RandomState`` or the module
``numpy.random``. The shapes are those that Isaac Gym's documentation describes and Isaac Lab has after it
(BSD-3-Clause, ``isaaclab.terrains.height_field``).
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
from numpy.typing import ArrayLike

Shape = Tuple[int, int]


def centre(shape: Shape, half: int) -> Tuple[slice, slice]:
    """The cells of a square of 2 · `half` cells in the middle."""
    x, y = (n // 2 for n in shape)
    return slice(x - half, x + half), slice(y - half, y + half)


def resampled(values: np.ndarray, shape: Shape) -> np.ndarray:
    """A grid sampled anew with `shape` samples over the same rectangle, linear in between."""
    for axis, count in enumerate(shape):
        old, new = np.linspace(0.0, 1.0, values.shape[axis]), np.linspace(0.0, 1.0, count)
        values = np.apply_along_axis(lambda row: np.interp(new, old, row), axis, values)  # noqa: B023
    return values


def pyramid(shape: Shape) -> np.ndarray:
    """1 in the middle, 0 at the border: the product of two triangles, so that the slope is constant along the axes
    through the middle."""
    x, y = (1.0 - np.abs(np.arange(n) - n // 2) / max(1, n // 2) for n in shape)
    return np.outer(x, y)


def stairs(shape: Shape, run: int) -> np.ndarray:
    """Levels 1, 2, ... of stairs along x, a step each `run` cells; what is left at the end belongs to the last step."""
    levels = np.minimum(np.arange(shape[0]) // run + 1, max(1, shape[0] // run))
    return np.broadcast_to(levels[:, None], shape)


def pyramid_stairs(shape: Shape, run: int, platform: int) -> np.ndarray:
    """Levels of stairs from all four sides, 0 at the border, a step each `run` cells.

    They end where the square inside would not be wider than `platform` cells.
    """
    levels = np.zeros(shape, dtype=int)
    inset, level = run, 1
    while min(shape) - 2 * (inset - run) > platform:
        levels[inset:shape[0] - inset, inset:shape[1] - inset] = level
        inset, level = inset + run, level + 1
    return levels


def waves(shape: Shape, cells: float) -> np.ndarray:
    """Waves along both axes, `cells` cells long, together within ±2."""
    x, y = (2.0 * np.pi * np.arange(n) / cells for n in shape)
    return np.sin(x)[:, None] + np.cos(y)


def set_rectangles(field: np.ndarray, sides: ArrayLike, heights: ArrayLike, count: int, rng: Any) -> None:
    """Set `count` rectangles, their sides in cells and their heights drawn from those given, on places of a grid of 4
    cells."""
    for _ in range(count):
        along_x, along_y = rng.choice(sides), rng.choice(sides)
        x = rng.choice(np.arange(0, field.shape[0] - along_x, 4))
        y = rng.choice(np.arange(0, field.shape[1] - along_y, 4))
        field[x:x + along_x, y:y + along_y] = rng.choice(heights)


def set_stones(field: np.ndarray, stone: int, gap: int, tops: ArrayLike, rng: Any) -> None:
    """Set squares of `stone` cells, `gap` cells apart, their heights drawn from `tops`; rows are shifted at random."""
    field = field if field.shape[1] >= field.shape[0] else field.T
    across, along = field.shape
    for start in range(0, along, stone + gap):
        first = rng.choice(stone)
        field[:max(0, first - gap), start:start + stone] = rng.choice(tops)
        for x in range(first, across, stone + gap):
            field[x:x + stone, start:start + stone] = rng.choice(tops)
