"""Camera sensors: a ball of known size and place, seen in colour, depth and segmentation."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest
from gymcompat_robots import options, plane, sim_params

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api import gymapi, gymtorch


def scene() -> Tuple[Any, Any, Any, int]:
    """(gym, sim, env, camera): a red ball of 0.5 m at (2, 0, 1), seen along x from (0, 0, 1); 80 × 60 pixels, 90°."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, 0, gymapi.SIM_PHYSX, sim_params(gravity=0.0))
    gym.add_ground(sim, plane())
    gym.set_light_parameters(sim, 0, *(gymapi.Vec3(1, 1, 1) for _ in range(3)))
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    ball = gym.create_sphere(sim, 0.5, options())
    actor = gym.create_actor(env, ball, gymapi.Transform(gymapi.Vec3(2, 0, 1)), "ball", 0, 0, 3)
    gym.set_rigid_body_color(env, actor, 0, gymapi.MESH_VISUAL, gymapi.Vec3(1, 0, 0))
    gym.set_rigid_body_segmentation_id(env, actor, 0, 7)
    props = gymapi.CameraProperties()
    props.width, props.height, props.horizontal_fov, props.far_plane = 80, 60, 90.0, 50.0
    camera = gym.create_camera_sensor(env, props)
    gym.set_camera_location(camera, env, gymapi.Vec3(0, 0, 1), gymapi.Vec3(1, 0, 1))
    gym.prepare_sim(sim)
    gym.simulate(sim)
    gym.step_graphics(sim)
    gym.render_all_camera_sensors(sim)  # draws nothing: nobody holds a tensor
    return gym, sim, env, camera


def image(gym: Any, sim: Any, env: Any, camera: int, kind: Any) -> np.ndarray:
    try:
        made: np.ndarray = gym.get_camera_image(sim, env, camera, kind)
    except UserError as error:
        if "OpenGL" not in str(error):
            raise
        pytest.skip(str(error))
    return made


def test_colour_depth_and_segmentation_of_a_ball() -> None:
    """Its nearest point is 1.5 m away, 0.5 / √(4 − 0.25) of a half width is its half width, and the ground is below."""
    gym, sim, env, camera = scene()
    color = image(gym, sim, env, camera, gymapi.IMAGE_COLOR)
    assert color.shape == (60, 320) and color.dtype == np.uint8
    pixels = color.reshape(60, 80, 4)
    assert (pixels[..., 3] == 255).all() and pixels[30, 40, 0] > 2 * pixels[30, 40, 1], "red in the middle"
    depth = image(gym, sim, env, camera, gymapi.IMAGE_DEPTH)
    assert depth[30, 40] == pytest.approx(-1.5, abs=0.01) and depth[0, 0] == -np.inf
    row = 59  # whose centre is 29.5 / 40 of a unit below the axis at 1 m: the ground is 1 m below
    assert depth[row, 2] == pytest.approx(-40 / 29.5, rel=0.02)
    segments = image(gym, sim, env, camera, gymapi.IMAGE_SEGMENTATION)
    assert set(np.unique(segments)) == {0, 7}
    half_width = (segments[30] == 7).sum() / 2
    assert half_width == pytest.approx(40 * 0.5 / np.sqrt(4 - 0.25), abs=1.0)


def test_tensors_are_written_when_all_cameras_render_and_attached_cameras_go_along() -> None:
    gym, sim, env, camera = scene()
    image(gym, sim, env, camera, gymapi.IMAGE_DEPTH)
    tensor = gymtorch.wrap_tensor(gym.get_camera_image_gpu_tensor(sim, env, camera, gymapi.IMAGE_DEPTH))
    assert not tensor.any()
    gym.render_all_camera_sensors(sim)
    assert float(tensor[30, 40]) == pytest.approx(-1.5, abs=0.01)
    gym.attach_camera_to_body(camera, env, 0, gymapi.Transform(gymapi.Vec3(-1, 0, 0)), gymapi.FOLLOW_TRANSFORM)
    assert list(gym.get_camera_transform(sim, env, camera).p) == pytest.approx([1, 0, 1])
    gym.set_rigid_transform(env, 0, gymapi.Transform(gymapi.Vec3(5, 1, 1)))
    gym.simulate(sim)
    gym.start_access_image_tensors(sim)
    gym.render_all_camera_sensors(sim)
    gym.end_access_image_tensors(sim)
    assert float(tensor[30, 40]) == pytest.approx(-0.5, abs=0.01), "1 m from the centre, wherever the ball is"


def test_a_point_through_view_and_projection_lands_on_its_pixel() -> None:
    gym, sim, env, camera = scene()
    point = np.array([2.0, 0.5, 1.25, 1.0]) @ gym.get_camera_view_matrix(sim, env, camera)
    assert point[:3].tolist() == pytest.approx([-0.5, 0.25, -2.0]), "half a metre to the left is −x, ahead is −z"
    clip = point @ gym.get_camera_proj_matrix(sim, env, camera)
    assert (clip[:2] / clip[3]).tolist() == pytest.approx([-0.25, 0.125 * 80 / 60])
    with pytest.raises(UserError, match="camera handle 5"):
        gym.get_camera_view_matrix(sim, env, 5)
    gym.destroy_camera_sensor(sim, env, camera)
    with pytest.raises(UserError, match="0 cameras"):
        gym.set_camera_transform(camera, env, gymapi.Transform())
