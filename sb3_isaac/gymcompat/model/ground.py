"""What all environments stand on: plane, heightfield, or a triangle mesh that is a grid of vertices.

A ground is stored once in the shared model, however many worlds there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.urdf_spec import quat_wxyz
from sb3_isaac.gymcompat.types.structs import HeightFieldParams, PlaneParams, TriangleMeshParams
from sb3_isaac.gymcompat.types.values import Transform, Vec3
from sb3_isaac.terrain.heightfield import Heightfield

GROUND_BIT = 1 << 30
"""The collision bit of the ground: every shape meets it."""


@dataclass(frozen=True)
class Ground:
    """A heightfield, or a plane where `field` is None.

    ============ ============= ========================================================================
    field        shape         what
    ============ ============= ========================================================================
    friction     float         sliding friction coefficient
    restitution  float         share of the normal velocity that a bounce keeps
    position     (3,)          m: of the plane
    normal       (3,)          of the plane
    field                      the heightfield
    ============ ============= ========================================================================
    """

    friction: float
    restitution: float
    position: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    normal: Tuple[float, float, float] = (0.0, 0.0, 1.0)
    field: Optional[Heightfield] = None

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Put the ground into a scene."""
        if self.field is not None:
            geom = self.field.add_to(spec, name)
        else:
            geom = spec.worldbody.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1],
                                           pos=self.position, quat=quat_wxyz(_upright(np.array(self.normal))))
        geom.contype, geom.conaffinity, geom.rgba = GROUND_BIT, 0, [0.45, 0.5, 0.45, 1]
        geom.friction[0] = self.friction


def plane(params: PlaneParams) -> Ground:
    """``add_ground``."""
    normal = params.normal.normalize()
    return Ground(params.dynamic_friction, params.restitution, _xyz(normal * -params.distance), _xyz(normal))


def heightfield(samples: np.ndarray, params: HeightFieldParams) -> Ground:
    """``add_heightfield``: int16 samples, `nbColumns` along x by `nbRows` along y."""
    shape = (params.nbColumns, params.nbRows)
    samples = np.asarray(samples)
    if samples.size != shape[0] * shape[1] or samples.size < 4:
        raise UserError(f"add_heightfield: samples have shape {samples.shape}, and params say nbColumns {shape[0]} × "
                        f"nbRows {shape[1]}: give nbColumns (along x) × nbRows (along y) samples.")
    _no_rotation("add_heightfield", params.transform)
    heights = samples.reshape(shape).astype(np.float32) * np.float32(params.vertical_scale)
    return Ground(params.dynamic_friction, params.restitution, field=Heightfield(
        heights, (params.column_scale, params.row_scale), _xyz(params.transform.p)))


def trimesh(vertices: np.ndarray, triangles: np.ndarray, params: TriangleMeshParams) -> Ground:
    """``add_triangle_mesh``: a vertex grid, x-major, as ``convert_heightfield_to_trimesh`` makes it.

    MuJoCo collides meshes as convex hulls, so the grid's heights become a heightfield. Vertices that the converter
    moved to make walls vertical return to their column: a wall is one cell wide here.
    """
    vertices = np.asarray(vertices, dtype=np.float32).reshape(-1, 3)
    triangles = np.asarray(triangles).reshape(-1, 3)
    _no_rotation("add_triangle_mesh", params.transform)
    columns = int(triangles[:2].max()) - 1 if len(triangles) > 1 else 0
    if columns < 2 or len(vertices) % columns or len(triangles) != 2 * (len(vertices) // columns - 1) * (columns - 1):
        raise UserError(f"add_triangle_mesh: {len(vertices)} vertices and {len(triangles)} triangles are no grid of "
                        "vertices: give a mesh made by terrain_utils.convert_heightfield_to_trimesh, or add the ground "
                        "by add_heightfield.")
    grid = vertices.reshape(-1, columns, 3)
    spacing = (float(np.median(np.diff(grid[:, :, 0], axis=0))), float(np.median(np.diff(grid[:, :, 1], axis=1))))
    corner = Vec3(*(float(v) for v in np.median(grid[:, :, :2] - _nominal(grid.shape[:2], spacing), axis=(0, 1))), 0.0)
    if min(spacing) <= 0:
        raise UserError(f"add_triangle_mesh: the vertex grid has steps of {spacing[0]:g} × {spacing[1]:g} m: "
                        "give vertices whose x grows from row to row and y within a row.")
    return Ground(params.dynamic_friction, params.restitution, field=Heightfield(
        np.ascontiguousarray(grid[:, :, 2]), spacing, _xyz(params.transform.p + corner)))


def _xyz(vec: Vec3) -> Tuple[float, float, float]:
    return vec.x, vec.y, vec.z


def _nominal(shape: Tuple[int, int], spacing: Tuple[float, float]) -> np.ndarray:
    """Where the vertices of a regular grid lie, from (0, 0)."""
    x, y = (np.arange(n, dtype=np.float32) * step for n, step in zip(shape, spacing))
    return np.stack(np.broadcast_arrays(x[:, None], y[None, :]), axis=-1)


def _no_rotation(call: str, transform: Transform) -> None:
    r = transform.r
    if max(abs(r.x), abs(r.y), abs(r.z)) > 1e-6:
        raise UserError(f"{call}: params.transform.r is ({r.x:g}, {r.y:g}, {r.z:g}, {r.w:g}): a ground cannot be "
                        "rotated here, so rotate the samples.")


def _upright(normal: np.ndarray) -> np.ndarray:
    """A frame whose z axis is `normal`."""
    other = np.array([1.0, 0, 0]) if abs(normal[0]) < 0.9 else np.array([0, 1.0, 0])
    frame = np.eye(4)
    frame[:3, 1] = np.cross(normal, other) / np.linalg.norm(np.cross(normal, other))
    frame[:3, 0], frame[:3, 2] = np.cross(frame[:3, 1], normal), normal
    return frame
