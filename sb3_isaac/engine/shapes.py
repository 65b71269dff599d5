"""What the robots of an engine look like, as triangles, and where their bodies are: for drawing them elsewhere."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

import mujoco
import numpy as np

from sb3_isaac.contract.stage import Mesh
from sb3_isaac.engine import Engine

RINGS, SEGMENTS = 8, 14
"""Of a sphere, from pole to pole and around."""
MOST_CELLS = 40_000
"""Of a heightfield; a finer one is drawn with every second, third, ... sample."""
SEEN_GROUPS = 3
"""MuJoCo shows the geoms of groups below this, and not those for collisions alone."""
LEAST_COSINE = 0.5
"""Of the angle between a corner's normal and its face's."""
_DEFAULT_RGBA = (0.5, 0.5, 0.5, 1.0)
_FLOOR_RGBA = (0.42, 0.46, 0.51, 1.0)


class _Surface(NamedTuple):
    """Vertices (V, 3) m, their normals (V, 3) of length 1, and triangles (F, 3) of indices."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


class WorldShapes:
    """The shapes of a model's bodies, and their poses in the worlds of an engine.

    :param engine: what simulates.
    :param model: the same robots with what is only looked at; bodies and joints are in the engine's order.
    :param level: robots stand on a plane, and may be shown side by side; else they are shown where they are.
    """

    def __init__(self, engine: Engine, model: mujoco.MjModel, level: bool) -> None:
        self._engine, self._model, self._data, self.level = engine, model, mujoco.MjData(model), level
        self._qpos = engine.field("qpos")

    def meshes(self) -> List[Optional[Mesh]]:
        """A mesh for each body in its own frame, None for one without shapes; the first is the world's."""
        model = self._model
        seen: Dict[int, List[int]] = {body: [] for body in range(model.nbody)}
        for geom in range(model.ngeom):
            if model.geom_group[geom] < SEEN_GROUPS and _rgba(model, geom)[3] > 0.0:
                seen[int(model.geom_bodyid[geom])].append(geom)
        return [_joined(model, geoms) for geoms in seen.values()]

    def snapshot(self, robots: int) -> np.ndarray:
        """The positions of the joints of the first `robots` now, a copy; cheap."""
        found: np.ndarray = self._qpos[:robots].cpu().numpy().copy()
        return found

    def poses(self, snapshot: np.ndarray) -> np.ndarray:
        """Position m and quaternion (w, x, y, z) of each body in the world, (robots, bodies, 7) float32, the world's
        own body included."""
        found = np.empty((len(snapshot), self._model.nbody, 7), np.float32)
        for qpos, out in zip(snapshot, found):
            self._data.qpos[:] = qpos
            mujoco.mj_kinematics(self._model, self._data)
            out[:, :3], out[:, 3:] = self._data.xpos, self._data.xquat
        return found


def _rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """A geom's own colour, else that of its material, as MuJoCo's renderer has it."""
    own: np.ndarray = model.geom_rgba[geom]
    material = model.geom_matid[geom]
    of_material: bool = material >= 0 and np.allclose(own, _DEFAULT_RGBA)
    return np.array(model.mat_rgba[material]) if of_material else own


def _joined(model: mujoco.MjModel, geoms: List[int]) -> Optional[Mesh]:
    """The surfaces of a body's geoms as one mesh in the body's frame."""
    vertices, normals, faces, colours, count = [], [], [], [], 0
    for geom in geoms:
        surface = _surface(model, geom)
        if surface is None:
            continue
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        to_body = turn.reshape(3, 3).T
        vertices.append(surface.vertices @ to_body + model.geom_pos[geom])
        normals.append(surface.normals @ to_body)
        faces.append(surface.faces + count)
        floor = int(model.geom_type[geom]) == int(mujoco.mjtGeom.mjGEOM_HFIELD)
        colour = np.clip(np.asarray(_FLOOR_RGBA if floor else _rgba(model, geom)) * 255.0, 0, 255).astype(np.uint8)
        colours.append(np.tile(colour, (len(surface.vertices), 1)))
        count += len(surface.vertices)
    if not vertices:
        return None
    return Mesh(np.concatenate(vertices).astype(np.float32), np.concatenate(normals).astype(np.float32),
                np.concatenate(colours), np.concatenate(faces).astype(np.uint32))


