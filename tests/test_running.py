"""IsaacAnt-v0 and IsaacHumanoid-v0: torques, observations, rewards worked by hand, what standing and falling earn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict

import pytest
import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.robots import Robot, get_robot
from sb3_isaac.robots.torque_driven import ANT, HUMANOID
from sb3_isaac.sim import make_simulator
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts.running import RunTask
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

TASKS = ("IsaacAnt-v0", "IsaacHumanoid-v0")


def make(env_id: str, num_envs: int = 2, **options: Any) -> RunTask:
    env = make_task(env_id, num_envs, **{"seed": 0, "threads": 1, "stagger": False, **options})
    assert isinstance(env, RunTask)
    env.reset()
    return env


def place(env: RunTask, quat: Any, **given: torch.Tensor) -> None:
    """Robots 2 m above the ground, joints in the default pose, unless told otherwise; values of one or of each."""
    n, joints = env.num_envs, len(env.robot.joints)
    state: Dict[str, torch.Tensor] = {
        "root_pos_w": torch.tensor([1.0, -2.0, 2.0]), "root_quat_w": torch.tensor(quat),
        "root_lin_vel_w": torch.zeros(3), "root_ang_vel_b": torch.zeros(3),
        "joint_pos": torch.tensor(env.robot.default_joint_pos), "joint_vel": torch.zeros(joints), **given}
    env.sim.reset(torch.ones(n, dtype=torch.bool), **{name: value.expand(n, -1) for name, value in state.items()})
    env.last_pos_w.copy_(env.sim.state.root_pos_w[:, :2])


@pytest.mark.parametrize("env_id", TASKS)
def test_the_observation_is_the_table(env_id: str) -> None:
    env = make(env_id)
    joints, feet = len(env.robot.joints), len(env.robot.feet)
    assert env.obs_table == {"trunk_height": 1, "lin_vel_b": 3, "ang_vel_b": 3, "gravity_b": 3, "heading": 2,
                             "joint_pos": joints, "joint_vel": joints, "foot_contact": feet, "last_action": joints}
    assert env.max_steps == 1000 and env.control_dt == pytest.approx(1 / 60)
    low, high = env.sim.joint_range.unbind(dim=1)
    turn = 0.6  # rad to the left: the body's x axis is (cos, sin) in the world
    place(env, [math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2)], joint_pos=low + 0.75 * (high - low),
          root_lin_vel_w=torch.tensor([2.0, 0.0, 0.0]))
    obs = env._observe(env.features(), env._obs)["policy"][0]
    expected = [2.0, 2.0 * math.cos(turn), -2.0 * math.sin(turn), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, math.cos(turn),
                math.sin(turn)]
    torch.testing.assert_close(obs[:12], torch.tensor(expected))
    torch.testing.assert_close(obs[12:12 + joints], torch.full((joints,), 0.5))
    assert (obs[12 + joints:] == 0).all(), "at rest in the air"


@pytest.mark.parametrize(("robot", "sim"), [(ANT, "mujoco"), (HUMANOID, "mujoco"), (ANT, "isaacgym")])
def test_actions_are_torques_within_their_limits(robot: Robot, sim: str) -> None:
    made, joints = make_simulator(sim, robot, 2, threads=1, physics_dt=1 / 120), len(robot.joints)
    limit = torch.tensor(robot.torque_limit_nm)
    made.step(torch.stack((0.25 * limit, -3.0 * limit)))
    torch.testing.assert_close(made.state.joint_torque, torch.stack((0.25 * limit, -limit)))
    made.set_param("motor_strength", torch.full((2, joints), 0.5))
    made.step(torch.stack((0.25 * limit, -3.0 * limit)))
    torch.testing.assert_close(made.state.joint_torque, torch.stack((0.125 * limit, -0.5 * limit)))
    made.close()


@pytest.mark.parametrize("sim", ["mujoco", "isaacgym"])
def test_a_torque_turns_a_joint_as_its_inertia_says(sim: str) -> None:
    """Without gravity and with a heavy trunk, ω = τ t / I with I = 0.01 kg·m² of armature and the leg's own."""
    made = make_simulator(sim, replace(ANT, armature_kgm2=(5.0,) * 8), 1, threads=1, physics_dt=1e-3, substeps=10)
    root, still = torch.tensor([[0.0, 0.0, 3.0]]), torch.zeros(1, 3)
    made.reset(torch.ones(1, dtype=torch.bool), root, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), still, still,
               torch.tensor([[0.0, 1.0] * 4]), torch.zeros(1, 8))
    torque = torch.tensor([[10.0, -5.0] * 4])
    made.step(torque)
    torch.testing.assert_close(made.state.joint_vel, torque * 0.01 / 5.0, rtol=0.02, atol=0.0)
    made.close()


