"""Camera sensors: where they are, and the pictures they take, which are drawn when somebody wants them."""

from __future__ import annotations

import math
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch

from sb3_isaac.engine.camera import CameraRenderer
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.urdf_spec import quat_wxyz
from sb3_isaac.gymcompat.runtime.group import Group
from sb3_isaac.gymcompat.types.enums import CameraFollowMode, ImageType
from sb3_isaac.gymcompat.types.structs import CameraProperties
from sb3_isaac.gymcompat.types.values import Quat, Transform, Vec3

_FAR_M = 1000.0
"""The far plane at most: a depth buffer has 24 bits."""


class Camera:
    """A camera of an environment. It looks along its own x, with z up.

    ========== ================= =======================================================================
    attribute  shape             what
    ========== ================= =======================================================================
    pose       Transform         in the environment's frame, or in that of the body it is attached to
    body       int or None       the body's handle
    tensors    by kind of image  what programs hold of its pictures: written when they are rendered
    ========== ================= =======================================================================
    """

    def __init__(self, env: Env, props: CameraProperties) -> None:
        self.env, self.props = env, props.copy()
        self.pose, self.body, self.turns = Transform(), None, True
        self.tensors: Dict[int, torch.Tensor] = {}
        self._images: Tuple[int, Dict[str, np.ndarray]] = (-1, {})

    body: Optional[int]

    def look(self, position: Vec3, target: Vec3, up: Vec3) -> None:
        """Stand at `position` and look at `target`, m."""
        forward = (target - position).normalize()
        left = up.cross(forward)
        left = left.normalize() if left.length() > 1e-6 else Vec3(0, 1, 0)
        rows = np.array([list(forward), list(left), list(forward.cross(left))]).T
        self.pose = Transform(position, _quat(rows))

    def attach(self, body: int, pose: Transform, mode: int) -> None:
        """Go along with a body, and turn with it if `mode` says so."""
        self.body, self.pose, self.turns = int(body), pose.copy(), mode == CameraFollowMode.FOLLOW_TRANSFORM

    def where(self) -> Transform:
        """The pose in the environment's frame, now."""
        if self.body is None:
            return self.pose.copy()
        group, row = self.env.sim.running("camera").at(self.env)
        group.states.to_present()
        place = group.states.bodies()[row, self.body].tolist()
        body = Transform(Vec3(*place[:3]), Quat(*place[3:7]))
        if self.turns:
            made: Transform = body * self.pose
            return made
        return Transform(body.p + self.pose.p, self.pose.r)

    def view_matrix(self) -> np.ndarray:
        """(4, 4) from the environment's frame to the camera's: x right, y up, z back; rows times it, as OpenGL has it
        in memory."""
        place = self.where()
        right, up, back = (list(place.r.rotate(axis)) for axis in (Vec3(0, -1, 0), Vec3(0, 0, 1), Vec3(-1, 0, 0)))
        view = np.eye(4, dtype=np.float32)
        view[:3, 0], view[:3, 1], view[:3, 2] = right, up, back
        view[3, :3] = -np.array(list(place.p)) @ view[:3, :3]
        return view

    def projection_matrix(self) -> np.ndarray:
        """(4, 4), for rows as ``view_matrix``."""
        props, across = self.props, 1.0 / math.tan(math.radians(self.props.horizontal_fov) / 2)
        near, far = props.near_plane, props.far_plane
        return np.array([[across, 0, 0, 0], [0, across * props.width / props.height, 0, 0],
                         [0, 0, -far / (far - near), -1], [0, 0, -far * near / (far - near), 0]], dtype=np.float32)

    def image(self, kind: int, renderers: "Renderers") -> np.ndarray:
        """Colour (H, W, 4) uint8, depth (H, W) float32: −m along the view, −inf where there is nothing, or
        segmentation (H, W) int32."""
        frame = self.env.sim.frames
        if self._images[0] != frame:
            self._images = frame, renderers.draw(self)
        images = self._images[1]
        if kind == ImageType.IMAGE_COLOR:
            return np.concatenate([images["color"], np.full_like(images["color"][..., :1], 255)], axis=-1)
        if kind == ImageType.IMAGE_DEPTH:
            nothing = images["depth"] >= 0.99 * min(self.props.far_plane, _FAR_M)
            return np.where(nothing, -np.inf, -images["depth"]).astype(np.float32)
        return renderers.segmentation(self, images["geom"])

    def moved(self) -> None:
        """What was drawn is of another place."""
        self._images = (-1, {})

    def fill(self, renderers: "Renderers") -> None:
        """Write new pictures into the tensors that programs hold."""
        for kind, tensor in self.tensors.items():
            tensor.copy_(torch.from_numpy(self.image(kind, renderers)))


class Renderers:
    """One renderer for each model and size of picture, made when it is needed."""

    def __init__(self) -> None:
        self._made: Dict[Any, CameraRenderer] = {}

    def draw(self, camera: Camera) -> Dict[str, np.ndarray]:
        """The pictures that a camera sees now."""
        props = camera.props
        group, row = camera.env.sim.running("camera").at(camera.env)
        key = (id(group), props.width, props.height)
        if key not in self._made:
            _paint(group)
            self._made[key] = CameraRenderer(group.scene.model, props.width, props.height)
        place = camera.where()
        near, far = max(props.near_plane, 1e-3), min(props.far_plane, _FAR_M)
        return self._made[key].draw(group.engine.mj_data(row), list(place.p), list(place.r.rotate(Vec3(1, 0, 0))),
                                    list(place.r.rotate(Vec3(0, 0, 1))), props.horizontal_fov, near, far)

    @staticmethod
    def segmentation(camera: Camera, geoms: np.ndarray) -> np.ndarray:
        """(H, W) int32 numbers of the bodies that pixels show, 0 for the ground and for nothing."""
        group, row = camera.env.sim.running("camera").at(camera.env)
        numbers = np.zeros(group.scene.model.nbody + 1, dtype=np.int32)
        numbers[group.scene.bodies] = np.concatenate([a.segmentation for a in group.envs[row].actors])
        body = np.where(geoms >= 0, group.scene.model.geom_bodyid[geoms], group.scene.model.nbody)
        shown: np.ndarray = numbers[body]
        return shown

    def close(self) -> None:
        """Free all."""
        for renderer in self._made.values():
            renderer.close()
        self._made.clear()


def _paint(group: Group) -> None:
    """The colours of the first environment's bodies."""
    bodies = iter(group.scene.bodies)
    model = group.scene.model
    for actor in group.envs[0].actors:
        for i, body in enumerate([next(bodies) for _ in actor.asset.body_names]):
            if i in actor.colors:
                model.geom_rgba[model.geom_bodyid == body, :3] = actor.colors[i]


def _quat(rows: np.ndarray) -> Quat:
    w, x, y, z = quat_wxyz(rows).tolist()
    return Quat(x, y, z, w)
