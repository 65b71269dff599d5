"""Pictures of the scene: robots of several worlds side by side, drawn offscreen."""

from __future__ import annotations

import copy
import weakref
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine import Engine
from sb3_isaac.engine.flat_shadows import FlatShadows
from sb3_isaac.engine.gl import close_context, make_current, open_context, open_gl, processor_draws
from sb3_isaac.engine.seen_ground import SeenGround

AZIMUTH_DEG, ELEVATION_DEG = 152.0, -14.0
"""The camera looks back at the robots from their front right; azimuth 180 would be head-on."""
AROUND_AZIMUTH_DEG, AROUND_ELEVATION_DEG, AROUND = 20.0, -28.0, 2.6
"""Where there are marks: from behind and above, so many times as far away, so that what lies around is seen."""
FOLLOW_GAIN = 0.15
"""Share of its way to the robots that the camera goes with each frame."""
JUMP_M = 1.5
"""The camera jumps where robots are this far off, as after a reset, and glides otherwise."""
SMALL_PX = 480
"""Frames up to this height are drawn twice as large and averaged: edges, shadows and letters would be jagged."""

Mark = Tuple[str, Sequence[float], Sequence[float], Sequence[float]]
"""What is drawn besides the model: (``sphere`` or ``cylinder``, centre m, size m as of a geom, rgba from 0 to 1)."""
_MARKS = {"sphere": mujoco.mjtGeom.mjGEOM_SPHERE, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}


