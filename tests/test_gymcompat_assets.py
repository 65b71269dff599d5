"""How robot files become assets, and grounds heightfields."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymcompat_robots import CRAWLER, PENDULUM, WALKER, World, options, plane, sim_params

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api import gymapi, gymtorch, terrain_utils


def test_urdf_order_is_depth_first_with_siblings_by_joint_name(tmp_path: Path) -> None:
    """The file lists right, left, back, front, and each shin before its thigh."""
    asset = World(tmp_path, WALKER).asset
    legs = ("back", "front", "left", "right")
    assert asset.dof_names == [f"{leg}_{joint}" for leg in legs for joint in ("hip", "knee")]
    assert asset.body_names == ["trunk"] + [f"{leg}_{part}" for leg in legs for part in ("thigh", "shin", "foot")]
    assert World(tmp_path, WALKER, collapse_fixed_joints=False).asset.dof_names == asset.dof_names


def test_mjcf_order_is_the_files(tmp_path: Path) -> None:
    world = World(tmp_path, CRAWLER)
    assert world.asset.dof_names == ["zeta", "alpha"] and world.asset.body_names == ["torso", "zeta", "alpha"]


@pytest.mark.parametrize("text", [
    CRAWLER.replace('<geom type="sphere"', '<geom type="sphere" material="self"'),
    CRAWLER.replace("<worldbody>", '<default><geom material="self"/></default><worldbody>')])
def test_materials_that_an_mjcf_file_does_not_define_are_left_out(text: str, tmp_path: Path) -> None:
    """As in IsaacGymEnvs' nv_humanoid.xml."""
    assert World(tmp_path, text).asset.body_names == ["torso", "zeta", "alpha"]


def test_the_columns_of_the_dof_tensor_are_the_named_joints(tmp_path: Path) -> None:
    """Seen from the bodies: turning a knee by its name moves that leg's foot and no other."""
    world = World(tmp_path, WALKER, n=8, ground=False, params=sim_params(dt=1e-5, gravity=0.0))
    world.dof[torch.arange(8), torch.arange(8), 0] = 0.5
    world.set_dof()
    before = world.body.clone()
    world.step(1)
    moved = (world.body - before)[..., :3].norm(dim=-1) > 0.05
    for i, name in enumerate(world.asset.dof_names):
        leg, joint = name.split("_")
        expected = {f"{leg}_foot"} | ({f"{leg}_shin"} if joint == "hip" else set())
        assert {world.asset.body_names[b] for b in torch.nonzero(moved[i]).flatten()} == expected


def test_collapsing_merges_mass_shapes_and_inertia_and_spares_what_is_marked(tmp_path: Path) -> None:
    """Camera 0.5 kg at (0.2, 0, 0.1) joins the trunk's 6 kg; a lamp of 1e-6 kg joins both; the feet stay bodies."""
    asset = World(tmp_path, WALKER).asset
    trunk = asset.body_names.index("trunk")
    assert asset.mass[trunk] == pytest.approx(6.5, rel=1e-4)
    assert asset.com[trunk].tolist() == pytest.approx([0.5 * 0.2 / 6.5, 0, 0.5 * 0.1 / 6.5], rel=1e-4)
    reduced = 6.0 * 0.5 / 6.5  # two bodies about their common centre
    assert np.diag(asset.inertia[trunk]).tolist() == pytest.approx(
        [0.051 + reduced * 0.1**2, 0.051 + reduced * (0.1**2 + 0.2**2), 0.051 + reduced * 0.2**2], rel=1e-3)
    assert asset.inertia[trunk][0, 2] == pytest.approx(-reduced * 0.2 * 0.1, rel=1e-3)
    assert asset.shape_ranges[trunk].count == 2 and asset.num_shapes == 2 + 4 * 2
    whole = World(tmp_path, WALKER, collapse_fixed_joints=False).asset
    assert {"camera", "lamp"} <= set(whole.body_names)
    assert whole.mass.sum() == pytest.approx(asset.mass.sum(), rel=1e-4)


def test_links_without_inertia_get_it_from_their_shapes_and_the_density(tmp_path: Path) -> None:
    asset = World(tmp_path, WALKER, collapse_fixed_joints=False, density=2000.0).asset
    lamp = asset.body_names.index("lamp")
    assert asset.mass[lamp] == pytest.approx(2000.0 * 0.1**3)
    assert np.diag(asset.inertia[lamp]).tolist() == pytest.approx([2.0 * 0.1**2 / 6] * 3)


