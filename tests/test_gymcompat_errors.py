"""Mistakes of a client end in one sentence that names the call and the argument; what is not emulated says so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from gymcompat_robots import PENDULUM, WALKER, World, options, plane, sim_params

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api import gymapi, gymtorch, unsupported
from sb3_isaac.gymcompat.api.gym import Gym
from sb3_isaac.gymcompat.runtime import settings


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, WALKER)


def refused(call: Callable[..., Any], *args: Any, names: str, error: Any = UserError) -> str:
    """The sentence of the error, which starts with the call and names what was wrong."""
    with pytest.raises(error) as caught:
        call(*args)
    text = str(caught.value)
    assert names in text and "\n" not in text and text.endswith("."), text
    return text


def test_missing_files_meshes_and_extensions(world: World, tmp_path: Path) -> None:
    load = world.gym.load_asset
    text = refused(load, world.sim, str(tmp_path), "nothing.urdf", options(), names="nothing.urdf")
    assert text.startswith("load_asset")
    mesh = tmp_path / "mesh.urdf"
    mesh.write_text('<robot name="r"><link name="hull"><collision><geometry><mesh filename="package://r/hull.stl"/>'
                    "</geometry></collision></link></robot>")
    assert "'hull'" in refused(load, world.sim, str(tmp_path), "mesh.urdf", options(), names="package://r/hull.stl")
    (tmp_path / "hull.dae").write_text("")
    mesh.write_text(mesh.read_text().replace("package://r/hull.stl", "hull.dae"))
    refused(load, world.sim, str(tmp_path), "mesh.urdf", options(), names="STL or OBJ")
    (tmp_path / "robot.usd").write_text("")
    refused(load, world.sim, str(tmp_path), "robot.usd", options(), names=".usd")


def test_meshes_are_found_beside_the_file_in_the_root_and_in_ros_packages(world: World, tmp_path: Path) -> None:
    """A tetrahedron as OBJ, named in three ways."""
    (tmp_path / "pkg" / "urdf").mkdir(parents=True)
    (tmp_path / "pkg" / "meshes").mkdir()
    (tmp_path / "pkg" / "meshes" / "t.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    for name in ("../meshes/t.obj", "meshes/t.obj", "package://pkg/meshes/t.obj"):
        (tmp_path / "pkg" / "urdf" / "t.urdf").write_text(
            f'<robot name="t"><link name="t"><inertial><mass value="2"/><inertia ixx="1" iyy="1" izz="1"/></inertial>'
            f'<collision><geometry><mesh filename="{name}" scale="0.1 0.1 0.1"/></geometry></collision></link></robot>')
        asset = world.gym.load_asset(world.sim, str(tmp_path / "pkg"), "urdf/t.urdf", options())
        assert asset.num_shapes == 1 and asset.mass[0] == 2.0


def test_broken_urdf(world: World, tmp_path: Path) -> None:
    def load(text: str, names: str) -> None:
        (tmp_path / "broken.urdf").write_text(text)
        refused(world.gym.load_asset, world.sim, str(tmp_path), "broken.urdf", options(), names=names)

    load("<robot>", "cannot be read as URDF")
    load("<robot/>", "0 root links")
    load('<robot><link name="a"/><link name="b"/></robot>', "2 root links")
    joint = ('<robot><link name="a"/><link name="b"/><joint name="j" type="{}"><parent link="a"/><child link="{}"/>'
             "</joint></robot>")
    load(joint.format("revolute", "c"), "'c'")
    load(joint.format("planar", "b"), "'planar'")


def test_a_name_that_does_not_exist_is_minus_one(world: World) -> None:
    """Programs ask whether a part is there; ``INVALID_HANDLE`` says no, in every domain."""
    env, gym = world.envs[1], world.gym
    assert gym.find_actor_dof_handle(env, 0, "left_hipp") == -1 == gymapi.INVALID_HANDLE
    assert gym.find_actor_rigid_body_index(env, 0, "lef_foot", gymapi.DOMAIN_SIM) == -1
    assert gym.find_asset_dof_index(world.asset, "x") == gym.find_asset_rigid_body_index(world.asset, "x") == -1
    assert gym.find_actor_handle(env, "nobody") == gym.find_actor_index(env, "nobody", gymapi.DOMAIN_SIM) == -1
    refused(gym.get_actor_dof_properties, env, 7, names="get_actor_dof_properties: actor handle 7")


def test_index_tensors_must_be_int32_of_existing_actors(world: World) -> None:
    call, root = world.gym.set_actor_root_state_tensor_indexed, gymtorch.unwrap_tensor(world.root)

    def index(values: Any, dtype: torch.dtype = torch.int32) -> Any:
        return gymtorch.unwrap_tensor(torch.tensor(values, dtype=dtype))

    text = refused(call, world.sim, root, index([0], torch.int64), 1, names="torch.int64")
    assert text.startswith("set_actor_root_state_tensor_indexed") and "torch.int32" in text
    refused(call, world.sim, root, index([5]), 1, names="5")
    refused(call, world.sim, root, index([0, 1]), 3, names="3 indices")
    refused(call, world.sim, root, torch.zeros(1, dtype=torch.int32), 1, names="unwrap_tensor")
    call(world.sim, root, index([]), 0)


def test_state_tensors_must_have_all_rows_of_float32_on_the_cpu(world: World) -> None:
    gym, unwrap = world.gym, gymtorch.unwrap_tensor
    text = refused(gym.set_dof_state_tensor, world.sim, unwrap(torch.zeros(3, 2)), names="(3, 2)")
    assert text.startswith("set_dof_state_tensor") and "(16, 2)" in text
    refused(gym.set_actor_root_state_tensor, world.sim, unwrap(torch.zeros(13, 2)), names="(2, 13)")
    refused(gym.set_dof_actuation_force_tensor, world.sim, unwrap(torch.zeros(5)), names="(5,)")
    refused(gym.set_dof_state_tensor, world.sim, unwrap(torch.zeros(16, 2).double()), names="torch.float64")
    refused(gym.set_dof_state_tensor, world.sim, unwrap(torch.zeros(16, 2, device="meta")), names="meta")
    refused(gymtorch.unwrap_tensor, torch.zeros(4, 2).T, names="contiguous")
    refused(gymtorch.wrap_tensor, torch.zeros(2), names="acquire_")


def test_nothing_is_added_after_prepare_sim_and_nothing_prepared_without_actors(world: World) -> None:
    gym = world.gym
    refused(gym.create_env, world.sim, gymapi.Vec3(), gymapi.Vec3(), 1, names="create_env: the simulation is prepared")
    refused(gym.create_actor, world.envs[0], world.asset, gymapi.Transform(), "a", 0, 0, names="create_actor")
    refused(gym.add_ground, world.sim, plane(), names="add_ground")
    empty = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    refused(gym.prepare_sim, empty, names="prepare_sim")


def test_a_cuda_pipeline_is_refused_with_a_hint_or_runs_on_the_cpu_when_chosen() -> None:
    params = sim_params()
    params.use_gpu_pipeline = True
    gym = gymapi.acquire_gym()
    text = refused(gym.create_sim, 0, -1, gymapi.SIM_PHYSX, params, names="use_gpu_pipeline")
    assert "--cuda-to-cpu" in text
    before = settings.current()
    settings.use(settings.Settings(cuda_to_cpu=True))
    try:
        assert gym.create_sim(0, -1, gymapi.SIM_PHYSX, params) is not None
    finally:
        settings.use(before)


def test_wrong_parameters(world: World, tmp_path: Path) -> None:
    gym = world.gym
    for dt, substeps in ((0.0, 1), (0.01, 0)):
        params = sim_params(dt=0.01)
        params.dt, params.substeps = dt, substeps
        refused(gym.create_sim, 0, -1, gymapi.SIM_PHYSX, params, names="create_sim: params.dt")
    changed = gym.get_sim_params(world.sim)
    changed.dt = 0.1
    refused(gym.set_sim_params, world.sim, changed, names="set_sim_params")
    refused(gym.set_actor_dof_properties, world.envs[0], 0, np.zeros(3), names="8 joints")
    refused(gym.set_actor_rigid_body_properties, world.envs[0], 0, [], names="bodies")
    refused(gym.set_asset_rigid_shape_properties, world.asset, [], names="shapes")
    props = gym.get_actor_rigid_body_properties(world.envs[0], 0)
    props[0].mass = -1.0
    refused(gym.set_actor_rigid_body_properties, world.envs[0], 0, props, names="'trunk'")
    refused(gym.prepare_sim, "sim", names="prepare_sim: sim is a str")
    field = gymapi.HeightFieldParams()
    field.nbRows, field.nbColumns = 3, 4
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    refused(gym.add_heightfield, sim, np.zeros((4, 4), np.int16), field, names="add_heightfield")
    refused(gym.add_triangle_mesh, sim, np.zeros(30, np.float32), np.zeros(9, np.uint32), gymapi.TriangleMeshParams(),
            names="add_triangle_mesh")
    with pytest.raises(AttributeError, match="has no attribute 'frictoin'"):
        gymapi.PlaneParams().frictoin = 1.0
    with pytest.raises(TypeError, match="takes a Vec3"):
        gymapi.Transform().p = 1.0


def test_what_is_not_emulated_says_so_and_what_does_not_exist_is_an_attribute_error(world: World) -> None:
    gym = world.gym
    for name, hint in (("draw_env_rigid_contacts", "contact"), ("set_dof_target_position", "position_target_tensor"),
                       ("create_cloth_grid", "soft bodies"), ("export_usd_sim", "URDF or MJCF")):
        text = refused(getattr(gym, name), world.sim, names=f"gym.{name} is not emulated", error=NotImplementedError)
        assert hint in text
    refused(gym.create_sim, 0, 0, gymapi.SIM_FLEX, sim_params(), names="SIM_FLEX", error=NotImplementedError)
    with pytest.raises(AttributeError, match="no method 'simulat'"):
        gym.simulat(world.sim)
    assert not hasattr(gymapi, "SoftMaterial") and not hasattr(gymapi, "Nonsense")
    with pytest.raises(NotImplementedError, match="SoftMaterial"):
        _ = gymapi.SoftMaterial


def test_advice_is_of_calls_that_there_are() -> None:
    """And no advice is left of what is emulated by now."""
    absent = [name for name in unsupported._NAMES if name not in dir(Gym)]
    given = {unsupported.advice(name) for name in absent}
    for _, text in unsupported._ADVICE:
        assert text in given, text
        assert set(re.findall(r"[a-z]+(?:_[a-z]+)+", text)) <= set(dir(Gym)), text


def test_drive_modes_cannot_appear_after_prepare_sim(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, fix_base_link=True)
    props = world.gym.get_actor_dof_properties(world.envs[0], 0)
    props["driveMode"] = gymapi.DOF_MODE_POS
    world.gym.set_actor_dof_properties(world.envs[0], 0, props)
    refused(world.gym.simulate, world.sim, names="set_actor_dof_properties", error=NotImplementedError)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display always")
def test_a_viewer_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the display of whoever runs the tests."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, 0, gymapi.SIM_PHYSX, gymapi.SimParams())
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    gym.create_actor(env, gym.create_sphere(sim, 0.1), gymapi.Transform(), "ball", 0, 0)
    with pytest.raises(UserError, match="no display"):
        gym.create_viewer(sim, gymapi.CameraProperties())
