"""Robots from files: what is derived, by hand; and that nothing else in a file changes the robot."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import Robot, get_robot

pytest.importorskip("mujoco")
import mujoco
import torch
from robot_files import (
    CALF_KG,
    HEIGHT_M,
    HIP_X,
    HIP_Y,
    LEGS,
    MASS_KG,
    POSE,
    THIGH_M,
    dog,
    dog_urdf,
    keyframe,
    leg,
    motors,
    write,
)

from sb3_isaac.robots.derive import derive
from sb3_isaac.robots.model import read_model
from sb3_isaac.sim.mujoco import MujocoSimulator
from sb3_isaac.sim.scene import compose_scene
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

QUADRUPED = get_robot("quadruped")
XML = Path(QUADRUPED.mjcf).read_text(encoding="utf-8")
CALF_MASK = 'contype="0" conaffinity="1" condim="3"'


def states(robot: Robot, steps: int = 60) -> np.ndarray:
    """Positions of the robot as it is dropped and stands, and what its sensors say at the end."""
    model = compose_scene(robot, 0.01)
    data = mujoco.MjData(model)
    data.qpos[2], data.qpos[7:], data.ctrl[:] = robot.base_height_m + 0.02, robot.default_joint_pos, \
        robot.default_joint_pos
    mujoco.mj_step(model, data, steps)
    return np.concatenate((data.qpos, data.sensordata))


def motion(robot: Robot) -> np.ndarray:
    """Velocities after two seconds of standing."""
    model = compose_scene(robot, 0.01)
    data = mujoco.MjData(model)
    data.qpos[2], data.qpos[7:], data.ctrl[:] = robot.base_height_m, robot.default_joint_pos, robot.default_joint_pos
    mujoco.mj_step(model, data, 200)
    return data.qvel


AT_REST = states(QUADRUPED)


def added(text: str, before: str = "</mujoco>") -> str:
    assert before in XML
    return XML.replace(before, text + before, 1)


def actuators(kind: str) -> str:
    return f"<actuator>{''.join(f'<{kind} name={name!r} joint={name!r}/>' for name in QUADRUPED.joints)}</actuator>"


FOREIGN = {
    "contype=1 conaffinity=0": XML.replace(CALF_MASK, 'contype="1" conaffinity="0"'),
    "masks by default": XML.replace(CALF_MASK, ""),
    "option block": added('<option cone="elliptic" impratio="100" gravity="0 0 -1" timestep="0.002" density="1000">'
                          '<flag contact="disable"/></option>', "<default>"),
    "feet with priority": XML.replace('type="sphere" size="0.022"', 'type="sphere" size="0.022" priority="1" '
                                      'condim="6" friction="1.2 0.02 0.01" margin="0.01"'),
    "root motor": XML.replace("<default>", '<default><motor gear="50"/>', 1),
    "root general": XML.replace("<default>", '<default><general gear="50" dyntype="filter" dynprm="0.5" '
                                'actlimited="true" actrange="-1 1"/>', 1),
    "root position": XML.replace("<default>", '<default><position kp="500" forcerange="-1 1" ctrlrange="-.1 .1"/>', 1),
    "root geom": XML.replace("<default>", '<default><geom solref="0.2 1" priority="5" margin="0.1" pos="0 0 1"/>', 1)
                    .replace('<geom group="3"', '<geom solref="0.02 1" margin="0" pos="0 0 0" group="3"'),
    "motors and keyframe": added(actuators("motor") + f"""<keyframe><key name="home" qpos="0 0 .3 1 0 0 0
        {' '.join('0' * 12)}" ctrl="{' '.join('1' * 12)}"/></keyframe>"""),
    "sensors": added(actuators("motor") + '<sensor><actuatorfrc actuator="FL_hip_joint"/><framepos objtype="body" '
                     'objname="trunk" name="contact trunk"/></sensor>'),
    "floors": added('<geom name="floor" type="plane" size="0 0 1" friction="3"/><geom name="ground" type="box" '
                    'size="9 9 .1"/><body name="stairs"><geom type="box" size="1 1 1"/></body><light pos="0 0 3"/>'
                    '<camera name="view" pos="0 0 3"/><site name="origin"/>', '<body name="trunk"'),
    "names of the scene": XML.replace("<asset>", '<asset><texture name="sky" type="skybox" builtin="flat" width="8" '
                                      'height="48"/><material name="floor"/>', 1)
                             .replace('name="head_collision"', 'name="floor"'),
    "no free joint": XML.replace('<freejoint name="root"/>', ""),
    "tied to the world": added('<equality><weld body1="trunk" body2="world"/><connect body1="trunk" anchor="0 0 0"/>'
                               "</equality>"),
    "pairs": added('<contact><pair geom1="trunk_collision" geom2="head_collision"/><exclude body1="trunk" '
                   'body2="FL_calf"/></contact>'),
    "weightless": XML.replace("<body name=", '<body gravcomp="1" name='),
    "joint force ranges": XML.replace('<joint axis="0 1 0" range="-2.7227 -0.83776"',
                                      '<joint axis="0 1 0" range="-2.7227 -0.83776" actuatorfrcrange="-0.1 0.1"'),
    "statistic and sizes": added('<size njmax="500" nconmax="100"/><statistic extent="9" center="5 5 5"/><visual>'
                                 '<map znear="0.5"/></visual>', "<default>"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_else_is_in_the_file_changes_nothing(kind: str, tmp_path: Path) -> None:
    assert FOREIGN[kind] != XML
    robot = replace(QUADRUPED, mjcf=write(tmp_path, FOREIGN[kind]))
    np.testing.assert_array_equal(states(robot), AT_REST)


def test_a_files_robot_is_told_by_its_actuators_keyframe_and_shape(tmp_path: Path) -> None:
    robot = Robot.from_file(write(tmp_path, dog(extra=motors() + keyframe())))
    assert robot.name == "dog" and robot.trunk == "torso"
    assert robot.joints == tuple(f"{name}_{part}_joint" for name in LEGS for part in ("hip", "thigh", "calf"))
    assert robot.default_joint_pos == POSE * 4
    assert robot.base_height_m == pytest.approx(HEIGHT_M, abs=1e-6)
    assert robot.feet == ("FL_sole", "FR_sole", "RL_sole", "RR_sole")
    assert robot.penalised_bodies == tuple(f"{name}_{part}" for name in LEGS for part in ("thigh", "calf"))
    assert robot.terminal_bodies == ("torso",)
    assert robot.torque_limit_nm == (20.0,) * 12
    # The foot, under the hip, is THIGH_M sin 0.9 before the knee, and the calf's centre half of that.
    knee = 9.81 * THIGH_M * math.sin(0.9) * (MASS_KG / 4 - CALF_KG / 2)
    assert robot.kp == pytest.approx((knee / 0.1,) * 12, rel=0.005)
    assert robot.kd == pytest.approx((0.025 * knee / 0.1 - 0.1,) * 12, rel=0.01)
    assert robot.action_scale_rad == pytest.approx(20 / (knee / 0.1), rel=0.01)
    assert robot.armature_kgm2 == (0.01,) * 12


def test_joints_too_light_for_their_gain_get_armature(tmp_path: Path) -> None:
    """A calf of 0.001 kg m² about its middle, 0.1 m below the knee, feels less than its 0.004 kg m² about the knee."""
    text = dog(extra=motors('position kp="200" kv="2" forcerange="-20 20"') + keyframe()).replace('armature="0.01"', "")
    path = write(tmp_path, text)
    robot = Robot.from_file(path)
    light = Robot.from_file(path, armature_kgm2=0.0)
    assert robot.armature_kgm2 is not None and light.armature_kgm2 == (0.0,) * 12
    assert all(200 / 70**2 - 0.004 <= robot.armature_kgm2[i] < 200 / 70**2 for i in range(2, 12, 3))
    assert compose_scene(robot, 0.01).dof_armature[6:] == pytest.approx(robot.armature_kgm2)
    speeds = [np.abs(motion(it)).max() for it in (robot, light)]
    assert speeds[0] < 0.1 < speeds[1]


def test_position_actuators_say_gains_per_joint(tmp_path: Path) -> None:
    drives = motors('position kp="30" kv="2" gear="2" forcerange="-8 8"').replace(
        'kp="30" kv="2" gear="2" forcerange="-8 8" joint=\'FR_hip_joint\'', 'kp="50" kv="1" joint="FR_hip_joint" '
        'forcerange="-40 40"')
    robot = Robot.from_file(write(tmp_path, dog(extra=drives + keyframe())))
    assert robot.kp == (50.0,) + (120.0,) * 11 and robot.kd == (1.0,) + (8.0,) * 11  # gear² · kp, gear² · kv
    assert robot.torque_limit_nm == (40.0,) + (16.0,) * 11
    assert robot.action_scale_rad == 0.5  # 16 / 120, at least what a stride takes
    with MujocoWorld(robot) as sim:
        offset = torch.full((1, 12), 0.01)
        sim.step(sim.state.joint_pos.clone() + offset)
        first = torch.tensor(robot.kp) * 0.01
        torch.testing.assert_close(sim.first_torque, first[None], rtol=1e-4, atol=1e-4)


class MujocoWorld:
    """One robot high in the air at rest, and the torque of its first physics step."""

    def __init__(self, robot: Robot) -> None:
        self.sim = MujocoSimulator(robot, 1, substeps=1)
        zero, pose = torch.zeros(1, 3), torch.tensor([robot.default_joint_pos])
        up, level = torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        self.sim.reset(torch.ones(1, dtype=torch.bool), up, level, zero, zero, pose, torch.zeros(1, 12))
        self.state, self.step = self.sim.state, self.sim.step

    @property
    def first_torque(self) -> torch.Tensor:
        return self.state.joint_torque

    def __enter__(self) -> MujocoWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.sim.close()


def test_the_smallest_limit_that_is_said_counts(tmp_path: Path) -> None:
    text = dog(extra=motors('motor ctrlrange="-5 5" gear="4" forcerange="-6 6"') + keyframe())
    assert Robot.from_file(write(tmp_path, text)).torque_limit_nm == (20.0,) * 12  # 5 · 4, below 6 · 4
    text = text.replace('axis="1 0 0"', 'axis="1 0 0" actuatorfrcrange="-3 3"')
    assert Robot.from_file(write(tmp_path, text)).torque_limit_nm == (3.0, 20.0, 20.0) * 4


def test_overrides_are_used_as_given_and_change_what_follows(tmp_path: Path) -> None:
    path = write(tmp_path, dog(extra=keyframe()))
    with pytest.raises(UserError, match=r"no torque limit for FR_hip_joint, .* and 8 more: give torque_limit_nm"):
        Robot.from_file(path)
    found = derive(path, {"torque_limit_nm": 10, "kp": (20.0,) * 12, "default_joint_pos": (0.0, 0.0, -0.5) * 4})
    robot = Robot(**found.fields)
    assert robot.torque_limit_nm == (10.0,) * 12 and robot.action_scale_rad == 0.5
    assert robot.base_height_m == pytest.approx(0.2 + 0.2 * np.cos(0.5) + 0.02, abs=1e-6)
    assert found.origin["torque_limit_nm"] == found.origin["kp"] == "given" and "kp" in found.origin["kd"]


@pytest.mark.parametrize("foot", ["geom", "body"])
def test_feet_are_bodies_of_their_own_and_the_mass_stays(foot: str, tmp_path: Path) -> None:
    """One newton is on the feet for each that the robot weighs, and none on the calves."""
    robot = Robot.from_file(write(tmp_path, dog(foot, extra=motors() + keyframe())))
    model = compose_scene(robot, 0.01)
    assert model.body_subtreemass[1] == pytest.approx(MASS_KG)
    sim = MujocoSimulator(robot, 1)
    task = QuadrupedFlat(sim=sim, stagger=False, seed=0)
    task.reset()
    for _ in range(100):
        step = task.step(torch.zeros(1, 12))
    assert step.log["foot_contact"].all() and not step.log["knee_contact"].any() and not step.terminated.any()
    assert sim.state.contact_force_w[0, task.feet, 2].sum() == pytest.approx(MASS_KG * 9.81, rel=0.05)
    x, y, _ = sim.state.foot_pos_w[0].T
    np.testing.assert_allclose(x, [HIP_X, HIP_X, -HIP_X, -HIP_X], atol=0.05)
    np.testing.assert_allclose(y, [HIP_Y, -HIP_Y, HIP_Y, -HIP_Y], atol=0.05)
    task.close()


def test_a_foots_geom_keeps_place_and_turn_wherever_its_orientation_stands(tmp_path: Path) -> None:
    for geom in ('type="box" size=".01 .02 .03" pos="0 0 -.2" euler="0.3 0 0"',
                 'type="capsule" size=".02" fromto="0 -.02 -.2 0 .02 -.19"'):
        text = dog(extra=motors() + keyframe()).replace('size="0.02" pos="0 0 -0.2" mass="0"', geom + ' mass="0"')
        path = write(tmp_path, text)
        before, after = read_model(path).compile(), read_model(path, ["FL_sole"]).compile()
        data = [mujoco.MjData(model) for model in (before, after)]
        for model, state in zip((before, after), data):
            mujoco.mj_kinematics(model, state)
        (a, b) = ((state.geom("FL_sole").xpos, state.geom("FL_sole").xmat) for state in data)
        np.testing.assert_allclose(a[0], b[0], atol=1e-12)
        np.testing.assert_allclose(a[1], b[1], atol=1e-12)
        assert after.body("FL_sole").mass == 0 and after.nbody == before.nbody + 1


def test_what_has_no_name_gets_one(tmp_path: Path) -> None:
    text = re.sub(r'(body|joint|geom) name="\w+"', r"\1", dog(extra=keyframe()))
    robot = Robot.from_file(write(tmp_path, text), torque_limit_nm=20)
    assert len(set(robot.joints)) == 12 and len(robot.feet) == 4 and robot.base_height_m == pytest.approx(HEIGHT_M)
    compose_scene(robot, 0.01)


def test_a_trunk_that_cannot_collide_does_by_what_it_looks_like(tmp_path: Path) -> None:
    text = dog(extra=motors() + keyframe()).replace('<geom type="box"', '<geom contype="0" conaffinity="0" type="box"')
    assert Robot.from_file(write(tmp_path, text)).terminal_bodies == ("torso",)


def test_of_several_keyframes_home_counts_or_the_highest(tmp_path: Path) -> None:
    down = '<key name="down" qpos="0 0 .1 1 0 0 0 ' + " ".join(["0", "1.2", "-2.5"] * 4) + '"/>'
    keys = keyframe().replace("<keyframe>", f"<keyframe>{down}")
    for text in (keys, keys.replace("home", "up")):
        assert Robot.from_file(write(tmp_path, dog(extra=motors() + text))).default_joint_pos == POSE * 4


def test_without_a_keyframe_it_stands_on_bent_legs_with_its_feet_below_the_hips(tmp_path: Path) -> None:
    """0.75 of the reach, which the calf's range of 0.5 rad from straight bounds; an arm is no leg."""
    arm = ARM.format(pos="0.2 0 0.05")
    for text in (dog(extra=motors()), dog(extra=motors() + keyframe("home", (0.0, 1.4, -2.7))),
                 dog(extra=motors()).replace('<geom type="box"', f'{arm}<geom type="box"')):
        found = derive(write(tmp_path, text), {"torque_limit_nm": 20.0})
        robot = Robot(**found.fields)
        legs = np.array(robot.default_joint_pos)[[robot.joints.index(f"{leg}_{part}_joint") for leg in LEGS
                                                  for part in ("hip", "thigh", "calf")]].reshape(4, 3)
        reach = 2 * THIGH_M * math.cos(0.25)
        bent = math.acos(0.75 * reach / (2 * THIGH_M))
        np.testing.assert_allclose(legs, [[0.0, bent, -2 * bent]] * 4, atol=0.05)
        np.testing.assert_allclose(legs, legs[[0]].repeat(4, axis=0), atol=2e-3)  # all alike
        assert robot.base_height_m == pytest.approx(0.75 * reach + 0.02, abs=0.006) and "75%" in \
            found.origin["default_joint_pos"]
        assert robot.feet == ("FL_sole", "FR_sole", "RL_sole", "RR_sole") and np.abs(motion(robot)).max() < 0.1


ARM = """<body name="arm" pos="{pos}"><joint name="arm_joint" axis="0 1 0" range="-1 1"/>
  <body name="hand" pos="0 0 0.3"><joint name="hand_joint" axis="0 1 0" range="-1 1"/>
    <geom size="0.03" pos="0 0 0.3" mass="0.1"/></body>
  <geom size="0.03" mass="0.1"/></body>"""


def test_a_urdf_is_a_robot_too(tmp_path: Path) -> None:
    dae = '<visual><geometry><mesh filename="package://dog/meshes/trunk.dae"/></geometry></visual>'
    robot = Robot.from_file(write(tmp_path, dog_urdf(visual=dae), "dog.urdf"), default_joint_pos=POSE * 4)
    assert robot.torque_limit_nm == (25.0,) * 12 and robot.base_height_m == pytest.approx(HEIGHT_M)
    assert robot.feet == ("FL_foot", "FR_foot", "RL_foot", "RR_foot") and robot.terminal_bodies == ("base",)
    assert robot.trunk == "base"  # the root link has no mass: the trunk, fixed to it, is one with it
    model = compose_scene(robot, 0.01)
    assert model.body_subtreemass[1] == pytest.approx(MASS_KG + 4 * 0.05)
    joint = model.joint("FL_calf_joint")
    assert joint.damping[0] == 0.05 and joint.frictionloss[0] == 0.1 and joint.range.tolist() == [-2.7, -0.5]


@pytest.mark.parametrize(("text", "says"), [
    ("<mujoco><worldbody", "not one that MuJoCo .* can use"),
    (dog(extra=keyframe().replace("0 0 0.3", "0 0.3")), "keyframe 'home' with 18 numbers in qpos: its joints need 19"),
    (dog(extra=keyframe().replace("0 0 0.3", "0 0 0 0.3")), "invalid qpos size"),
    (dog(extra=motors(), legs=()), "has 0 bodies in its world that joints hang on"),
    (dog(world=f'<body name="other">{leg("FL").replace("FL", "XX")}</body>'), r"has 2 bodies .* \(other, torso\)"),
    (dog("none", extra=motors() + keyframe(pose=(0.0, -1.0, -0.5))).replace("<geom type=\"capsule\"",
     '<geom contype="0" conaffinity="0" type="capsule"'), "has 0 links that reach the ground"),
    (dog(legs=("FL", "FR")), "no keyframe, and joint 'FL_calf_joint' cannot be at 0 rad .*default_joint_pos"),
    (dog(root='<joint type="slide"/>', extra=motors()), "has joints torso_joint on its trunk 'torso'"),
    (dog(extra=motors() + keyframe()).replace('axis="1 0 0"', 'type="slide" axis="1 0 0"'), "are no hinges"),
])
def test_a_file_that_is_no_robot_is_told_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as refusal:
        Robot.from_file(write(tmp_path, text))
    assert "\n" not in str(refusal.value) and "dog.xml" in str(refusal.value)


def test_a_name_that_is_no_utf8_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = Path(write(tmp_path, dog(extra=motors() + keyframe())))
    path.write_bytes(path.read_bytes().replace(b'name="torso"', b'name="t\xe8rso"'))
    with pytest.raises(UserError, match=r"0xe8.*UTF-8"):
        Robot.from_file(str(path))


@pytest.mark.parametrize(("change", "says"), [
    ({"joints": ("FL_hip_joint",)}, "give joints with each of them once"),
    ({"default_joint_pos": (0.0,) * 3}, "give 12 finite numbers"),
    ({"torque_limit_nm": "much"}, "give 12 finite numbers"),
    ({"feet": ("FL_foot",)}, "no geom that can touch the ground at the feet"),
    ({"stiffness": 3}, "unknown field of a Robot 'stiffness'"),
    ({"mjcf": "x"}, "unknown field of a Robot 'mjcf'"),
])
def test_overrides_are_checked(change: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        Robot.from_file(write(tmp_path, dog(extra=motors() + keyframe())), **change)


@pytest.mark.parametrize(("text", "says"), [
    (dog_urdf(inertial=""), "mass and inertia of moving bodies"),
    (dog_urdf().replace('<box size="0.4 0.16 0.1"/>', '<mesh filename="package://dog/trunk.stl"/>'),
     "Error opening file .*Put the mesh files"),
])
def test_a_urdf_that_lacks_something_is_told_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        Robot.from_file(write(tmp_path, text, "dog.urdf"))


def test_feet_that_cannot_touch_are_told_in_one_sentence(tmp_path: Path) -> None:
    text = re.sub(r'(<body name="(\w\w)_foot"[^>]*>)(.*?)(</body>)',
                  r'<body name="\2_end" pos="0 0 -0.2">\3</body>\1\4', XML, flags=re.S)
    with pytest.raises(UserError, match=r"names foot 'FL_foot', a body without a geom that can touch: .*FL_end"):
        compose_scene(replace(QUADRUPED, mjcf=write(tmp_path, text)), 0.01)


def test_a_pose_beyond_a_joints_range_is_told_with_what_may_be_wrong(tmp_path: Path) -> None:
    robot = replace(QUADRUPED, mjcf=write(tmp_path, XML.replace('angle="radian"', 'angle="degree"')))
    with pytest.raises(UserError, match=r"joint 'FL_hip_joint' at 0.05 rad .* from -0.0183 to 0.0183: .*unit"):
        compose_scene(robot, 0.01)


def test_a_file_is_a_robot_wherever_a_name_is(tmp_path: Path) -> None:
    path = write(tmp_path, dog(extra=motors() + keyframe()))
    assert get_robot(path) == Robot.from_file(path)
    with pytest.raises(UserError, match=r"'nowhere.xml' does not exist"):
        get_robot("nowhere.xml")
    with pytest.raises(UserError, match=r"unknown robot 'go1'.*files that end in .xml"):
        get_robot("go1")