class SceneRenderer:
    """Draws robots of several worlds side by side in one scene, from a camera that goes along.

    :param engine: its worlds' present state is what each frame shows.
    :param model: what is drawn, with the joints of the engine's model in the same order and whatever else there is to
        see.
    :param look_height_m: the camera looks at this height above a plane, m; None is for ground that is not level: the
        camera looks at the robot in the middle, and robots are drawn where they are, not in lanes.
    :param width, height: of the frames, pixels.
    :param num_robots: how many worlds to draw, at most ``engine.num_worlds``.
    :param spacing_m: sideways distance between the lanes of two neighbours (see :func:`lanes`).
    :param follow: the world in the middle lane; the others are those that come next, right and left of it.
    :raises UserError: where no OpenGL library works.
    """

    def __init__(self, engine: Engine, model: mujoco.MjModel, look_height_m: Optional[float], width: int = 640,
                 height: int = 480, num_robots: int = 1, spacing_m: float = 1.0, follow: int = 0) -> None:
        count = engine.num_worlds
        if not 1 <= num_robots <= count:
            raise UserError(f"num_robots is {num_robots}: draw from 1 to the {count} that are simulated.")
        if not 0 <= follow < count:
            raise UserError(f"follow is {follow}: give the index of a robot, from 0 to {count - 1}.")
        self._engine, self._look_height_m = engine, look_height_m
        self._num_robots, self._follow = num_robots, follow
        self._lookat_m: Dict[int, np.ndarray] = {}
        """Where the camera looked last, m, by the world in the middle."""
        self._offsets_m = lanes(num_robots, 0.0 if look_height_m is None else spacing_m)
        distance_m = 2.2 * model.stat.extent + 0.55 * spacing_m * (num_robots - 1)
        # All the floor that is visible in front of the robots is nearer to them than the camera.
        self._scale = 2 if height <= SMALL_PX else 1
        width, height = self._scale * width, self._scale * height
        self._model = _framed(model, width, height, shadow_reach_m=1.2 * distance_m)
        if self._scale > 1:  # averaging smooths edges already, in half the time
            self._model.vis.quality.offsamples = 0
        self._gl = open_gl(width, height)
        self._shadows: Optional[FlatShadows] = None
        self._ground: Optional[SeenGround] = None
        if processor_draws():
            _simplify(self._model.vis.quality, num_robots)
            if look_height_m is not None:
                self._shadows = FlatShadows(self._model)
            elif self._model.nhfield:
                self._ground = SeenGround(self._model, width / height)
        self._context = open_context(self._model, height)
        self._free = weakref.finalize(self, close_context, self._gl, self._context)
        # OSMesa's context prints an exception if the interpreter's end frees it; EGL is gone by then.
        self._free.atexit = type(self._gl).__module__ == "mujoco.osmesa"
        self._robots = [mujoco.MjData(self._model) for _ in range(num_robots)]
        self._scene = mujoco.MjvScene(self._model, maxgeom=2 * num_robots * self._model.ngeom + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows is None
        # A plane fades into the haze by itself; ground that ends somewhere does so in fog.
        self._scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = look_height_m is None
        self._option, self._no_push = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = AZIMUTH_DEG, ELEVATION_DEG
        self._camera.distance = self._distance_m = distance_m
        self._rect = mujoco.MjrRect(0, 0, width, height)

    def frame(self, lines: Sequence[str] = (), follow: Optional[int] = None,
              marks: Optional[Callable[[int], Sequence[Mark]]] = None) -> np.ndarray:
        """The scene as it is now, (height, width, 3) uint8, with `lines` of ASCII written at its top left.

        :param follow: another world in the middle than that of the constructor; the camera of each goes its own way.
        :param marks: what to draw besides in a world of this index.
        """
        make_current(self._gl)
        self._update_scene(self._follow if follow is None else follow, marks)
        rect, pixels = self._rect, np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_render(rect, self._scene, self._context)
        if lines:
            mujoco.mjr_overlay(mujoco.mjtFont.mjFONT_NORMAL, mujoco.mjtGridPos.mjGRID_TOPLEFT, rect,
                               "\n".join(lines), "", self._context)
        mujoco.mjr_readPixels(pixels, None, rect, self._context)
        return _averaged(pixels[::-1], self._scale)  # OpenGL's rows go up

    def _update_scene(self, follow: int, marks: Optional[Callable[[int], Sequence[Mark]]]) -> None:
        robots, count = self._robots, self._engine.num_worlds
        worlds = [(follow + i) % count for i in range(self._num_robots)]
        for data, qpos in zip(robots, self._engine.live("qpos")[worlds].cpu().numpy()):
            data.qpos[:] = qpos
        self._look_at(self._middle_m(), follow)
        if marks is not None:
            self._camera.azimuth, self._camera.elevation = AROUND_AZIMUTH_DEG, AROUND_ELEVATION_DEG
            self._camera.distance = AROUND * self._distance_m
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0  # shadows reach less far
        if self._ground is not None:
            self._ground.show(self._camera, self._context)
        for data, offset in zip(robots, self._offsets_m):
            data.qpos[:2] += offset
            mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, robots[0])
        mujoco.mjv_updateScene(self._model, robots[0], self._option, self._no_push, self._camera,
                               mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        for data in robots[1:]:
            mujoco.mjv_addGeoms(self._model, data, self._option, self._no_push, mujoco.mjtCatBit.mjCAT_DYNAMIC,
                                self._scene)
        if self._shadows is not None:
            for data in robots:
                self._shadows.add(data, self._option, self._no_push, self._scene)
        for world, offset in zip(worlds, self._offsets_m):
            for mark in () if marks is None else marks(world):
                self._add_mark(mark, offset)
        # A directional light's shadows reach only so far from its position: here it goes along with the camera.
        for light in self._scene.lights[:self._scene.nlight]:
            if not light.headlight:
                light.pos[:] = self._camera.lookat - 4.0 * np.asarray(light.dir)

    def _add_mark(self, mark: Mark, offset_m: np.ndarray) -> None:
        kind, position, size, rgba = mark
        if self._scene.ngeom < self._scene.maxgeom:
            geom = self._scene.geoms[self._scene.ngeom]
            mujoco.mjv_initGeom(geom, _MARKS[kind], size, np.add(position, [*offset_m, 0.0]), np.eye(3).flatten(), rgba)
            self._scene.ngeom += 1

    def _middle_m(self) -> np.ndarray:
        """What the camera looks at (3,) m. The median in a row of robots, because one that falls and starts anew
        elsewhere does not move it."""
        if self._look_height_m is None:
            return self._robots[0].qpos[:3].copy()
        middle = np.median([data.qpos[:2] for data in self._robots], axis=0) + self._offsets_m.mean(axis=0)
        return np.append(middle, self._look_height_m)

    def _look_at(self, target_m: np.ndarray, follow: int) -> None:
        last = self._lookat_m.get(follow, target_m)
        near = np.linalg.norm(target_m - last) < JUMP_M
        self._lookat_m[follow] = last + FOLLOW_GAIN * (target_m - last) if near else target_m
        self._camera.lookat[:] = self._lookat_m[follow]

    def close(self) -> None:
        """Free the OpenGL context; a second call does nothing."""
        self._free()


def _averaged(pixels: np.ndarray, scale: int) -> np.ndarray:
    """A picture (h, w, 3) uint8 of one that is `scale` = 1 or 2 times as large: the mean of each square of pixels."""
    if scale == 1:
        return pixels.copy()
    rows = np.add(pixels[0::2], pixels[1::2], dtype=np.uint16).reshape(len(pixels) // 2, -1)
    image = np.empty((len(rows), rows.shape[1] // 6, 3), np.uint8)
    for channel in range(3):
        image[..., channel] = (rows[:, channel::6] + rows[:, channel + 3::6]) // 4
    return image


def lanes(count: int, spacing_m: float) -> np.ndarray:
    """Offsets (count, 2) m, x and y, of robots side by side: the first in the middle, then right and left in turn.

    Those on the right, which are nearer to the camera, stay behind, so that the row crosses the picture.
    """
    index = np.arange(count)
    lane = (index + 1) // 2 * np.where(index % 2, -1, 1)
    return spacing_m * np.stack((0.25 * lane, lane), axis=1)


def _framed(model: mujoco.MjModel, width: int, height: int, shadow_reach_m: float) -> mujoco.MjModel:
    """A copy that draws frames of this size, and sharp shadows up to `shadow_reach_m` from where the camera looks."""
    framed: mujoco.MjModel = copy.copy(model)
    framed.vis.global_.offwidth, framed.vis.global_.offheight = width, height
    framed.vis.quality.shadowsize = 2048 if shadow_reach_m < 2.5 else 4096
    framed.vis.map.shadowclip = shadow_reach_m / model.stat.extent
    return framed


def _simplify(quality: Any, num_robots: int) -> None:
    """What a processor draws in a third of the time, at the price of edges that are not smoothed and, among many
    robots, of rounder things with corners that are hard to see."""
    quality.offsamples, quality.shadowsize = 0, 1024
    if num_robots > 2:
        quality.numslices, quality.numstacks, quality.numquads = 12, 6, 1
