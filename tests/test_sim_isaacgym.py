"""The Isaac Gym simulator on the emulation: the same mechanics as sim="mujoco", in the same conventions."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import pytest
import torch
from isaacgym_helpers import NVIDIAS, emulation, python, write
from test_sim import write_biped

from sb3_isaac import IsaacVecEnv
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import from_yaw, rotate
from sb3_isaac.gymcompat.install import nvidia_is_imported
from sb3_isaac.robots import ROBOTS, Robot, get_robot
from sb3_isaac.sim import Simulator, make_simulator

pytest.importorskip("mujoco")
ROOT = Path(__file__).resolve().parents[1]
__all__ = ["emulation"]
pytestmark = pytest.mark.usefixtures("emulation")


@pytest.fixture(params=["anymal", "quadruped", "biped"])
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Robot:
    return write_biped(tmp_path) if request.param == "biped" else ROBOTS[request.param]


PHYSICS_DT = 0.01


def make(sim: str, robot: Robot, num_envs: int = 3, **options: Any) -> Simulator:
    """Of sim="mujoco" the robot whose drives are those of Isaac Gym, which integrates a spring implicitly."""
    if sim == "mujoco":
        robot = replace(robot, kd=tuple(kd + kp * PHYSICS_DT for kp, kd in zip(robot.kp, robot.kd)))
    return make_simulator(sim, robot, num_envs, threads=1, **options)


def place(sim: Simulator, mask: Any = None, height_m: float = 3.0, **given: torch.Tensor) -> None:
    """Robots tumbling through the air, unless told otherwise."""
    n, joints = sim.num_envs, len(sim.robot.joints)
    generator = torch.Generator().manual_seed(0)
    pos = torch.tensor([0.0, 0.0, height_m]).repeat(n, 1)
    quat = from_yaw(torch.linspace(-1.0, 2.0, n))
    quat[:, 1] = 0.3
    state: Dict[str, torch.Tensor] = {
        "root_pos_w": pos, "root_quat_w": quat / quat.norm(dim=1, keepdim=True),
        "root_lin_vel_w": torch.randn(n, 3, generator=generator),
        "root_ang_vel_b": torch.randn(n, 3, generator=generator),
        "joint_pos": torch.tensor(sim.robot.default_joint_pos).repeat(n, 1),
        "joint_vel": 0.5 * torch.randn(n, joints, generator=generator)}
    sim.reset(torch.ones(n, dtype=torch.bool) if mask is None else mask, **{**state, **given})


def targets(sim: Simulator, seed: int) -> torch.Tensor:
    default = torch.tensor(sim.robot.default_joint_pos)
    noise = torch.randn(sim.num_envs, len(default), generator=torch.Generator().manual_seed(seed))
    return default + 0.1 * noise  # within the torque limits, which count a joint's own damping in one of the two only


FIELDS = ("root_pos_w", "root_quat_w", "root_lin_vel_w", "root_ang_vel_b", "joint_pos", "joint_vel", "joint_torque",
          "contact_force_w")
"""Of SimState, without foot_pos_w, which in the MuJoCo simulator is of the last physics step's start."""


def assert_same(a: Simulator, b: Simulator, atol: float = 2e-4) -> None:
    order = [a.body_names.index(name) for name in b.body_names]
    for name in FIELDS:
        ours, theirs = getattr(a.state, name), getattr(b.state, name)
        ours = ours[:, order] if name == "contact_force_w" else ours
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_it_moves_as_the_mujoco_simulator_does(robot: Robot) -> None:
    """In the air, then standing: frames, quaternion order, joint order, drives, damping, contacts."""
    if robot.name == "biped":  # whose drives are stiff: they saturate by the step's end, ours by its start
        robot = replace(robot, torque_limit_nm=tuple(10 * limit for limit in robot.torque_limit_nm))
    gym, mujoco = make("isaacgym", robot), make("mujoco", robot)
    assert gym.weight_n == pytest.approx(mujoco.weight_n, rel=1e-5)
    torch.testing.assert_close(gym.state.root_pos_w[:, 2], torch.full((3,), robot.base_height_m))
    assert gym.control_dt == mujoco.control_dt and torch.equal(gym.friction, mujoco.friction)
    for sim in (gym, mujoco):
        place(sim)
    for i in range(10):
        for sim in (gym, mujoco):
            sim.step(targets(sim, i))
        assert_same(gym, mujoco)
    if robot.name == "biped":  # which cannot stand
        return
    level = from_yaw(torch.zeros(3))
    for sim in (gym, mujoco):
        place(sim, height_m=robot.base_height_m + 0.02, root_quat_w=level, root_lin_vel_w=torch.zeros(3, 3),
              root_ang_vel_b=torch.zeros(3, 3))
    for _ in range(100):
        for sim in (gym, mujoco):
            sim.step(torch.tensor(robot.default_joint_pos).repeat(3, 1))
    # Feet stick on the emulation; in our own simulator they creep apart under the weight, here for 2 s.
    torch.testing.assert_close(gym.state.joint_pos, mujoco.state.joint_pos, atol=0.2, rtol=0.0)
    for sim in (gym, mujoco):
        upward = sim.state.contact_force_w[..., 2].sum(dim=1)
        torch.testing.assert_close(upward, torch.full((3,), sim.weight_n), atol=0.0, rtol=0.02)