def test_cylinders_become_capsules_when_asked(tmp_path: Path) -> None:
    """As rough as the tips of a capsule of the same cylinder: it stands a radius higher on its end."""
    rod = """<robot name="rod"><link name="rod"><inertial><mass value="1"/>
      <inertia ixx="0.01" iyy="0.01" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial>
      <collision><geometry><cylinder radius="0.1" length="0.4"/></geometry></collision></link></robot>"""
    heights = []
    for capsule in (False, True):
        world = World(tmp_path, rod, n=1, height=0.32, replace_cylinder_with_capsule=capsule, filter_bits=0)
        world.step(100)
        heights.append(world.root[0, 2].item())
    assert heights == pytest.approx([0.2, 0.3], abs=0.01)


def test_armature_is_added_to_the_joints(tmp_path: Path) -> None:
    """A torque of 1 on a rod of inertia I about its pivot with armature a accelerates it by 1 / (I + a)."""
    for armature in (0.0, 0.5):
        world = World(tmp_path, PENDULUM, n=1, params=sim_params(gravity=0.0), fix_base_link=True, armature=armature)
        assert world.gym.get_asset_dof_properties(world.asset)["armature"][0] == armature
        world.effort(torch.ones(1))
        world.step(1)
        inertia = 0.02 + 2.0 * 0.5**2 + armature
        assert world.dof[0, 0, 1].item() == pytest.approx(0.005 / inertia, rel=1e-3)


def test_a_fixed_base_stays_and_a_free_one_falls(tmp_path: Path) -> None:
    fixed = World(tmp_path, PENDULUM, ground=False, fix_base_link=True)
    free = World(tmp_path, PENDULUM, ground=False)
    for world in (fixed, free):
        world.step(20)
    assert fixed.root[:, 2].tolist() == [1.0, 1.0] and (free.root[:, 2] < 0.99).all()


def test_a_fixed_base_can_be_set_elsewhere(tmp_path: Path) -> None:
    world = World(tmp_path, PENDULUM, n=3, ground=False, fix_base_link=True)
    world.root[1, :3] = torch.tensor([1.0, 2.0, 3.0])
    index = gymtorch.unwrap_tensor(torch.tensor([1], dtype=torch.int32))
    world.gym.set_actor_root_state_tensor_indexed(world.sim, gymtorch.unwrap_tensor(world.root), index, 1)
    world.step(1)
    assert world.root[:, :3].tolist() == [[0, 0, 1], [1, 2, 3], [0, 0, 1]]
    assert world.body[1, 0, :3].tolist() == [1, 2, 3]


def test_self_collision_is_off_with_filter_1_and_on_with_0(tmp_path: Path) -> None:
    """Two crossed arms, not parent and child: with filter 0 they push each other apart."""
    arms = """<mujoco><compiler angle="radian"/><worldbody><body name="base">
      <geom type="sphere" size="0.01" contype="0" conaffinity="0" mass="1"/>
      <body name="a" pos="0 -0.03 0"><joint name="a" axis="0 0 1"/>
        <geom type="capsule" fromto="0.1 0 0 0.5 0 0" size="0.04" mass="0.2"/></body>
      <body name="b" pos="0 0.03 0"><joint name="b" axis="0 0 1"/>
        <geom type="capsule" fromto="0.1 0 0 0.5 0 0" size="0.04" mass="0.2"/></body></body></worldbody></mujoco>"""
    for bits, moves in ((1, False), (0, True)):
        world = World(tmp_path, arms, ground=False, params=sim_params(gravity=0.0), filter_bits=bits)
        world.step(20)
        assert (world.dof[0, :, 1].abs().max().item() > 0.01) is moves


def test_mjcf_files_lose_floor_and_light_and_keep_passive_joints_and_actuator_data(tmp_path: Path) -> None:
    """The floor's material is not even defined. The joint's damping shows among the dof properties."""
    world = World(tmp_path, CRAWLER, ground=False, n=1)
    assert world.asset.num_shapes == 3
    world.step(400)
    assert world.root[0, 2].item() < -5, "there is no floor"
    assert world.gym.get_asset_actuator_properties(world.asset)[0].motor_effort == 15.0
    props = world.gym.get_asset_dof_properties(world.asset)
    assert props["damping"].tolist() == pytest.approx([0.2, 0.0])
    assert props["hasLimits"].tolist() == [True, False] and props["upper"][0] == pytest.approx(1.0)


