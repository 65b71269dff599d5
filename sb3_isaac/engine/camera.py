"""Pictures from anywhere in a world: colour, depth, and which geom each pixel shows."""

from __future__ import annotations

import copy
import math
import weakref
from typing import Any, Dict, Sequence

import mujoco
import numpy as np

from sb3_isaac.engine.gl import close_context, make_current, open_context, open_gl


class CameraRenderer:
    """Draws one model, offscreen, in frames of one size.

    :raises UserError: where no OpenGL library works.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self._model: mujoco.MjModel = copy.copy(model)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        self._option, self._rect = mujoco.MjvOption(), mujoco.MjrRect(0, 0, width, height)
        self._gl = open_gl(width, height)
        self._context = open_context(self._model, height)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._free = weakref.finalize(self, close_context, self._gl, self._context)
        self._free.atexit = type(self._gl).__module__ == "mujoco.osmesa"

    def draw(self, data: mujoco.MjData, position_m: Sequence[float], forward: Sequence[float], up: Sequence[float],
             horizontal_fov_deg: float, near_m: float, far_m: float) -> Dict[str, np.ndarray]:
        """``color`` (H, W, 3) uint8, ``depth`` (H, W) float32 m along `forward`, ``geom`` (H, W) int32, −1 for none.

        :param data: its kinematics are computed.
        """
        mujoco.mj_camlight(self._model, data)
        mujoco.mjv_updateScene(self._model, data, self._option, mujoco.MjvPerturb(), mujoco.MjvCamera(),
                               mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        top = near_m * math.tan(math.radians(horizontal_fov_deg) / 2) * self._rect.height / self._rect.width
        for eye in self._scene.camera:
            eye.pos, eye.forward, eye.up = position_m, forward, up
            eye.frustum_bottom, eye.frustum_top, eye.frustum_center = -top, top, 0.0
            eye.frustum_width, eye.frustum_near, eye.frustum_far = 0.0, near_m, far_m
        make_current(self._gl)
        color, flags = self._pixels(), self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        depth = np.empty((self._rect.height, self._rect.width), np.float32)
        marks = self._pixels(depth).astype(np.int32)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        return {"color": color, "depth": _distance(depth[::-1], near_m, far_m), "geom": self._geoms(marks)}

    def _pixels(self, depth: Any = None) -> np.ndarray:
        pixels = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, depth, self._rect, self._context)
        return np.ascontiguousarray(pixels[::-1])  # OpenGL's rows go up

    def _geoms(self, marks: np.ndarray) -> np.ndarray:
        """The model's geoms of pixels (H, W, 3) that are coloured by the scene's."""
        ids = np.full(self._scene.ngeom + 1, -1, dtype=np.int32)
        for geom in self._scene.geoms[:self._scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                ids[geom.segid + 1] = geom.objid
        shown: np.ndarray = ids[marks[..., 0] + (marks[..., 1] << 8) + (marks[..., 2] << 16)]
        return shown

    def close(self) -> None:
        """Free the OpenGL context; a second call does nothing."""
        self._free()


def _distance(buffer: np.ndarray, near_m: float, far_m: float) -> np.ndarray:
    """Metres of a depth buffer whose 1 is near and 0 far: z = near · far / (near + b (far − near))."""
    metres: np.ndarray = near_m * far_m / (near_m + buffer.astype(np.float64) * (far_m - near_m))
    return metres.astype(np.float32)