def test_the_ants_reward_worked_by_hand() -> None:
    env = make("IsaacAnt-v0")
    lean = 0.5  # rad forward: cos is 0.878, less than upright's 0.93 and more than facing's 0.8
    place(env, [math.cos(lean / 2), 0.0, math.sin(lean / 2), 0.0], root_lin_vel_w=torch.tensor([3.0, 0.4, 0.0]))
    action = torch.tensor([[0.5, -1.0] * 4, [0.0] * 8])
    step = env.step(action)
    log = step.log
    torch.testing.assert_close(log["reward/speed"], torch.full((2,), 3.0), rtol=0.05, atol=0.0)
    assert (log["reward/alive"] == 0.5).all() and (log["reward/up"] == 0.0).all() and (log["reward/fall"] == 0.0).all()
    torch.testing.assert_close(log["reward/heading"], torch.full((2,), 0.5))
    torch.testing.assert_close(log["reward/effort"], torch.tensor([-0.005 * (4 * 0.25 + 4 * 1.0), 0.0]))
    assert (log["reward/limits"] == torch.tensor([-0.4, -0.4])).all(), "four knees are at the end of their range"
    total = sum(value for name, value in log.items() if name.startswith("reward/"))
    torch.testing.assert_close(step.reward, total)


def test_energy_is_by_the_strength_of_each_joint() -> None:
    """0.1 · 0.05 · |a q̇| · limit / 135 N·m, and 1 at the end of a range, 0.5 in the middle of its last hundredth."""
    env = make("IsaacHumanoid-v0")
    low, high = env.sim.joint_range.unbind(dim=1)
    share = torch.zeros(21)
    share[0], share[6] = 0.99, -1.0  # the waist about its vertical axis, 67.5 N·m, and the right knee, 90 N·m
    place(env, [1.0, 0.0, 0.0, 0.0], joint_pos=0.5 * (low + high) + 0.5 * share * (high - low),
          joint_vel=torch.arange(21.0))
    env.action.fill_(0.5)
    f, weight = env.features(), {name: term.weight for name, term in env.rewards.items()}
    strength = torch.tensor(HUMANOID.torque_limit_nm) / 135.0
    assert HUMANOID.joints[0] == "abdomen_z" and HUMANOID.joints[6] == "right_knee" and weight["energy"] == -0.005
    torch.testing.assert_close(env.rewards["energy"].value(f)[0], (0.5 * torch.arange(21.0) * strength).sum())
    torch.testing.assert_close(env.rewards["limits"].value(f)[0], torch.tensor(0.5 * 67.5 / 135 + 90 / 135),
                               rtol=1e-3, atol=0.0)
    torch.testing.assert_close(env.rewards["effort"].value(f)[0], torch.tensor(21 * 0.25))


def test_what_standing_and_falling_earn() -> None:
    """Per step without torques: the ant rests on four knees at the end of their range, 0.5 + 0.1 + 0.5 − 4 · 0.1."""
    ant = make("IsaacAnt-v0")
    for _ in range(60):
        step = ant.step(torch.zeros(2, 8))
    torch.testing.assert_close(step.reward, torch.full((2,), 0.7), rtol=0.0, atol=1e-3)
    humanoid, earned = make("IsaacHumanoid-v0"), torch.zeros(2)
    over = torch.zeros(2, dtype=torch.bool)
    for _ in range(120):
        step = humanoid.step(torch.zeros(2, 21))
        earned += step.reward * ~over
        over |= step.terminated
    assert over.all() and (earned < 200).all(), "within two seconds it has fallen"
    assert not any(step.truncated)


