"""The part of a heightfield that a camera sees, for where the processor draws: all of 800,000 cells cost it a quarter
of a second a frame."""

from __future__ import annotations

import math
from typing import Tuple

import mujoco
import numpy as np

CHECKER_M = 2.0
"""The pattern on the ground is counted from the middle of what is drawn: that moves by whole repeats."""
MARGIN_M = 2.0
"""What is drawn beyond what is seen, so that a camera that goes along has a while until it is chosen anew."""


class SeenGround:
    """Cuts the first heightfield of a model, whose geom is not turned, to what is not yet lost in fog.

    :param model: is changed: its heightfield, the size and the place of that geom.
    :param aspect: width of a frame by its height.
    """

    def __init__(self, model: mujoco.MjModel, aspect: float) -> None:
        self._model = model
        self._geom = int(np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD)[0])
        rows, columns = int(model.hfield_nrow[0]), int(model.hfield_ncol[0])
        self._heights = model.hfield_data[:rows * columns].reshape(rows, columns).copy()  # (Y, X), 0 to 1
        self._samples = np.array([columns, rows])
        self._middle_m = model.geom_pos[self._geom, :2].copy()
        self._cell_m = 2 * model.hfield_size[0, :2] / (self._samples - 1)
        self._repeat = np.maximum(1, np.round(CHECKER_M / self._cell_m)).astype(int)
        self._fog_m = model.vis.map.fogend * model.stat.extent
        self._half_width = math.tan(math.radians(model.vis.global_.fovy) / 2) * aspect
        self._first = self._last = np.array([-1, -1])  # samples that are drawn now
        model.geom_sameframe[self._geom] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE

    def show(self, camera: mujoco.MjvCamera, context: mujoco.MjrContext) -> None:
        """Have what this camera sees in the model and on the current OpenGL context; mostly it is there already."""
        low_m, high_m = self._seen_m(camera)
        if (self._sample(low_m) >= self._first).all() and (self._sample(high_m) <= self._last).all():
            return
        axes = [_window(*axis) for axis in zip(self._samples, self._sample(low_m - MARGIN_M),
                                               self._sample(high_m + MARGIN_M), self._repeat)]
        self._first, self._last = np.array(axes).T
        (x, y), (to_x, to_y) = self._first, self._last + 1
        seen, model = self._heights[y:to_y, x:to_x], self._model
        model.hfield_nrow[0], model.hfield_ncol[0] = seen.shape
        model.hfield_data[:seen.size] = seen.ravel()
        model.hfield_size[0, :2] = model.geom_size[self._geom, :2] = (self._last - self._first) * self._cell_m / 2
        model.geom_pos[self._geom, :2] = (self._middle_m
                                          + (self._first + self._last + 1 - self._samples) * self._cell_m / 2)
        mujoco.mjr_uploadHField(model, context, 0)

    def _seen_m(self, camera: mujoco.MjvCamera) -> Tuple[np.ndarray, np.ndarray]:
        """The least and the greatest x and y, m, of the triangle from the camera to where fog hides all."""
        azimuth, elevation = math.radians(camera.azimuth), math.radians(camera.elevation)
        ahead = np.array([math.cos(azimuth), math.sin(azimuth)])
        aside = self._half_width * np.array([-ahead[1], ahead[0]])
        eye = camera.lookat[:2] - camera.distance * math.cos(elevation) * ahead
        far_m = self._fog_m / math.cos(elevation)
        corners = np.array([eye, eye + far_m * (ahead + aside), eye + far_m * (ahead - aside)])
        return corners.min(axis=0), corners.max(axis=0)

    def _sample(self, position_m: np.ndarray) -> np.ndarray:
        """The nearest sample of the field to a position (2,) m."""
        index = np.round((position_m - self._middle_m) / self._cell_m + (self._samples - 1) / 2)
        return np.clip(index, 0, self._samples - 1).astype(int)


def _window(samples: int, first: int, last: int, repeat: int) -> Tuple[int, int]:
    """The first and the last of `samples` to draw, at least from `first` to `last`: the middle of them is a multiple of
    `repeat` from the middle of all."""
    end = samples - 1
    stretched = end + 2 * repeat * math.ceil((first + last - end) / (2 * repeat)) - first
    return (first, stretched) if stretched <= end else (first - first % (2 * repeat), end)