def test_options_of_an_mjcf_file_are_left_out_silently(tmp_path: Path) -> None:
    """They are the simulation's, and MuJoCo warns of each that differs from it."""
    text = CRAWLER.replace("<worldbody>", '<option impratio="100" cone="elliptic" gravity="0 0 0"/><worldbody>')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world = World(tmp_path, text, ground=False, n=1)
    world.step(100)
    assert world.root[0, 2].item() < 0.0


def test_disable_gravity(tmp_path: Path) -> None:
    world = World(tmp_path, WALKER, disable_gravity=True, ground=False)
    world.step(20)
    assert world.root[:, 9].abs().max() < 1e-5


def stairs() -> np.ndarray:
    """30 × 20 samples of 5 mm: −0.3 m, but 0.2 m where x ≥ 1.5 m, and −0.05 m before that at small y."""
    samples = np.full((30, 20), -60, dtype=np.int16)
    samples[15:, :] = 40
    samples[:15, :5] = -10
    return samples


def terrain_sim(kind: str) -> Any:
    """A ball above each of three levels of the same terrain, whose corner lies at (−1, −2)."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    if kind == "heightfield":
        field = gymapi.HeightFieldParams()
        field.nbRows, field.nbColumns = 20, 30  # columns along x: the transposed names are Isaac Gym's
        field.row_scale = field.column_scale = 0.1
        field.vertical_scale, field.transform.p.x, field.transform.p.y = 0.005, -1.0, -2.0
        gym.add_heightfield(sim, stairs(), field)
    else:
        vertices, triangles = terrain_utils.convert_heightfield_to_trimesh(stairs(), 0.1, 0.005, 0.75)
        mesh = gymapi.TriangleMeshParams()
        mesh.nb_vertices, mesh.nb_triangles = len(vertices), len(triangles)
        mesh.transform.p.x, mesh.transform.p.y = -1.0, -2.0
        gym.add_triangle_mesh(sim, vertices.flatten(order="C"), triangles.flatten(order="C"), mesh)
    ball = gym.create_sphere(sim, 0.05, options(density=1000.0))
    for x, y in ((0.7, 1.2), (0.7, 0.2), (2.4, 1.2)):
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 3)
        gym.create_actor(env, ball, gymapi.Transform(p=gymapi.Vec3(x - 1.0, y - 2.0, 0.4)), "ball", 0, 0)
    gym.prepare_sim(sim)
    return gym, sim


@pytest.mark.parametrize("kind", ["heightfield", "trimesh"])
def test_balls_lie_on_the_terrain_where_its_samples_say(kind: str) -> None:
    gym, sim = terrain_sim(kind)
    root = gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))
    for _ in range(300):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    assert root[:, 2].tolist() == pytest.approx([-0.25, 0.0, 0.25], abs=0.01)


def test_a_terrain_is_stored_once_and_shared_by_all_worlds() -> None:
    """Not one of the worlds has heights, or anything of the ground, of its own."""
    _, sim = terrain_sim("trimesh")
    running = sim.running("test").groups[0]
    assert running.scene.model.hfield_data.size == 30 * 20
    own = running.engine.state_dict()
    assert "hfield_data" not in own["model"] and own["state"].shape[1] < 100


def test_a_plane_may_be_tilted() -> None:
    """On a plane of 30° a ball lies with its centre a radius above it, and rolls down."""
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params())
    ground = plane()
    ground.normal = gymapi.Vec3(math.sin(math.pi / 6), 0, math.cos(math.pi / 6))
    gym.add_ground(sim, ground)
    ball = gym.create_sphere(sim, 0.1, options(density=1000.0))
    env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    gym.create_actor(env, ball, gymapi.Transform(p=ground.normal * 0.1), "ball", 0, 0)
    gym.prepare_sim(sim)
    root = gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim))
    for _ in range(100):
        gym.simulate(sim)
    gym.refresh_actor_root_state_tensor(sim)
    distance = float(root[0, 0] * ground.normal.x + root[0, 2] * ground.normal.z)
    assert distance == pytest.approx(0.1, abs=0.005) and root[0, 7] > 0.5


def test_what_has_no_effect_is_said_when_the_simulation_is_prepared(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    World(tmp_path, WALKER, linear_damping=0.1)
    said = capsys.readouterr().err
    assert "linear damping of bodies with joints" in said and "velocity" not in said
    World(tmp_path, CRAWLER)
    assert "angular damping of bodies with joints (AssetOptions has 0.5" in capsys.readouterr().err
    World(tmp_path, CRAWLER, angular_damping=0.0)
    assert capsys.readouterr().err == ""


_BALL = ('<body name="b"><freejoint/><geom type="sphere" size=".1"{}/><body name="c"><joint name="j" axis="0 1 0"/>'
         '<geom type="sphere" size=".05" pos="0 0 .2"/>{}</body></body>')
_LENIENT = {
    "a material that is not defined, on a geom": ("", _BALL.format(' material="self"', "")),
    "a material that is not defined, in a default": (
        '<default><geom material="self"/></default>', _BALL.format("", "")),
    "an option that MuJoCo had once": ('<option apirate="200" timestep="0.01"/>', _BALL.format("", "")),
    "two joints of one name": ("", _BALL.format("", '<body name="d"><joint name="j" axis="1 0 0"/>'
                                                    '<geom type="sphere" size=".05"/></body>')),
    "a joint that its range locks": (
        "", _BALL.replace('name="j"', 'name="j" limited="true" range="0 0"').format("", "")),
    "a mesh for the eye that MuJoCo cannot open": (
        '<asset><mesh name="m" file="chassis.glb"/></asset>',
        _BALL.format("", '<geom type="mesh" mesh="m" contype="0" conaffinity="0"/>')),
    "a rotor for the eye, which turns and weighs nothing": (
        '<asset><mesh name="m" file="blade.glb"/></asset>',
        _BALL.format("", '<body name="rotor"><joint name="rotor" axis="0 0 1"/>'
                         '<geom type="mesh" mesh="m" contype="0" conaffinity="0"/></body>')),
    "an included file": ('<include file="more/shared.xml"/>', _BALL.format(' class="small"', "")),
}


@pytest.mark.parametrize("what", _LENIENT)
def test_mjcf_that_isaac_gyms_own_reader_takes_is_taken(what: str, tmp_path: Path) -> None:
    """All of these occur in the files that IsaacGymEnvs ships."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "shared.xml").write_text(
        '<mujoco><default><default class="small"><geom density="500"/></default></default></mujoco>')
    head, body = _LENIENT[what]
    world = World(tmp_path, f"<mujoco>{head}<worldbody>{body}</worldbody></mujoco>", 1)
    assert world.asset.body_names[:2] == ["b", "c"] and world.asset.num_shapes >= 2
    more = {"two joints of one name": ["j_1"], "a rotor for the eye, which turns and weighs nothing": ["rotor"]}
    assert world.asset.dof_names == ["j", *more.get(what, [])]
    density = 500.0 if what == "an included file" else 1000.0
    assert world.asset.mass[0] == pytest.approx(density * 4 / 3 * np.pi * 0.1**3)


def test_a_root_that_a_locked_joint_holds_floats(tmp_path: Path) -> None:
    """As the rotor craft of IsaacGymEnvs are written; a joint below that its range locks stays a joint."""
    lock = 'name="{}" limited="true" range="0 0"'
    text = ('<mujoco><worldbody><body name="b"><geom type="sphere" size=".1"/>'
            f'<joint {lock.format("root")}/><body name="c"><joint {lock.format("arm")}/>'
            '<geom type="sphere" size=".05" pos="0 0 .2"/></body></body></worldbody></mujoco>')
    asset = World(tmp_path, text, 1).asset
    assert asset.root_is_free and asset.dof_names == ["arm"]
    assert not World(tmp_path, text, 1, fix_base_link=True).asset.root_is_free


def test_a_mesh_that_a_body_collides_as_must_be_there(tmp_path: Path) -> None:
    body = _BALL.format("", '<geom type="mesh" mesh="m"/>')
    text = f'<mujoco><asset><mesh name="m" file="chassis.glb"/></asset><worldbody>{body}</worldbody></mujoco>'
    with pytest.raises(UserError, match=r"chassis\.glb"):
        World(tmp_path, text)