def test_targets_of_each_physics_step_and_beyond_the_joints_ranges() -> None:
    gym, mujoco = make("isaacgym", get_robot("quadruped")), make("mujoco", get_robot("quadruped"))
    for sim in (gym, mujoco):
        place(sim)
        beyond = targets(sim, 1)
        beyond[:, 2::3] = -0.5  # of a range that ends at -0.838
        sim.step(torch.stack((targets(sim, 0), beyond)))
    assert_same(gym, mujoco)
    with pytest.raises(UserError, match=r"targets .*\(3, 12\)"):
        gym.step(torch.zeros(3, 11))


def test_reset_touches_the_masked_robots_alone_and_knows_their_bodies(robot: Robot) -> None:
    sim = make("isaacgym", robot)
    place(sim)
    for i in range(3):
        sim.step(targets(sim, i))
    before = {name: getattr(sim.state, name).clone() for name in FIELDS}
    addresses = {name: getattr(sim.state, name).data_ptr() for name in FIELDS}
    pos = torch.tensor([5.0, -2.0, 1.5]).repeat(3, 1)
    mask = torch.tensor([False, True, False])
    place(sim, mask, root_pos_w=pos)
    for name in FIELDS:
        assert torch.equal(getattr(sim.state, name)[[0, 2]], before[name][[0, 2]]), name
        assert getattr(sim.state, name).data_ptr() == addresses[name], name
    state = sim.state
    assert torch.equal(state.root_pos_w[1], pos[1]) and not state.contact_force_w[1].any()
    reference = make("mujoco", robot)
    place(reference, root_pos_w=pos)
    torch.testing.assert_close(state.foot_pos_w[1], reference.state.foot_pos_w[1], atol=1e-3, rtol=0.0)
    torch.testing.assert_close(state.joint_torque[1], reference.state.joint_torque[1], atol=1e-4, rtol=1e-4)
    place(sim, torch.zeros(3, dtype=torch.bool), root_pos_w=10.0 + pos)
    assert torch.equal(state.root_pos_w[1], pos[1]), "an empty mask resets nobody"


def test_feet_are_where_the_mujoco_simulator_finds_them_a_physics_step_later(robot: Robot) -> None:
    gym, mujoco = make("isaacgym", robot, substeps=1), make("mujoco", robot, substeps=1)
    for sim in (gym, mujoco):
        place(sim)
    for i in range(5):
        before = gym.state.foot_pos_w.clone()
        for sim in (gym, mujoco):
            sim.step(targets(sim, i))
        torch.testing.assert_close(mujoco.state.foot_pos_w, before, atol=1e-3 if i == 0 else 1e-4, rtol=0.0)


def test_angular_velocity_is_the_bodys() -> None:
    """A robot spinning about the vertical, lying on its side: in its own frame that is about y."""
    sim = make("isaacgym", get_robot("quadruped"), 1)
    on_its_side = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]])
    spin = torch.tensor([[0.0, 2.0, 0.0]])
    place(sim, root_quat_w=on_its_side, root_ang_vel_b=spin, root_lin_vel_w=torch.zeros(1, 3),
          joint_vel=torch.zeros(1, 12))
    nose = rotate(on_its_side, torch.tensor([[1.0, 0.0, 0.0]]))
    sim.step(torch.tensor([sim.robot.default_joint_pos]))
    turned = rotate(sim.state.root_quat_w, torch.tensor([[1.0, 0.0, 0.0]]))
    assert float(torch.linalg.cross(nose, turned)[0, 2]) == pytest.approx(2.0 * sim.control_dt, rel=0.05)
    torch.testing.assert_close(sim.state.root_ang_vel_b, spin, atol=0.1, rtol=0.0)


def test_a_saved_simulation_goes_on() -> None:
    robot = get_robot("quadruped")
    sim, other = make("isaacgym", robot), make("isaacgym", robot)
    place(sim)
    for i in range(5):
        sim.step(targets(sim, i))
    other.load_state_dict(sim.state_dict())
    for name in FIELDS:
        torch.testing.assert_close(getattr(other.state, name), getattr(sim.state, name))
    for i in range(5):
        for each in (sim, other):
            each.step(targets(each, i))
    assert_same(sim, other, atol=1e-4)
    with pytest.raises(UserError, match="same sim, robot and num_envs"):
        make("isaacgym", robot, 2).load_state_dict(sim.state_dict())
    with pytest.raises(UserError, match="same sim"):
        sim.load_state_dict(make("mujoco", robot).state_dict())


