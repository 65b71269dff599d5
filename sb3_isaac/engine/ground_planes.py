"""Uneven ground as planes: each point of the robot that can touch has a plane of its own, which an engine moves along.

MuJoCo Warp 4.0 lets feet meet a heightfield metres below its surface. A sphere and a plane meet as they should, cost
less, and the ground near a small sphere is a plane, wherever the sphere is.
"""

from __future__ import annotations

from typing import Iterator, List, Protocol, Tuple

import mujoco
import numpy as np

from sb3_isaac.engine.scene import plain

CORNER_RADIUS = 0.2
"""Radius of the spheres in a box's corners, by the box's smallest half side."""


class Heights(Protocol):
    """Heights of the ground on a regular grid: two triangles a cell, whose common edge runs from sample (i, j) to
    (i + 1, j + 1)."""

    @property
    def heights(self) -> np.ndarray:
        """(X, Y) m above `position`, first index along x."""

    @property
    def spacing(self) -> Tuple[float, float]:
        """m between samples along x and y."""

    @property
    def position(self) -> Tuple[float, float, float]:
        """m: of sample (0, 0) at height 0, in the world."""


def put_planes(spec: mujoco.MjSpec, model: mujoco.MjModel, floor: str) -> None:
    """Let points of the robot meet a plane each, in place of its geoms and the `floor`, which is the first plane.

    A sphere stays one; a capsule or cylinder has a point at each end, everything else one in each corner of its box.

    :param spec: of the robot and its floor, which is changed.
    :param model: what it compiled to.
    """
    ground = spec.geom(floor)
    ground.contype = 0
    friction = [ground.friction[0], *ground.friction]
    friction.append(friction[-1])  # of pairs: two tangential ones, spin, two of rolling
    count = 0
    for geom in range(model.ngeom):
        if not model.geom_bodyid[geom] or not model.geom_conaffinity[geom]:
            continue
        body = spec.body(model.body(model.geom_bodyid[geom]).name)
        spec.geom(model.geom(geom).name).conaffinity = 0
        for position, radius in points_of(model, geom):
            point = body.add_geom(plain(), name=f"scene point {count}", type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=position,
                                  size=[radius, 0.0, 0.0], mass=0.0, contype=0, conaffinity=0)
            plane = ground if count == 0 else spec.worldbody.add_geom(
                plain(), name=f"scene plane {count}", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 1.0], contype=0,
                conaffinity=0)
            spec.add_pair(plain(), geomname1=point.name, geomname2=plane.name, condim=3, friction=friction)
            count += 1


def points_of(model: mujoco.MjModel, geom: int) -> Iterator[Tuple[np.ndarray, float]]:
    """(position (3,) m in the body's frame, radius m) of the spheres that stand for a geom."""
    kinds, kind, (radius, half, _) = mujoco.mjtGeom, int(model.geom_type[geom]), model.geom_size[geom]
    if kind == kinds.mjGEOM_SPHERE:
        local, size = [np.zeros(3)], radius
    elif kind in (kinds.mjGEOM_CAPSULE, kinds.mjGEOM_CYLINDER):
        along = half if kind == kinds.mjGEOM_CAPSULE else half - radius  # a cylinder's ends are flat
        local, size = [np.array([0.0, 0.0, z]) for z in ((-along, along) if along > 0 else (0.0,))], radius
    else:
        middle, sides = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        size = CORNER_RADIUS * sides.min()
        local = [middle + (2.0 * np.array(signs) - 1.0) * (sides - size) for signs in np.ndindex(2, 2, 2)]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    for point in local:
        yield model.geom_pos[geom] + turn.reshape(3, 3) @ point, float(size)


def point_pairs(model: mujoco.MjModel) -> Tuple[List[int], List[int]]:
    """The geoms of all points, and those of their planes."""
    planes, points = model.pair_geom1.copy(), model.pair_geom2.copy()
    swapped = model.geom_type[points] == int(mujoco.mjtGeom.mjGEOM_PLANE)
    planes[swapped], points[swapped] = points[swapped], planes[swapped]
    return points.tolist(), planes.tolist()