def test_a_low_trunk_is_a_fall() -> None:
    env = make("IsaacAnt-v0")
    place(env, [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
          root_pos_w=torch.tensor([[0.0, 0.0, 0.26], [0.0, 0.0, 0.5]]))
    step = env.step(torch.zeros(2, 8))
    assert step.terminated.tolist() == [True, False], "on its back; in the air"
    assert step.log["reward/fall"].tolist() == [-2.0, 0.0] and (step.log["reward/up"] > 0).tolist() == [False, True]
    assert abs(step.obs["policy"][0, 0] - 0.3628) < 1e-4, "it begins anew in its standing pose"


@pytest.mark.parametrize("env_id", TASKS)
def test_legs_and_arms_change_sides_in_a_mirror(env_id: str) -> None:
    env = make(env_id)
    mirrors, names = env.mirror(), list(env.robot.joints)
    swapped = [name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right") for name in names]
    assert [names[i] for i in mirrors.action.source] == swapped
    opposite = {name for name, sign in zip(names, mirrors.action.sign) if sign < 0}
    assert opposite == ({name for name in names if "hip" in name} if env_id == "IsaacAnt-v0"
                        else {"abdomen_z", "abdomen_x"})
    joints, feet = len(names), len(env.robot.feet)
    seen = mirrors.observation["policy"]
    assert seen.sign[:12] == (1, 1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1)
    assert Mirror(tuple(i - 12 for i in seen.source[12:12 + joints]), seen.sign[12:12 + joints]) == mirrors.action
    assert [i - 12 - 2 * joints for i in seen.source[12 + 2 * joints:][:feet]] == [i ^ 1 for i in range(feet)]


def test_the_report_worked_by_hand() -> None:
    env, episodes = make("IsaacAnt-v0"), Episodes(2, torch.device("cpu"), 1 / 60)
    for i in range(2):
        log = {"falls": torch.tensor([False, i == 1]), "forward_speed": torch.tensor([3.0, 1.0 + i]),
               "sideways_speed": torch.tensor([6.0, -12.0]), "upright": torch.tensor([1.0, float(i)]),
               "trunk_height_m": torch.tensor([0.5, 0.4 - 0.1 * i]), "power_w": torch.tensor([30.0, 30.0]),
               "foot_contact": torch.tensor([[True, False, True, False], [True, True, True, True]])}
        episodes.add(torch.ones(2), torch.tensor([False, i == 1]), torch.tensor([i == 1, False]), log)
    report, weight = env.report(episodes), env.sim.weight_n
    transport = [30.0 / (weight * 3.0), 30.0 / (weight * 1.5)]
    assert report["falls_fraction"] == 0.5 and report["forward_speed_mean"] == pytest.approx((3.0 + 1.5) / 2)
    assert report["sideways_m"] == pytest.approx((2 * 6 / 60 + 2 * 12 / 60) / 2)
    assert report["upright_fraction"] == 0.75 and report["min_trunk_height_m"] == pytest.approx(0.3)
    assert report["cost_of_transport"] == pytest.approx(min(transport), rel=1e-4), "torch's median of two is the lower"
    assert report["duty_factor"] == 0.75


def test_drives_that_do_not_fit_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="robot 'ant' has torque drives and QuadrupedFlat is for position drives"):
        QuadrupedFlat(1, robot=ANT, threads=1)
    with pytest.raises(UserError, match="drive='motor': give position or torque"):
        replace(ANT, drive="motor")
    with pytest.raises(UserError, match=r"kp=.*: give 0, for torque drives have no gain"):
        replace(ANT, kp=25.0)
    with pytest.raises(UserError, match=r"kp=.*: give finite numbers above 0"):
        replace(ANT, drive="position")


def test_a_file_makes_a_robot_with_torque_drives() -> None:
    given = {name: getattr(ANT, name) for name in ("default_joint_pos", "torque_limit_nm", "feet", "drive")}
    robot = get_robot({"mjcf": ANT.mjcf, **given})
    assert robot.drive == "torque" and robot.kp == (0.0,) * 8 == robot.kd and robot.joints == ANT.joints
    assert robot.base_height_m == pytest.approx(ANT.base_height_m, abs=1e-3)