def _surface(model: mujoco.MjModel, geom: int) -> Optional[_Surface]:
    """A geom's surface in its own frame; None for a plane and for kinds that are not drawn."""
    kinds, size = mujoco.mjtGeom, model.geom_size[geom]
    kind = kinds(int(model.geom_type[geom]))
    if kind in (kinds.mjGEOM_SPHERE, kinds.mjGEOM_ELLIPSOID):
        return _ellipsoid(np.full(3, size[0]) if kind == kinds.mjGEOM_SPHERE else size)
    if kind == kinds.mjGEOM_CAPSULE:
        ball = _ellipsoid(np.full(3, size[0]))
        ball.vertices[:len(ball.vertices) // 2, 2] += size[1]
        ball.vertices[len(ball.vertices) // 2:, 2] -= size[1]
        return ball
    if kind == kinds.mjGEOM_CYLINDER:
        return _cylinder(size[0], size[1])
    if kind == kinds.mjGEOM_BOX:
        return _box(size)
    if kind == kinds.mjGEOM_MESH:
        return _mesh(model, int(model.geom_dataid[geom]))
    return _heightfield(model, int(model.geom_dataid[geom])) if kind == kinds.mjGEOM_HFIELD else None


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles for each cell of a grid of rows × columns vertices."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    right, below = corner + 1, corner + columns
    return np.concatenate((np.stack((corner, below, right), 1), np.stack((right, below, below + 1), 1)))


def _ellipsoid(radii: np.ndarray) -> _Surface:
    """From the upper pole to the lower one; the equator is there twice, so that a capsule's halves can part."""
    half = np.linspace(0.0, np.pi / 2, RINGS // 2 + 1)
    polar = np.concatenate((half, np.pi / 2 + half))[:, None]
    around = np.linspace(0.0, 2 * np.pi, SEGMENTS + 1)[None]
    unit = np.stack(np.broadcast_arrays(np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around),
                                        np.cos(polar)), -1).reshape(-1, 3)
    normals = unit / radii
    return _Surface(unit * radii, normals / np.linalg.norm(normals, axis=1, keepdims=True),
                    _grid_faces(polar.size, around.size))


def _cylinder(radius: float, half: float) -> _Surface:
    """Top, side and bottom: rings of vertices, the two edges with normals of both their faces."""
    around = np.linspace(0.0, 2 * np.pi, SEGMENTS + 1)
    out = np.stack((np.cos(around), np.sin(around), np.zeros_like(around)), 1)
    up = np.tile([0.0, 0.0, 1.0], (len(around), 1))
    rings = ((0.0, half, up), (radius, half, up), (radius, half, out), (radius, -half, out), (radius, -half, -up),
             (0.0, -half, -up))
    vertices = np.concatenate([wide * out + [0.0, 0.0, z] for wide, z, _ in rings])
    return _Surface(vertices, np.concatenate([normal for _, _, normal in rings]), _grid_faces(len(rings), len(around)))


def _box(half: np.ndarray) -> _Surface:
    vertices: List[np.ndarray] = []
    normals: List[np.ndarray] = []
    faces: List[np.ndarray] = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            u, v = np.roll(np.eye(3), -1, axis=0)[axis], np.roll(np.eye(3), -2, axis=0)[axis]
            normal = side * np.eye(3)[axis]
            faces.append(np.array([[0, 1, 2], [0, 2, 3]]) + 4 * len(faces))
            vertices += [half * (normal + a * u + side * b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            normals += [normal] * 4
    return _Surface(np.array(vertices), np.array(normals), np.concatenate(faces))


def _mesh(model: mujoco.MjModel, mesh: int) -> _Surface:
    """A vertex for each pair of place and normal, so that sharp edges stay sharp. A corner whose own normal is far from
    its face's, as MuJoCo makes them of coarse meshes, gets the face's."""
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    faces = model.mesh_face[first:first + count]
    corners = model.mesh_vert[model.mesh_vertadr[mesh] + faces].astype(float)
    of_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    of_face /= np.maximum(np.linalg.norm(of_face, axis=1, keepdims=True), 1e-12)
    given = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[first:first + count]].astype(float)
    far = np.einsum("fi,fji->fj", of_face, given) < LEAST_COSINE
    normals = np.where(far[..., None], of_face[:, None], given)
    pairs = np.concatenate((faces[..., None], np.round(100.0 * normals)), axis=-1).reshape(-1, 4)
    _, kept, index = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    return _Surface(corners.reshape(-1, 3)[kept], normals.reshape(-1, 3)[kept], index.reshape(-1, 3))


def _heightfield(model: mujoco.MjModel, field: int) -> _Surface:
    rows, columns, first = model.hfield_nrow[field], model.hfield_ncol[field], model.hfield_adr[field]
    radius_x, radius_y, high, _ = model.hfield_size[field]
    heights = high * model.hfield_data[first:first + rows * columns].reshape(rows, columns)
    every = int(np.ceil(np.sqrt(rows * columns / MOST_CELLS)))
    x, y = np.linspace(-radius_x, radius_x, columns)[::every], np.linspace(-radius_y, radius_y, rows)[::every]
    z = heights[::every, ::every]
    slope_y, slope_x = np.gradient(z, y, x)
    normals = np.stack((-slope_x, -slope_y, np.ones_like(z)), -1)
    grid: Any = np.broadcast_arrays(x[None], y[:, None], z)
    return _Surface(np.stack(grid, -1).reshape(-1, 3),
                    (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).reshape(-1, 3),
                    _grid_faces(len(y), len(x))[:, ::-1])
