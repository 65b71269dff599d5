"""The MuJoCo simulator: mechanics by arithmetic, frames, joint order, drives, contacts, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import from_yaw, rotate, rotate_inverse
from sb3_isaac.robots import ROBOTS, Robot, get_robot
from sb3_isaac.sim import make_simulator

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.sim.mujoco import MujocoSimulator  # noqa: E402
from sb3_isaac.sim.scene import compose_scene  # noqa: E402

G_M_S2 = 9.81
AIR_M = 5.0
LEG = """
<body name="{side}_thigh" pos="{x} 0 0"><joint name="{side}_hip" axis="0 1 0" {range}/>
  <geom type="capsule" fromto="0 0 0 0 0 -0.15" size="0.02" mass="0.3" contype="0" conaffinity="1"/>
  <body name="{side}_shank" pos="0 0 -0.15"><joint name="{side}_knee" axis="0 1 0" {range}/>
    <geom type="capsule" fromto="0 0 0 0 0 -0.15" size="0.02" mass="0.1" contype="0" conaffinity="1"/></body></body>
"""


def write_biped(folder: Path, joint_range: str = 'range="-1 1"', compiler: str = 'angle="radian"') -> Robot:
    """A robot whose file lists the joints back to front, with an actuator and a sensor of its own."""
    legs = "".join(LEG.format(side=side, x=x, range=joint_range) for side, x in (("rear", -0.2), ("front", 0.2)))
    path = folder / "biped.xml"
    path.write_text(f"""
      <mujoco><compiler {compiler}/><worldbody><body name="trunk"><freejoint/>
        <geom type="box" size="0.25 0.1 0.05" mass="3" contype="0" conaffinity="1"/>{legs}
      </body></worldbody>
      <actuator><motor name="spare" joint="rear_knee"/></actuator>
      <sensor><jointpos joint="rear_knee"/></sensor></mujoco>""")
    return Robot(
        name="biped", mjcf=str(path), joints=("front_knee", "rear_hip", "front_hip", "rear_knee"),
        default_joint_pos=(-0.1, 0.3, 0.4, 0.1), base_height_m=0.3014, kp=20, kd=1, torque_limit_nm=(5, 6, 7, 8),
        trunk="trunk", feet=("front_shank", "rear_shank"), penalised_bodies=("front_thigh", "rear_thigh"),
        terminal_bodies=("trunk",),
    )


@pytest.fixture(params=("anymal", "quadruped"))
def robot(request: pytest.FixtureRequest) -> Robot:
    return ROBOTS[request.param]


@pytest.fixture(params=["anymal", "quadruped", "biped"])
def any_robot(request: pytest.FixtureRequest, tmp_path: Path) -> Robot:
    return write_biped(tmp_path) if request.param == "biped" else ROBOTS[request.param]


def make(robot: Robot, num_envs: int = 1, **options: Any) -> MujocoSimulator:
    return make_simulator("mujoco", robot, num_envs, threads=1, **options)  # type: ignore[return-value]


def default_pose(sim: MujocoSimulator) -> torch.Tensor:
    return torch.tensor(sim.robot.default_joint_pos).repeat(sim.num_envs, 1)


def place(sim: MujocoSimulator, height_m: Optional[float] = None, mask: Optional[torch.Tensor] = None,
          **changes: torch.Tensor) -> Dict[str, torch.Tensor]:
    """Reset to the default pose at rest but for `changes`; returns all that was asked for."""
    n = sim.num_envs
    start = {
        "root_pos_w": torch.tensor([0, 0, sim.robot.base_height_m if height_m is None else height_m]).repeat(n, 1),
        "root_quat_w": torch.tensor([1.0, 0, 0, 0]).repeat(n, 1),
        "root_lin_vel_w": torch.zeros(n, 3), "root_ang_vel_b": torch.zeros(n, 3),
        "joint_pos": default_pose(sim), "joint_vel": torch.zeros(n, len(sim.robot.joints)), **changes,
    }
    sim.reset(torch.ones(n, dtype=torch.bool) if mask is None else mask, **start)
    return start


def weightless(sim: MujocoSimulator) -> None:
    sim.engine.set_model_field("opt.gravity", torch.zeros(sim.num_envs, 3))


def differing(one: MujocoSimulator, other: MujocoSimulator) -> List[str]:
    return [name for name, value in vars(one.state).items() if not torch.equal(value, getattr(other.state, name))]


def quaternions(num: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(num, 4, generator=torch.Generator().manual_seed(0), dtype=dtype))


def random_targets(sim: MujocoSimulator, steps: int, scale_rad: float) -> List[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (steps, sim.num_envs, len(sim.robot.joints))
    return list(default_pose(sim) + scale_rad * (2 * torch.rand(shape, generator=generator) - 1))


def test_rotations_agree_with_mujoco_and_undo_each_other() -> None:
    quat = quaternions(50, torch.float64)
    vec = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.zeros((50, 3))
    for out, v, q in zip(expected, vec.numpy(), quat.numpy()):
        mujoco.mju_rotVecQuat(out, v, q)
    np.testing.assert_allclose(rotate(quat, vec), expected, atol=1e-14)
    np.testing.assert_allclose(rotate_inverse(quat, rotate(quat, vec)), vec, atol=1e-14)


def test_from_yaw_turns_forward_to_the_left() -> None:
    yaw = torch.tensor([0.0, math.pi / 2, math.pi, -math.pi / 2, 0.3])
    turned = rotate(from_yaw(yaw), torch.tensor([1.0, 0, 0.5]).repeat(5, 1))
    torch.testing.assert_close(turned, torch.stack((yaw.cos(), yaw.sin(), torch.full((5,), 0.5)), -1))


def test_ground_carries_the_weight(robot: Robot) -> None:
    sim = make(robot, 2)
    place(sim)
    mean = torch.zeros_like(sim.state.contact_force_w)
    for step in range(200):
        sim.step(default_pose(sim))
        # Robots creep on soft contacts with a few mm/s: the mean of the fourth second is less restless than one step.
        mean += sim.state.contact_force_w / 50 if step >= 150 else 0
    total = mean.sum(1)
    assert sim.weight_n == pytest.approx(float(sim.model.body_mass.sum()) * G_M_S2)
    assert total[:, 2].tolist() == pytest.approx([sim.weight_n] * 2, rel=0.01)
    assert (total[:, :2].abs() < 0.01 * sim.weight_n).all()
    feet = [name in robot.feet for name in sim.body_names]
    assert (mean[:, feet, 2] > 0.15 * sim.weight_n).all() and not mean[:, ~torch.tensor(feet)].any()


def test_free_fall_is_that_of_semi_implicit_euler(any_robot: Robot) -> None:
    sim = make(any_robot, physics_dt=0.01, substeps=2)
    place(sim, AIR_M)
    for n in range(2, 42, 2):
        sim.step(default_pose(sim))
        # v is exact, v = -g n h; the height takes the new velocity each step, z = z0 - g h² n (n + 1) / 2.
        fallen = G_M_S2 * 0.01**2 * n * (n + 1) / 2
        assert sim.state.root_lin_vel_w[0].tolist() == pytest.approx([0, 0, -G_M_S2 * n * 0.01], abs=1e-5)
        assert sim.state.root_pos_w[0].tolist() == pytest.approx([0, 0, AIR_M - fallen], abs=1e-5)
    assert not sim.state.contact_force_w.any() and (sim.state.joint_torque.abs() < 1e-12).all()


def momentum(sim: MujocoSimulator) -> np.ndarray:
    """Linear momentum (3,) of the first robot, kg·m/s."""
    data = sim.engine.mj_data(0)
    mujoco.mj_forward(sim.model, data)
    mujoco.mj_subtreeVel(sim.model, data)
    return data.subtree_linvel[0] * sim.model.body_subtreemass[0]


def test_moving_joints_conserves_momentum(robot: Robot) -> None:
    drift: List[float] = []
    for substeps in (8, 16):
        sim = make(robot, physics_dt=0.08 / substeps, substeps=substeps)
        weightless(sim)
        place(sim, AIR_M, root_lin_vel_w=torch.tensor([[1.0, 0.5, 0]]))
        before, worst, fastest = momentum(sim), 0.0, 0.0
        for targets in random_targets(sim, 5, 0.3):
            sim.step(targets)
            worst = max(worst, float(np.abs(momentum(sim) - before).max()))
            fastest = max(fastest, float(sim.state.joint_vel.abs().max()))
        assert fastest > 1.0 and before == pytest.approx(sim.weight_n / G_M_S2 * np.array([1, 0.5, 0]), abs=1e-4)
        drift.append(worst / np.linalg.norm(before))
    # Each step uses the mass matrix of its start: the error is of first order in the step, and at 10 ms below 2%.
    assert drift[0] < 0.02
    assert drift[1] < 0.6 * drift[0]


def test_reset_and_state_speak_of_the_same_frames(any_robot: Robot) -> None:
    sim = make(any_robot, 8)
    quat = quaternions(8)
    quat[0] = from_yaw(torch.tensor([math.pi / 2]))[0]
    generator = torch.Generator().manual_seed(2)
    lin, ang, joint = (torch.randn(8, n, generator=generator) for n in (3, 3, len(any_robot.joints)))
    asked = place(sim, AIR_M, root_quat_w=quat, root_lin_vel_w=lin, root_ang_vel_b=ang, joint_vel=joint)
    for name, value in asked.items():
        torch.testing.assert_close(getattr(sim.state, name), value, atol=1e-6, rtol=0, msg=name)
    trunk = np.stack([sim.engine.mj_data(i).body(any_robot.trunk).xpos for i in range(8)])
    np.testing.assert_allclose(trunk, asked["root_pos_w"], atol=1e-6)


def test_velocities_move_a_yawed_and_pitched_robot_along_the_world_axes(robot: Robot) -> None:
    sim = make(robot, 2, physics_dt=0.001, substeps=1)
    weightless(sim)
    w, y = math.sqrt(0.5) * math.cos(math.radians(20)), math.sqrt(0.5) * math.sin(math.radians(20))
    quat = torch.tensor([[w, -y, y, w]]).repeat(2, 1)  # pitched by 40°, then yawed by 90°
    nose = rotate(quat, torch.tensor([[1.0, 0, 0]]).repeat(2, 1))
    assert nose[0].tolist() == pytest.approx([0, math.cos(math.radians(40)), -math.sin(math.radians(40))], abs=1e-6)
    lin, ang = torch.tensor([[0.3, 0, 0], [0, 0, 0]]), torch.tensor([[0, 0, 0], [0, 0, 0.5]])
    start = place(sim, AIR_M, root_quat_w=quat, root_lin_vel_w=lin, root_ang_vel_b=rotate_inverse(quat, ang))
    sim.step(default_pose(sim))
    # The first robot moves along x without turning; the second turns about z, its nose keeping its height.
    torch.testing.assert_close(sim.state.root_pos_w[0], start["root_pos_w"][0] + 0.001 * lin[0])
    torch.testing.assert_close(rotate(sim.state.root_quat_w, sim.state.root_ang_vel_b), ang, atol=2e-3, rtol=0)
    moved = rotate(sim.state.root_quat_w, torch.tensor([[1.0, 0, 0]]).repeat(2, 1)) - nose
    torch.testing.assert_close(moved, 0.001 * torch.linalg.cross(ang, nose), atol=2e-6, rtol=0)


def test_state_keeps_its_address_and_only_masked_robots_are_reset(robot: Robot) -> None:
    sim = make(robot, 3)
    addresses = {name: value.data_ptr() for name, value in vars(sim.state).items()}
    place(sim)
    sim.step(*random_targets(sim, 1, 0.3))
    before = {name: value.clone() for name, value in vars(sim.state).items()}
    place(sim, AIR_M, mask=torch.tensor([False, True, False]))
    assert all(torch.equal(value[::2], before[name][::2]) for name, value in vars(sim.state).items())
    assert sim.state.root_pos_w[1].tolist() == [0, 0, AIR_M] and not sim.state.contact_force_w[1].any()
    assert {name: value.data_ptr() for name, value in vars(sim.state).items()} == addresses


def test_joints_stand_in_the_robots_order(any_robot: Robot) -> None:
    joints = len(any_robot.joints)
    sim = make(any_robot, joints)
    weightless(sim)
    place(sim, AIR_M)
    assert any_robot.name != "biped" or [sim.model.joint(1 + i).name for i in range(4)] != list(any_robot.joints)
    sim.step(default_pose(sim) + 0.2 * torch.eye(joints))  # robot k raises the target of its joint k
    moved = sim.state.joint_pos - default_pose(sim)
    assert (moved.diagonal() > 0.01).all()
    assert moved.abs().argmax(1).tolist() == sim.state.joint_vel.argmax(1).tolist() == list(range(joints))
    named = [sim.engine.mj_data(0).joint(name).qpos[0] for name in any_robot.joints]
    assert sim.state.joint_pos[0].tolist() == pytest.approx(named, abs=1e-6)


def test_feet_and_forces_stand_in_their_orders(any_robot: Robot) -> None:
    sim = make(any_robot)
    place(sim, any_robot.base_height_m - 0.005)
    data = sim.engine.mj_data(0)
    for i, name in enumerate(any_robot.feet):
        assert sim.state.foot_pos_w[0, i].tolist() == pytest.approx(data.body(name).xpos, abs=1e-6)
    mujoco.mj_forward(sim.model, data)
    expected = np.zeros((len(sim.body_names), 3))
    for k, contact in enumerate(data.contact):
        wrench = np.zeros(6)
        mujoco.mj_contactForce(sim.model, data, k, wrench)  # on the second geom, in the contact's frame
        expected[sim.model.geom_bodyid[contact.geom[1]] - 1] += contact.frame.reshape(3, 3).T @ wrench[:3]
    assert {sim.body_names[i] for i in np.flatnonzero(expected[:, 2])} == set(any_robot.feet)
    np.testing.assert_allclose(sim.state.contact_force_w[0], expected, atol=1e-3)


def test_torque_is_the_declared_pd_law_within_its_limit(any_robot: Robot) -> None:
    limit = torch.tensor(any_robot.torque_limit_nm)
    offset = torch.tensor([[0.1], [-0.1]])
    for kp in (any_robot.kp, (1e4,) * len(limit)):  # 1e4 N·m/rad asks for 1000 N·m
        sim = make(replace(any_robot, kp=kp), 2, physics_dt=0.001, substeps=1)
        place(sim, AIR_M, joint_vel=torch.full((2, len(limit)), 0.5))
        sim.step(default_pose(sim) + offset)
        expected = (torch.tensor(kp) * offset - torch.tensor(any_robot.kd) * 0.5).clamp(-limit, limit)
        assert torch.equal(expected.abs(), limit.expand_as(expected)) == (kp[0] == 1e4)
        torch.testing.assert_close(sim.state.joint_torque, expected, atol=1e-3, rtol=1e-4)


def test_targets_are_clipped_to_the_joint_ranges(any_robot: Robot) -> None:
    ends = []
    for beyond in (-0.1, 0.0, 5.0, 50.0):
        sim = make(any_robot, 2)
        place(sim, AIR_M)
        ranges = torch.tensor(np.stack([sim.model.joint(name).range for name in any_robot.joints], 1)).float()
        targets = ranges + beyond * torch.tensor([[-1.0], [1.0]])  # the first robot goes low, the second high
        for _ in range(3):
            sim.step(targets)
        ends.append(sim.state.joint_pos.clone())
    inside, edge, far, farther = ends
    assert torch.equal(far, farther)
    torch.testing.assert_close(edge, far, atol=1e-5, rtol=0)
    assert (inside - far).abs().max() > 1e-3


def test_a_target_for_each_physics_step_may_be_the_same_one(robot: Robot) -> None:
    one, each = make(robot, 2, substeps=3), make(robot, 2, substeps=3)
    place(one), place(each)
    for targets in random_targets(one, 15, 0.3):
        one.step(targets), each.step(targets.expand(3, -1, -1))
        assert not differing(one, each)
    one.step(targets), each.step(torch.stack((default_pose(one), targets, targets)))
    assert not torch.equal(one.state.joint_pos, each.state.joint_pos)


def test_divergence_in_any_physics_step_is_marked(robot: Robot) -> None:
    sim = make(robot, 3)
    place(sim)
    targets = default_pose(sim).repeat(2, 1, 1)
    targets[0, 1, 4] = float("nan")
    sim.step(targets)
    assert sim.diverged.tolist() == [False, True, False]
    place(sim, mask=sim.diverged.clone())
    sim.step(default_pose(sim))
    assert not sim.diverged.any()


def test_a_loaded_state_shows_at_once_and_continues_alike(robot: Robot) -> None:
    sim, other = make(robot, 2), make(robot, 2)
    place(sim)
    targets = random_targets(sim, 20, 0.3)
    for target in targets[:10]:
        sim.step(target)
    other.load_state_dict(sim.state_dict())
    assert not differing(sim, other)
    for target in targets[10:]:
        sim.step(target), other.step(target)
        assert not differing(sim, other)


def test_physics_options_are_the_declared_ones(any_robot: Robot) -> None:
    sim = make(any_robot, physics_dt=0.004, substeps=5)
    option = sim.model.opt
    assert option.timestep == sim.engine.timestep_s == 0.004 and sim.control_dt == pytest.approx(0.02)
    assert (option.jacobian, option.cone) == (mujoco.mjtJacobian.mjJAC_DENSE, mujoco.mjtCone.mjCONE_PYRAMIDAL)
    assert option.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert tuple(sim.model.actuator(i).name for i in range(sim.model.nu)) == any_robot.joints
    sim.step(default_pose(sim))
    assert sim.engine.mj_data(0).time == pytest.approx(0.02)


def test_a_robot_does_not_touch_itself(any_robot: Robot) -> None:
    model, rng, overlaps = compose_scene(any_robot, 0.01), np.random.default_rng(0), 0
    data = mujoco.MjData(model)
    solid = [i for i in range(model.ngeom) if model.geom_conaffinity[i] and model.geom_bodyid[i]]
    pairs = [(a, b) for a in solid for b in solid if a < b and model.geom_bodyid[a] != model.geom_bodyid[b]]
    for _ in range(5):
        data.qpos[2], data.qpos[7:] = AIR_M, rng.uniform(*model.jnt_range[1:].T)
        mujoco.mj_forward(model, data)
        assert data.ncon == 0
        overlaps += sum(mujoco.mj_geomDistance(model, data, a, b, 0.01, None) < 0 for a, b in pairs)
    assert overlaps > 0


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        make_simulator(*args, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_unknown_simulators_and_devices_are_refused() -> None:
    robot = get_robot("quadruped")
    assert "unknown sim 'mujocco': did you mean 'mujoco' or 'mujoco_warp'?" in refusal("mujocco", robot, 1)
    for device in ("cuda", torch.device("cuda:0")):
        assert "use device='cpu' or 'auto'" in refusal("mujoco", robot, 1, device=device)
    assert "physics_dt is -0.1" in refusal("mujoco", robot, 1, physics_dt=-0.1)
    assert "physics_dt is 1.0 s: give at most 0.05" in refusal("mujoco", robot, 1, physics_dt=1.0)
    assert "substeps is 0" in refusal("mujoco", robot, 1, substeps=0)


def test_names_that_the_file_does_not_have_are_refused(any_robot: Robot) -> None:
    joints = ("nose", *any_robot.joints[1:])
    said = refusal("mujoco", replace(any_robot, joints=joints), 1)
    assert "names joint 'nose'" in said and all(name in said for name in (any_robot.mjcf, *any_robot.joints))
    for role in ("feet", "penalised_bodies", "terminal_bodies"):
        said = refusal("mujoco", replace(any_robot, **{role: ("tail",)}), 1)
        assert "names body 'tail'" in said and all(name in said for name in any_robot.feet)
    assert "names body 'tail'" in refusal("mujoco", replace(any_robot, trunk="tail"), 1)


def test_joints_that_the_robot_does_not_name_are_refused(any_robot: Robot) -> None:
    fewer = {f: getattr(any_robot, f)[1:] for f in ("joints", "default_joint_pos", "torque_limit_nm", "kp", "kd")}
    assert f"the {len(any_robot.joints) - 1} joints that" in refusal("mujoco", replace(any_robot, **fewer), 1)


@pytest.mark.parametrize("text", [None, "<mujoco><worldbody></mujoco>", "<mujoco><option timestep='no'/></mujoco>"])
def test_a_bad_robot_file_is_refused_in_one_sentence(tmp_path: Path, text: Optional[str]) -> None:
    path = tmp_path / "robot.xml"
    if text is not None:
        path.write_text(text)
    assert str(path) in refusal("mujoco", replace(get_robot("quadruped"), mjcf=str(path)), 1)


def test_joint_ranges_in_degrees_are_read_as_degrees(tmp_path: Path) -> None:
    model = compose_scene(write_biped(tmp_path, 'range="-90 45"', compiler='angle="degree"'), 0.01)
    np.testing.assert_allclose(model.actuator_ctrlrange, [[-math.pi / 2, math.pi / 4]] * 4)


def test_a_joint_without_a_range_takes_any_target(tmp_path: Path) -> None:
    sim = make(write_biped(tmp_path, ""))
    place(sim, AIR_M)
    for _ in range(100):
        sim.step(torch.full((1, 4), 2.0))
    assert sim.state.joint_pos[0].tolist() == pytest.approx([2.0] * 4, abs=0.05)


def test_the_trunk_is_the_body_with_the_free_joint(any_robot: Robot) -> None:
    assert "free joint" in refusal("mujoco", replace(any_robot, trunk=any_robot.feet[0]), 1)


@pytest.mark.parametrize("shape", [(1, 12), (2, 11), (12,), (5, 2, 12), (1, 2, 2, 12)])
def test_targets_of_another_shape_are_refused(shape: tuple) -> None:
    with pytest.raises(UserError, match=r"targets .*\(2, 12\)"):
        make(get_robot("quadruped"), 2).step(torch.zeros(shape))


def test_drives_rest_after_a_reset(robot: Robot) -> None:
    sim = make(robot)
    place(sim)
    assert not sim.state.joint_torque.any()
