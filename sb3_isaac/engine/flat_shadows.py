"""Shadows on a plane as flat dark shapes, for where the processor draws: a shadow map costs it three times as much."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

LIGHT = (-0.15, 0.3, -1.0)
"""Where it shines to."""
RGBA = (0.19, 0.215, 0.245, 1.0)
"""Of the floor in shadow, its two tiles' mean."""
ABOVE_M, FLATTENED = 0.003, 0.002
"""How far above the plane shadows lie, and what is left of heights: OpenGL turns no normals by a singular matrix."""
SMALLEST_M = 0.03
"""Geoms within a sphere of a smaller radius cast none: they are not seen, or what they are part of is larger."""


class FlatShadows:
    """Adds to a scene what its robots' shadows look like, on a plane at height 0.

    :param model: of a robot.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model: mujoco.MjModel = copy.copy(model)
        self._model.geom_matid[:], self._model.geom_rgba[:] = -1, RGBA
        self._model.geom_group[self._model.geom_rbound < SMALLEST_M] = mujoco.mjNGROUP - 1  # which is not drawn
        self._data = mujoco.MjData(self._model)
        x, y, z = LIGHT
        self._flatten = np.array([[1.0, 0.0, -x / z], [0.0, 1.0, -y / z], [0.0, 0.0, FLATTENED]])

    def add(self, data: mujoco.MjData, option: mujoco.MjvOption, perturb: mujoco.MjvPerturb,
            scene: mujoco.MjvScene) -> None:
        """The shadow of a robot whose kinematics are computed in `data`."""
        # A geom is drawn by its position and matrix, and the matrix need be no rotation.
        self._data.geom_xpos[:] = data.geom_xpos @ self._flatten.T + [0.0, 0.0, ABOVE_M]
        self._data.geom_xmat[:] = (self._flatten @ data.geom_xmat.reshape(-1, 3, 3)).reshape(-1, 9)
        mujoco.mjv_addGeoms(self._model, self._data, option, perturb, mujoco.mjtCatBit.mjCAT_DYNAMIC, scene)
