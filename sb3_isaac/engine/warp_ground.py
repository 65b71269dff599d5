"""The kernel that moves planes along below a robot's points, so that they are uneven ground (``ground_planes``)."""

from typing import Any

import mujoco
import numpy as np
import torch
import warp as wp

from sb3_isaac.engine.ground_planes import Heights, point_pairs

ON_GROUND_M = wp.constant(1e-3)
"""A point is on the ground within so much."""


@wp.func
def face_at(heights: wp.array2d[float], corner: wp.vec2, spacing: wp.vec2, x: float, y: float) -> wp.vec3:
    """Height m and slopes along x and y of the triangle below a point; beyond the border, that of the border."""
    u, v = (x - corner[0]) / spacing[0], (y - corner[1]) / spacing[1]
    if not u >= 0.0:  # NaN, of a world that diverged, included
        u = 0.0
    if not v >= 0.0:
        v = 0.0
    u, v = wp.min(u, float(heights.shape[0] - 1)), wp.min(v, float(heights.shape[1] - 1))
    i, j = wp.min(int(u), heights.shape[0] - 2), wp.min(int(v), heights.shape[1] - 2)
    u, v = u - float(i), v - float(j)
    near, far = heights[i, j], heights[i + 1, j + 1]
    along_x = heights[i + 1, j] - near
    along_y = far - heights[i + 1, j]
    if u < v:
        along_y = heights[i, j + 1] - near
        along_x = far - heights[i, j + 1]
    return wp.vec3(near + u * along_x + v * along_y, along_x / spacing[0], along_y / spacing[1])


@wp.kernel
def move_planes(heights: wp.array2d[float], corner: wp.vec2, spacing: wp.vec2, points: wp.array[int],
                planes: wp.array[int], radii: wp.array[float], xpos: wp.array2d[wp.vec3],
                xmat: wp.array2d[wp.mat33]) -> None:
    """Put the plane of each point where the ground is closest to it.

    That is the triangle below the point, or one that lies a radius aside of it and faces it: the wall that a foot
    comes to before it is above it.
    """
    world, k = wp.tid()
    centre, radius = xpos[world, points[k]], radii[k]
    face = face_at(heights, corner, spacing, centre[0], centre[1])
    normal = wp.normalize(wp.vec3(-face[1], -face[2], 1.0))
    distance = (centre[2] - face[0]) * normal[2]
    for side in range(4):
        turn = 0.5 * wp.PI * float(side)
        aside = radius * wp.vec2(wp.cos(turn), wp.sin(turn))
        face = face_at(heights, corner, spacing, centre[0] + aside[0], centre[1] + aside[1])
        its = wp.normalize(wp.vec3(-face[1], -face[2], 1.0))
        away = (centre[2] - face[0] + face[1] * aside[0] + face[2] * aside[1]) * its[2]
        foot = centre - away * its
        on = face_at(heights, corner, spacing, foot[0], foot[1])
        if away < distance and wp.abs(foot[2] - on[0]) < ON_GROUND_M:
            distance, normal = away, its
    across = wp.normalize(wp.cross(wp.vec3(0.0, 1.0, 0.0), normal))
    xpos[world, planes[k]] = centre - distance * normal
    xmat[world, planes[k]] = wp.matrix_from_cols(across, wp.cross(normal, across), normal)


class MovingPlanes:
    """The planes of a model (see :func:`~sb3_isaac.engine.ground_planes.put_planes`) in all worlds.

    :param ground: what they stand for.
    """

    def __init__(self, model: mujoco.MjModel, ground: Heights, device: torch.device) -> None:
        points, planes = point_pairs(model)
        self._device, self._shape = str(device), len(points)

        def array(values: Any, dtype: Any) -> Any:
            return wp.array(values, dtype=dtype, device=self._device)

        heights = np.ascontiguousarray(ground.heights + ground.position[2], dtype=np.float32)
        self._ground = array(heights, float), wp.vec2(*ground.position[:2]), wp.vec2(*ground.spacing)
        self._geoms = array(points, int), array(planes, int), array(model.geom_size[points, 0], float)

    def move(self, data: Any) -> None:
        """Launch it for Warp's `data`, whose geoms are where its state has them."""
        wp.launch(move_planes, dim=(data.nworld, self._shape), device=self._device,
                  inputs=[*self._ground, *self._geoms, data.geom_xpos, data.geom_xmat])
