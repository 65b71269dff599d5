"""How low and how high geoms reach in a pose."""

from __future__ import annotations

from typing import Tuple

import mujoco
import numpy as np


def height_range(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Tuple[float, float]:
    """World heights (m) of the lowest and the highest point of a geom, after ``mj_kinematics``.

    Exact for spheres, capsules, cylinders, boxes, ellipsoids and meshes; other geoms count as their bounding boxes.
    """
    kinds, kind = mujoco.mjtGeom, int(model.geom_type[geom])
    up = data.geom_xmat[geom].reshape(3, 3)[2]  # the world's upward axis in the geom's frame
    size, z = model.geom_size[geom], float(data.geom_xpos[geom, 2])
    if kind == kinds.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first = model.mesh_vertadr[mesh]
        heights = model.mesh_vert[first:first + model.mesh_vertnum[mesh]] @ up
        return z + float(heights.min()), z + float(heights.max())
    if kind == kinds.mjGEOM_SPHERE:
        reach = size[0]
    elif kind == kinds.mjGEOM_CAPSULE:
        reach = size[0] + size[1] * abs(up[2])
    elif kind == kinds.mjGEOM_CYLINDER:
        reach = size[1] * abs(up[2]) + size[0] * np.hypot(up[0], up[1])
    elif kind == kinds.mjGEOM_ELLIPSOID:
        reach = np.linalg.norm(size * up)
    elif kind == kinds.mjGEOM_BOX:
        reach = np.abs(size * up).sum()
    else:
        middle, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        z, reach = z + float(middle @ up), np.abs(half * up).sum()
    return z - float(reach), z + float(reach)