def test_the_task_runs_on_it_and_gives_the_same_rewards() -> None:
    """The same random actions, over the ends of all first episodes."""
    envs = [IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=8, sim=sim, seed=3, threads=1, episode_length_s=0.5)
            for sim in ("isaacgym", "mujoco")]
    robot = envs[1].env.sim.robot
    damping = torch.tensor([kd + kp * PHYSICS_DT for kp, kd in zip(robot.kp, robot.kd)])
    envs[1].env.sim.set_param("kd", damping.repeat(8, 1))  # Isaac Gym integrates a spring implicitly
    for env in envs:
        env.reset_tensor()
    generator = torch.Generator().manual_seed(0)
    ended = 0
    for i in range(25):
        actions = 0.1 * torch.randn(8, 12, generator=generator)
        ours, theirs = (env.step_tensor(actions) for env in envs)
        ended += int(theirs.truncated.sum())
        assert torch.equal(ours.terminated, theirs.terminated) and torch.equal(ours.truncated, theirs.truncated)
        if i == 0:  # of robots in the air: the ground holds feet differently
            air = ~(ours.log["foot_contact"] | theirs.log["foot_contact"]).any(dim=1)
            assert int(air.sum()) >= 2
            torch.testing.assert_close(ours.obs["policy"][air], theirs.obs["policy"][air], atol=5e-3, rtol=1e-2)
    assert ended >= 8
    ours_r, theirs_r = (env.statistics.episode_return for env in envs)
    torch.testing.assert_close(ours_r, theirs_r, atol=0.1, rtol=0.2)
    with pytest.raises(UserError, match="no pictures of sim='isaacgym'"):
        IsaacVecEnv(num_envs=1, sim="isaacgym", threads=1, render_mode="rgb_array").get_images()
    for env in envs:
        env.close()


def test_auto_is_nvidias_package_if_that_was_imported_and_never_the_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    make("isaacgym", get_robot("quadruped")).close()
    assert type(make("auto", get_robot("quadruped"))).__name__ == "MujocoSimulator"
    assert not nvidia_is_imported()
    monkeypatch.setitem(sys.modules, "isaacgym", types.ModuleType("isaacgym"))
    assert nvidia_is_imported()
    monkeypatch.delitem(sys.modules, "isaacgym")
    assert not nvidia_is_imported()


def test_a_world_that_diverges_is_reported_and_stands_at_its_start(capsys: pytest.CaptureFixture[str]) -> None:
    robot = get_robot("quadruped")
    sim = make("isaacgym", robot)
    default = torch.tensor(robot.default_joint_pos).repeat(3, 1)
    start = sim.state.root_pos_w[1].clone()
    for name, bad in (("root_lin_vel_w", 1e20), ("joint_vel", 1e20)):
        given = {name: torch.full((3, 3 if name == "root_lin_vel_w" else 12), bad)}
        place(sim)
        place(sim, torch.tensor([False, True, False]), **given)
        sim.step(default)
        assert sim.diverged.tolist() == [False, True, False], name
        assert float(start[2]) == pytest.approx(robot.base_height_m)
        torch.testing.assert_close(sim.state.root_pos_w[1], start, atol=0.01, rtol=0.0)
        assert float(sim.state.root_pos_w[0, 2]) > 2.0, "the others go on"
        sim.step(default)
        assert not sim.diverged.any()
    place(sim)
    wrong = default.clone()
    wrong[2, 5] = float("nan")
    sim.step(wrong)
    assert sim.diverged.tolist() == [False, False, True]
    place(sim, sim.diverged.clone())
    sim.step(default)
    assert not sim.diverged.any() and torch.isfinite(sim.state.joint_pos).all()
    assert capsys.readouterr().err.count("diverged") == 1


def test_a_diverged_episode_ends_without_a_reward() -> None:
    """On the task: as on the other simulator."""
    for name in ("isaacgym", "mujoco"):
        env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=3, sim=name, seed=0, threads=1)
        env.reset_tensor()
        actions = torch.zeros(3, 12)
        actions[1] = float("nan")
        step = env.step_tensor(actions)
        assert step.log["bad_world"].tolist() == [False, True, False] == step.terminated.tolist(), name
        assert float(step.reward[1]) == 0.0 and torch.isfinite(step.obs["policy"]).all()
        env.close()


