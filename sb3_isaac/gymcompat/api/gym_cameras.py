"""Gym's calls about camera sensors and lights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api.gym_assets import checked
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.runtime.cameras import Camera
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import ImageType
from sb3_isaac.gymcompat.types.structs import CameraProperties, Tensor
from sb3_isaac.gymcompat.types.values import Transform, Vec3


def _camera(call: str, env: Env, handle: int) -> Camera:
    cameras = checked(call, "env", env, Env).cameras
    if handle not in cameras:
        raise UserError(f"{call}: camera handle {handle!r} does not exist in environment {env.index}: it has "
                        f"{len(cameras)} cameras; create_camera_sensor gives their handles.")
    found: Camera = cameras[handle]
    return found


class CameraCalls:
    """A camera draws when a picture of it is read, or by ``render_all_camera_sensors`` where a program holds a tensor.

    Every camera sees its own environment alone, from one side of which the simulation's grounds are there too.
    """

    def create_camera_sensor(self, env: Env, props: CameraProperties) -> int:
        """A camera at the environment's origin that looks along x; its handle."""
        cameras = checked("create_camera_sensor", "env", env, Env).cameras
        handle = max(cameras, default=-1) + 1
        cameras[handle] = Camera(env, checked("create_camera_sensor", "props", props, CameraProperties))
        return handle

    def destroy_camera_sensor(self, sim: Sim, env: Env, handle: int) -> None:
        """Forget it."""
        _camera("destroy_camera_sensor", env, handle)
        del env.cameras[handle]

    def set_camera_location(self, handle: int, env: Env, position: Vec3, target: Vec3) -> None:
        """Stand at `position` and look at `target`, m, in the environment's frame."""
        gravity, camera = env.sim.params.gravity, _camera("set_camera_location", env, handle)
        camera.body = None
        camera.look(position, target, gravity * -1.0 if gravity.length() else Vec3(0, 0, 1))
        camera.moved()

    def set_camera_transform(self, handle: int, env: Env, transform: Transform) -> None:
        """Stand in this pose; the camera looks along its x, with z up."""
        camera = _camera("set_camera_transform", env, handle)
        camera.body, camera.pose = None, transform.copy()
        camera.moved()

    def attach_camera_to_body(self, handle: int, env: Env, body: int, transform: Transform, mode: int) -> None:
        """Go along with a body."""
        env.body("attach_camera_to_body", body)
        _camera("attach_camera_to_body", env, handle).attach(body, transform, mode)

    def get_camera_transform(self, sim: Sim, env: Env, handle: int) -> Transform:
        """Where it is."""
        return _camera("get_camera_transform", env, handle).where()

    def get_camera_view_matrix(self, sim: Sim, env: Env, handle: int) -> np.ndarray:
        """See ``Camera.view_matrix``."""
        return _camera("get_camera_view_matrix", env, handle).view_matrix()

    def get_camera_proj_matrix(self, sim: Sim, env: Env, handle: int) -> np.ndarray:
        """See ``Camera.projection_matrix``."""
        return _camera("get_camera_proj_matrix", env, handle).projection_matrix()

    def get_camera_image(self, sim: Sim, env: Env, handle: int, kind: ImageType) -> np.ndarray:
        """Colour (H, 4 W) uint8; depth (H, W) float32, −m; segmentation (H, W) int32; of the present state."""
        image = _camera("get_camera_image", env, handle).image(_drawn("get_camera_image", kind), sim.renderers)
        return image.reshape(image.shape[0], -1)

    def get_camera_image_gpu_tensor(self, sim: Sim, env: Env, handle: int, kind: ImageType) -> Tensor:
        """The picture as a tensor, colour as (H, W, 4), which ``render_all_camera_sensors`` writes anew."""
        camera = _camera("get_camera_image_gpu_tensor", env, handle)
        image, size = _drawn("get_camera_image_gpu_tensor", kind), (camera.props.height, camera.props.width)
        if image not in camera.tensors:
            dtype = {int(ImageType.IMAGE_COLOR): torch.uint8, int(ImageType.IMAGE_DEPTH): torch.float32}
            shape = (*size, 4) if image == ImageType.IMAGE_COLOR else size
            camera.tensors[image] = torch.zeros(shape, dtype=dtype.get(image, torch.int32))
        return Tensor(camera.tensors[image])

    def render_all_camera_sensors(self, sim: Sim) -> None:
        """Write the pictures of all cameras of which somebody holds a tensor."""
        for env in sim.envs:
            for camera in env.cameras.values():
                camera.fill(sim.renderers)

    def start_access_image_tensors(self, sim: Sim) -> None:
        """Tensors can be read at any time here."""

    def end_access_image_tensors(self, sim: Sim) -> None:
        """See ``start_access_image_tensors``."""

    def write_camera_image_to_file(self, sim: Sim, env: Env, handle: int, kind: ImageType, filename: str) -> None:
        """A colour picture as PNG."""
        from matplotlib.image import imsave

        if kind != ImageType.IMAGE_COLOR:
            raise NotImplementedError("write_camera_image_to_file: only colour pictures are written: read others with "
                                      "get_camera_image.")
        imsave(str(filename), _camera("write_camera_image_to_file", env, handle).image(int(kind), sim.renderers))

    def set_light_parameters(self, sim: Sim, index: int, intensity: Vec3, ambient: Vec3, direction: Vec3) -> None:
        """Pictures have a light at the camera: this one is noted and changes nothing."""


def _drawn(call: str, kind: Any) -> int:
    if kind == ImageType.IMAGE_OPTICAL_FLOW:
        raise NotImplementedError(f"{call}: IMAGE_OPTICAL_FLOW is not drawn here: take colour, depth or segmentation.")
    return int(ImageType(kind))
