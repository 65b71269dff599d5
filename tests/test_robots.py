"""Every shipped robot: its description agrees with its model file, and it stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import ROBOTS, Robot, get_robot

pytest.importorskip("mujoco")
import mujoco

MASS_KG = {"quadruped": 15.017, "anymal": 52.13}  # sums of the published link masses
LOOKS, COLLISION = 2, 3  # geom groups


@pytest.fixture(params=("anymal", "quadruped"))
def robot(request: pytest.FixtureRequest) -> Robot:
    return ROBOTS[request.param]


@pytest.fixture
def model(robot: Robot) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(robot.mjcf)


def scene(robot: Robot) -> mujoco.MjModel:
    """The robot on a plane, with a position actuator at every joint."""
    spec = mujoco.MjSpec.from_file(robot.mjcf)
    floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    floor.contype, floor.conaffinity = 1, 0
    spec.option.timestep = 0.01
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    for joint, kp, kd, limit in zip(robot.joints, robot.kp, robot.kd, robot.torque_limit_nm):
        actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp, kv=kd)
        actuator.forcelimited, actuator.forcerange = True, [-limit, limit]
    return spec.compile()


def standing(robot: Robot, model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[2] = robot.base_height_m
    data.qpos[7:] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    return data


def touching(model: mujoco.MjModel, data: mujoco.MjData) -> set[str]:
    """Names of the bodies in contact with the floor."""
    floor = model.geom("floor").id
    geoms = {g for contact in data.contact for g in contact.geom if g != floor}
    return {model.body(model.geom_bodyid[g]).name for g in geoms}


def test_file_holds_the_robot_alone(robot: Robot, model: mujoco.MjModel) -> None:
    assert (model.nu, model.nlight, model.nsensor) == (0, 0, 0)
    assert not (model.geom_bodyid == 0).any()
    assert model.joint(0).type == mujoco.mjtJoint.mjJNT_FREE and model.jnt_bodyid[0] == model.body(robot.trunk).id


def test_mass_is_the_published_one(robot: Robot, model: mujoco.MjModel) -> None:
    assert model.body_mass.sum() == pytest.approx(MASS_KG[robot.name], abs=0.01)
    assert (model.body_mass[1:] > 0).all()


def test_left_and_right_mirror_each_other(robot: Robot, model: mujoco.MjModel) -> None:
    data = standing(robot, model)
    left, right = (data.subtree_com[model.body(feet).id] for feet in robot.feet[:2])
    np.testing.assert_allclose(left, right * [1, -1, 1], atol=1e-6)
    assert abs(data.subtree_com[model.body(robot.trunk).id][1]) < 1e-3


def test_joints_stand_in_the_declared_order(robot: Robot, model: mujoco.MjModel) -> None:
    assert len(robot.joints) == 12
    assert tuple(model.joint(j).name for j in range(1, model.njnt)) == robot.joints
    assert (model.dof_frictionloss == 0).all() and (model.dof_armature[6:] > 0).all()


def test_first_joint_of_a_leg_turns_about_x_and_the_others_about_y(robot: Robot, model: mujoco.MjModel) -> None:
    np.testing.assert_array_equal(model.jnt_axis[1:], [[1, 0, 0], [0, 1, 0], [0, 1, 0]] * 4)


def test_quadruped_joint_ranges_are_those_of_the_go2() -> None:
    model = mujoco.MjModel.from_xml_path(get_robot("quadruped").mjcf)
    hip, calf = [-1.0472, 1.0472], [-2.7227, -0.83776]
    front, rear = [hip, [-1.5708, 3.4907], calf], [hip, [-0.5236, 4.5379], calf]
    np.testing.assert_allclose(model.jnt_range[1:], (front * 2) + (rear * 2))


def test_default_pose_lies_inside_the_joint_ranges(robot: Robot, model: mujoco.MjModel) -> None:
    assert model.jnt_limited[1:].all()
    low, high = model.jnt_range[1:].T
    assert (low < robot.default_joint_pos).all() and (robot.default_joint_pos < high).all()


def test_base_height_sets_all_feet_on_the_ground(robot: Robot, model: mujoco.MjModel) -> None:
    data = standing(robot, model)
    geoms = [model.body(foot).geomadr[0] for foot in robot.feet]
    assert all(model.geom_type[g] == mujoco.mjtGeom.mjGEOM_SPHERE and model.geom_group[g] == COLLISION for g in geoms)
    lowest = data.geom_xpos[geoms, 2] - model.geom_size[geoms, 0]
    np.testing.assert_allclose(lowest, 0.0, atol=0.001)


def test_every_geom_is_either_looks_or_collision(robot: Robot, model: mujoco.MjModel) -> None:
    looks, collision = model.geom_group == LOOKS, model.geom_group == COLLISION
    assert (looks | collision).all() and looks.sum() > 50
    assert (model.geom_contype == 0).all()  # contact needs contype 1 on the other side: no self-collision
    np.testing.assert_array_equal(model.geom_conaffinity, collision)
    assert collision.sum() <= 16


def test_looks_and_collision_geoms_add_no_mass(robot: Robot) -> None:
    spec = mujoco.MjSpec.from_file(robot.mjcf)
    assert all(geom.mass == 0 for geom in spec.geoms)


def test_named_bodies_exist_and_can_be_told_apart(robot: Robot, model: mujoco.MjModel) -> None:
    roles = [*robot.feet, *robot.penalised_bodies, *robot.terminal_bodies]
    assert len(set(roles)) == len(roles) == 13
    for name in roles:
        body = model.body(name).id  # KeyError when missing
        groups = model.geom_group[model.geom_bodyid == body]
        assert (groups == COLLISION).any(), f"{name} cannot touch anything"
    parents = {model.body(model.body(foot).parentid[0]).name for foot in robot.feet}
    assert parents < set(robot.penalised_bodies)
    assert all(model.body(foot).jntnum[0] == 0 for foot in robot.feet)


def test_stands_for_three_seconds_on_its_feet_alone(robot: Robot) -> None:
    model = scene(robot)
    data = standing(robot, model)
    data.ctrl[:] = robot.default_joint_pos
    ever = set()
    for _ in range(300):
        mujoco.mj_step(model, data)
        ever |= touching(model, data)
    assert ever == set(robot.feet)
    assert data.xmat[model.body(robot.trunk).id][8] > np.cos(np.radians(5))
    assert data.qpos[2] > 0.75 * robot.base_height_m
    assert np.abs(data.qvel).max() < 0.1


def test_a_robot_on_its_back_touches_with_its_trunk(robot: Robot) -> None:
    model = scene(robot)
    data = standing(robot, model)
    data.qpos[3:7] = [0, 1, 0, 0]
    data.ctrl[:] = robot.default_joint_pos
    mujoco.mj_step(model, data, nstep=100)
    assert robot.trunk in touching(model, data)


def test_get_robot_takes_a_name_or_a_robot(robot: Robot) -> None:
    assert get_robot(robot.name) is robot
    custom = replace(robot, name="mine")
    assert get_robot(custom) is custom


def test_unknown_name_meets_its_nearest_match() -> None:
    with pytest.raises(UserError, match="unknown robot 'quadrupd': did you mean 'quadruped'"):
        get_robot("quadrupd")
    with pytest.raises(UserError, match="unknown robot"):
        get_robot(["quadruped"])  # type: ignore[arg-type]


def test_the_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        ROBOTS["quadruped"] = ROBOTS["anymal"]  # type: ignore[index]


def test_lists_become_tuples(robot: Robot) -> None:
    assert replace(robot, default_joint_pos=list(robot.default_joint_pos)) == robot  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "non-empty string"),
        ("mjcf", None, "non-empty string"),
        ("trunk", "", "non-empty string"),
        ("joints", (), "distinct names"),
        ("joints", ("a", "a"), "distinct names"),
        ("feet", "FL_foot", "distinct names"),
        ("terminal_bodies", ("a", "a"), "distinct names"),
        ("default_joint_pos", (0.0,) * 11, "12 finite numbers"),
        ("default_joint_pos", (float("nan"),) * 12, "12 finite numbers"),
        ("torque_limit_nm", (1.0,) * 13, "12 finite numbers"),
        ("torque_limit_nm", (1.0,) * 11 + (0.0,), "above 0"),
        ("base_height_m", -0.3, "above 0"),
        ("kp", 0.0, "above 0"),
        ("kp", (25.0,) * 11, "12 finite numbers"),
        ("kd", float("inf"), "12 finite numbers"),
        ("kd", -0.1, "at least 0"),
        ("armature_kgm2", -0.1, "at least 0"),
        ("action_scale_rad", "big", "above 0"),
    ],
)
def test_a_bad_robot_is_refused_in_one_sentence(robot: Robot, field: str, value: object, says: str) -> None:
    with pytest.raises(UserError, match=f"{field}=.*{says}") as refusal:
        replace(robot, **{field: value})  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")
