"""Ground of moving planes: which spheres stand for a robot, and that they touch as its geoms did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sb3_isaac.robots import get_robot
from sb3_isaac.sim import make_simulator
from sb3_isaac.terrain.heightfield import Heightfield

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.engine.ground_planes import point_pairs, points_of  # noqa: E402
from sb3_isaac.sim.mujoco import MujocoSimulator  # noqa: E402
from sb3_isaac.sim.scene import compose_scene  # noqa: E402

LEVEL = Heightfield(np.zeros((3, 3)), (1.0, 1.0), (-1.0, -1.0, 0.0))
SHAPES = """<mujoco><worldbody><body>
  <geom type="sphere" size="0.2" pos="0 0 1"/>
  <geom type="capsule" size="0.1" fromto="0 0 0 0.6 0 0"/>
  <geom type="cylinder" size="0.1 0.3"/>
  <geom type="cylinder" size="0.1 0.02"/>
  <geom type="box" size="0.1 0.2 0.3" pos="0 0 1"/>
</body></worldbody></mujoco>"""


def test_points_of_each_shape() -> None:
    model = mujoco.MjModel.from_xml_string(SHAPES)
    sphere, capsule, rod, disc, box = ([*points_of(model, geom)] for geom in range(model.ngeom))
    assert [radius for _, radius in sphere + capsule + rod + disc] == pytest.approx([0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(sphere[0][0], [0, 0, 1])
    assert sorted(round(float(point[0]), 6) for point, _ in capsule) == [0.0, 0.6]
    assert sorted(round(float(point[2]), 6) for point, _ in rod) == [-0.2, 0.2], "its spheres end where it ends"
    np.testing.assert_allclose(disc[0][0], 0.0, atol=1e-9)
    reach = np.array([np.abs(point - [0, 0, 1]) + radius for point, radius in box])
    np.testing.assert_allclose(reach, np.tile([0.1, 0.2, 0.3], (8, 1)), atol=1e-9)
    assert len({tuple(np.round(point, 6)) for point, _ in box}) == 8


@pytest.mark.parametrize("name", ["quadruped", "g1"])
def test_every_point_has_a_plane_and_nothing_else_touches(name: str) -> None:
    robot = get_robot(name)
    plain, model = compose_scene(robot, 0.01), compose_scene(robot, 0.01, ground=LEVEL, planes=True)
    points, planes = point_pairs(model)
    assert len(set(points)) == len(set(planes)) == model.npair
    assert set(model.geom_type[points]) == {int(mujoco.mjtGeom.mjGEOM_SPHERE)}
    assert set(model.geom_type[planes]) == {int(mujoco.mjtGeom.mjGEOM_PLANE)}
    assert not model.geom_contype.any() and not model.geom_conaffinity.any()
    touching = {int(plain.geom_bodyid[g]) for g in range(plain.ngeom) if plain.geom_conaffinity[g]} - {0}
    assert {int(body) for body in model.geom_bodyid[points]} == touching
    np.testing.assert_array_equal(model.body_mass, plain.body_mass)
    np.testing.assert_array_equal(model.body_inertia, plain.body_inertia)


def test_robots_stand_on_planes_as_on_a_plane_and_friction_is_theirs() -> None:
    robot = get_robot("quadruped")
    pose = torch.tensor(robot.default_joint_pos).repeat(2, 1)
    start, level = torch.tensor([[0.0, 0.0, robot.base_height_m]] * 2), torch.tensor([[1.0, 0, 0, 0]] * 2)
    sims = (make_simulator("mujoco", robot, 2, threads=1),
            MujocoSimulator(robot, 2, threads=1, ground=LEVEL, planes=True))
    slid = []
    for sim in sims:
        sim.set_param("friction", torch.tensor([0.05, 1.0]))
        speed = torch.tensor([[0.0, 0.5, 0.0]] * 2)
        sim.reset(torch.ones(2, dtype=torch.bool), start, level, speed, torch.zeros(2, 3), pose, torch.zeros_like(pose))
        for _ in range(25):
            sim.step(pose)
        force = sim.state.contact_force_w.sum(dim=1)[:, 2]
        torch.testing.assert_close(force, torch.full((2,), sim.weight_n), rtol=0.1, atol=0.0)
        slid.append(sim.state.root_pos_w.clone())
        sim.close()
    torch.testing.assert_close(slid[0], slid[1], rtol=0.0, atol=2e-3)
    assert float(slid[0][0, 1]) > 2.0 * float(slid[0][1, 1])