def test_the_command_line_trains_on_it_and_evaluates_on_either(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--num-envs", "4", "-n", "96", "--eval-episodes", "2", "--eval-freq", "-1", "--seed", "1",
                 "-params", "batch_size:48", "--env-kwargs", "sim:isaacgym", "threads:1", "episode_length_s:0.4"]) == 0
    run = "logs/ppo/IsaacQuadrupedFlat-v0_1"
    assert "sim: isaacgym" in (tmp_path / run / "config.yml").read_text()
    heights, kp, kd = [], get_robot("quadruped").kp[0], get_robot("quadruped").kd[0]
    implicit = 1 + kp * PHYSICS_DT / kd  # the drives of Isaac Gym, as those of make("mujoco", ...) above
    for options in ([], ["--env-kwargs", "sim:mujoco", f"randomize.kd:{implicit}"]):
        capsys.readouterr()
        assert main(["eval", run, "--episodes", "4", "--json", *options]) == 0
        heights.append(json.loads(capsys.readouterr().out)["min_trunk_height_m"])
    assert heights[0] == pytest.approx(heights[1], abs=0.005) and heights[0] > 0.2
    for options, said in ((["simm:mujoco"], "did you mean 'sim'"), (["stagger:true"], "unknown key 'stagger'"),
                          (["sim"], "write key:value"), (["sim:bullet"], "unknown sim 'bullet'")):
        assert main(["eval", run, "--env-kwargs", *options]) == 2
        assert said in capsys.readouterr().err


def test_what_it_refuses(tmp_path: Path) -> None:
    robot = get_robot("quadruped")
    for bad, said in ((replace(robot, mjcf="nowhere/robot.xml"), "robot.xml"),
                      (replace(robot, trunk="tail"), "names body 'tail'"),
                      (replace(robot, joints=("nose", *robot.joints[1:])), "names the joints nose")):
        with pytest.raises(UserError, match=said):
            make("isaacgym", bad)
    with pytest.raises(UserError, match="device 'cuda:0' is not where Isaac Gym is emulated"):
        make_simulator("isaacgym", robot, 1, device="cuda:0")


def test_after_torch_nvidias_package_is_refused_with_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "isaacgym", NVIDIAS)
    code = ("import torch\nfrom sb3_isaac import IsaacVecEnv, UserError\n"
            "try:\n    IsaacVecEnv(num_envs=1, sim='isaacgym')\nexcept UserError as error:\n    print(error)")
    out = python("-c", code, cwd=tmp_path, path=tmp_path)
    assert "import isaacgym first" in out.stdout, out.stdout + out.stderr


def test_it_is_typed_against_the_public_stubs(tmp_path: Path) -> None:
    """``isaacgym-stubs`` lists NVIDIA's names and signatures; two of its arguments are called ``lambda``, and mended.

    A file with three mistakes shows that the check can fail.
    """
    stubs = importlib.metadata.distribution("isaacgym-stubs").locate_file("isaacgym-stubs")
    text = re.sub(r"\blambda\b", "lambda_", (Path(str(stubs)) / "gymapi.pyi").read_text(encoding="utf-8"))
    write(tmp_path / "isaacgym", {
        "__init__.pyi": "", "gymapi.pyi": text.replace("def acquire_gym(*args, **kwargs)", "def acquire_gym()"),
        "gymtorch.pyi": "import torch\nfrom isaacgym.gymapi import Tensor\n"
                        "def wrap_tensor(gym_tensor: Tensor) -> torch.Tensor: ...\n"
                        "def unwrap_tensor(torch_tensor: torch.Tensor) -> Tensor: ...\n"})
    source = (ROOT / "sb3_isaac" / "sim" / "isaacgym.py").read_text(encoding="utf-8")
    wrong = (source.replace("_gym.prepare_sim(self._sim)", "_gym.prepare_sims(self._sim)")
             .replace("gymapi.SIM_PHYSX, params", "params, gymapi.SIM_PHYSX")
             .replace("ground.static_friction =", "ground.stat_friction ="))
    write(tmp_path, {"right.py": source, "wrong.py": wrong, "mypy.ini": (
        "[mypy]\nfollow_imports = skip\nignore_missing_imports = True\ncheck_untyped_defs = True\n"
        "[mypy-isaacgym.*]\nfollow_imports = normal\n")})
    out = python("-m", "mypy", "--config-file", "mypy.ini", "right.py", "wrong.py", cwd=tmp_path)
    mistakes = [line for line in out.stdout.splitlines() if ": error:" in line and not line.startswith("isaacgym")]
    assert not [line for line in mistakes if line.startswith("right.py")], out.stdout
    for name in ("prepare_sims", "create_sim", "stat_friction"):
        assert any(name in line for line in mistakes), out.stdout


def test_this_file_uses_the_emulation() -> None:
    assert sys.modules["isaacgym"].__emulated__ is True
