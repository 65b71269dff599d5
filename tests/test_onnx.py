"""ONNX files and what a program on a robot is told: the same actions, targets within limits, mistakes refused."""

from __future__ import annotations

import json
import re
import runpy
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
import yaml

from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.policy.formats import save_policy
from sb3_isaac.policy.layers import layout_of
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.rl.policy.deploy import deploy_facts
from sb3_isaac.rl.policy.onnx_file import write_onnx
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
DEPLOY = Path(__file__).resolve().parents[1] / "examples" / "deploy"
nn = torch.nn


def content_of(layers: List[torch.nn.Module], squashed: bool = False, **more: Any) -> Dict[str, Any]:
    """What a policy.pth holds of a network from 6 observations, the first of which is in other units, to 2 actions."""
    weights = {f"{i}.{name}": value for i, layer in enumerate(layers) for name, value in layer.state_dict().items()}
    return {"format_version": 2, "state_dict": weights, "layers": layout_of(layers), "squashed": squashed,
            "action_low": [-1.0, -2.0], "action_high": [1.0, 0.5], "obs_mean": torch.tensor([100.0, 1, 2, 3, 4, 5]),
            "obs_var": torch.tensor([1e4, 1, 1, 1, 0.01, 1]), "epsilon": 1e-8, "clip_obs": 10.0, **more}


NETWORKS = {
    "elu": [nn.Linear(6, 8), nn.ELU(0.7), nn.Linear(8, 2)],
    "norm": [nn.Linear(6, 8, bias=False), nn.LayerNorm(8), nn.SiLU(), nn.LayerNorm(8, elementwise_affine=False),
             nn.Linear(8, 2)],
    "gelu": [nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU("tanh"), nn.Linear(8, 2)],
    "others": [nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.Softplus(2.0), nn.Linear(8, 8), nn.Sigmoid(),
               nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh()],
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_layer_that_a_policy_may_have(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = PolicyModule(content_of(NETWORKS[name], squashed=name == "others"))
    assert write_onnx(policy, {"format": 1}, tmp_path / "p.onnx") <= 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx")
    obs = 3.0 * torch.randn(7, 6)
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"obs": obs.numpy()})[0]), policy(obs), atol=1e-5,
                               rtol=0)
    assert [output.name for output in session.get_outputs()] == ["action"], "no joints are known"


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_isaac.rl.policy.onnx_file._LAYERS", {
        nn.Linear: lambda g, x, layer: g.add("Gemm", x, g.constant(1.001 * layer.weight), g.constant(layer.bias),
                                             transB=1)})
    with pytest.raises(UserError, match="differ by up to"):
        write_onnx(PolicyModule(content_of([nn.Linear(6, 2)], clip_obs=float("inf"))), {}, tmp_path / "p.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the policy.pth of a quadruped that holds its default pose, whatever it sees."""
    folder = tmp_path_factory.mktemp("run")
    env = QuadrupedFlat(num_envs=1, sim="mujoco")
    facts = {key: value for key, value in env.metadata().items() if key not in ("joint_range", "units", "command")}
    net = nn.Linear(44, 12)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    content = content_of([net], **facts, env="IsaacQuadrupedFlat-v0", env_kwargs={"sim": "mujoco"}, steps=5)
    save_policy(folder / "policy.pth", {**content, "action_low": [-1.0] * 12, "action_high": [1.0] * 12,
                                        "obs_mean": torch.zeros(44), "obs_var": torch.ones(44)})
    env.close()
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    assert main(["export", str(run), "--onnx", str(run / "p.onnx"), "--deploy", str(run / "deploy.yml")]) == 0
    return run


def test_metadata_and_deploy_yml_tell_the_same(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an older policy.pth does not hold is the task's: ranges of joints and commands, units."""
    session = onnxruntime.InferenceSession(exported / "p.onnx")
    told = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert told == yaml.safe_load((exported / "deploy.yml").read_text())
    assert told["control_hz"] == 50.0 and told["joint_names"][0] == "FL_hip_joint" and told["steps"] == 5
    assert sum(part["width"] for part in told["observations"]) == 44
    assert told["observations"][1] == {"name": "joint_vel", "width": 12, "unit": "rad/s"}
    assert told["command"] == {"forward_m_s": [0.0, 1.2], "yaw_rad_s": [-0.5, 0.5]}
    assert told["units"]["command"] == {"forward_m_s": "m/s", "yaw_rad_s": "rad/s"}
    assert told["units"]["kp"] == "N·m/rad" and "kp: N·m/rad" in (exported / "deploy.yml").read_text(encoding="utf-8")
    assert set(told) - set(told["units"]) == {"format", "env", "joint_names", "units"}, "every number has one"
    assert told["joint_range"][2] == pytest.approx([-2.7227, -0.83776]) and told["latency_s"] == [0.0, 0.0]


def test_its_page_runs_and_explains_every_key(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This policy holds the default pose, whatever it sees."""
    page = (DEPLOY.parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "policy.onnx").write_bytes((exported / "p.onnx").read_bytes())
    (tmp_path / "page.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path("page.py")
    told = yaml.safe_load((exported / "deploy.yml").read_text())
    assert found["obs"].shape == (1, 44) and found["action"].tolist() == [[0.0] * 12]
    assert found["joint_target"][0].tolist() == pytest.approx(told["default_joint_pos"])
    assert [key for key in told if f"`{key}`" not in page] == []


def test_targets_are_scaled_actions_within_the_joints_ranges(tmp_path: Path) -> None:
    """Default (0, 1), scale 2, actions −1 and 0.5 at most: targets −2 and 2, of which the second joint allows 1.5."""
    policy = PolicyModule(content_of([nn.Linear(6, 2)]))
    nn.init.zeros_(policy.net[0].weight)
    policy.net[0].bias.data = torch.tensor([-9.0, 9.0])
    facts = deploy_facts(policy, {"obs_table": {"all": 6}, "control_dt": 0.02, "default_joint_pos": [0.0, 1.0],
                                  "action_scale": 2.0, "joint_range": [[-float("inf"), 3.0], [-1.5, 1.5]]})
    assert facts["joint_range"] == [[None, 3.0], [-1.5, 1.5]]
    write_onnx(policy, facts, tmp_path / "p.onnx")
    action, target = onnxruntime.InferenceSession(tmp_path / "p.onnx").run(None, {"obs": torch.zeros(1, 6).numpy()})
    assert action.tolist() == [[-1.0, 0.5]] and target.tolist() == [[-2.0, 1.5]]


@pytest.mark.parametrize("missing", ["default_joint_pos", "action_scale", "joint_range"])
def test_actions_that_are_no_joint_targets_are_the_only_output(missing: str, tmp_path: Path) -> None:
    """Such as torques: ant and humanoid have ranges of joints and no default pose."""
    told = {"obs_table": {"all": 6}, "control_dt": 0.02, "default_joint_pos": [0.0, 1.0], "action_scale": 2.0,
            "joint_range": [[-1.0, 3.0], [-1.5, 1.5]]}
    policy = PolicyModule(content_of([nn.Linear(6, 2)]))
    write_onnx(policy, deploy_facts(policy, {key: told[key] for key in told if key != missing}), tmp_path / "p.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx")
    assert [output.name for output in session.get_outputs()] == ["action"]


@pytest.mark.parametrize("case, words", [
    ("nothing", "give --onnx FILE, --deploy FILE or both."),
    ("package", "onnx is not installed: pip install 'sb3_isaac[onnx]'"),
    ("branches", "which cannot be exported: take an MLP"),
    ("other task", "export it for the task that it was trained on.")])
def test_what_cannot_be_exported_is_one_sentence(case: str, words: str, run: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--onnx", str(tmp_path / "p.onnx")]
    if case == "package":
        monkeypatch.setitem(sys.modules, "onnx", None)
    if case == "branches":
        run = tmp_path / "run"
        run.mkdir()
        (run / "model.zip").touch()
    other = ["--env", "IsaacDoublePendulum-v0"] if case == "other task" else []
    assert main(["export", str(run), *(out if case != "nothing" else ()), *other]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "p.onnx").exists()


def test_torques_have_no_scale_of_joint_targets() -> None:
    """Of ant and humanoid, whose actions are shares of a torque: nothing says that they are angles."""
    told = {"obs_table": {"all": 6}, "control_dt": 0.02, "action_scale": 1.0, "torque_limit_nm": [15.0, 15.0]}
    facts = deploy_facts(PolicyModule(content_of([nn.Linear(6, 2)])), told)
    assert "action_scale" not in facts and facts["units"]["actions"] == "1"
    assert deploy_facts(PolicyModule(content_of([nn.Linear(6, 2)])), {**told, "default_joint_pos": [0.0, 1.0]})[
        "action_scale"] == 1.0


def test_a_policy_of_a_task_that_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither obs_table nor control_dt"):
        deploy_facts(PolicyModule(content_of([nn.Linear(6, 2)])), {})


# ---- the example on a robot

@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEPLOY))


@pytest.mark.usefixtures("deploy")
@pytest.mark.parametrize("change, words", [
    ({}, None),
    ({"joint_names": "swapped"}, "joint 0 of the robot is FL_thigh_joint and of the policy FL_hip_joint"),
    ({"joint_names": ["a", "b"]}, "do not have the same joints"),
    ({"control_hz": 100.0}, "at 100 Hz and the policy gives them at 50 Hz"),
    ({"units": {"joint_pos": "deg"}}, "the robot has joint_pos in 'deg' and the policy in 'rad'"),
    ({"kp": [40.0] * 12}, "FL_hip_joint has kp 40 on the robot and was trained with 25"),
    ({"joint_pos": [3.0, 40.0, -88.0] * 4}, "joints stand outside their ranges in rad, such as FL_hip_joint (3)"),
    ({"gravity": [0.0, 0.0, 9.81]}, "gravity is (0.00, 0.00, 9.81)")])
def test_the_dry_run_refuses_another_order_rate_or_unit(exported: Path, change: Dict[str, Any], words: Any) -> None:
    from dry_run import UNITS, mistakes

    policy = yaml.safe_load((exported / "deploy.yml").read_text())
    names = policy["joint_names"]
    robot = {"joint_names": names, "control_hz": 50.0, "units": UNITS, "kp": policy["kp"], "kd": policy["kd"],
             "joint_pos": policy["default_joint_pos"], "gravity": [0.0, 0.0, -1.0]}
    if change.get("joint_names") == "swapped":
        change = {"joint_names": [names[1], names[0], *names[2:]]}
    if "units" in change:
        change = {"units": {**UNITS, **change["units"]}}
    found = mistakes(policy, {**robot, **change})
    assert found == [] if words is None else words in found[0]


@pytest.mark.usefixtures("deploy")
@pytest.mark.parametrize(("command", "words"), [
    ("1.0", "is of length 1: give the 2 numbers that this policy takes, forward_m_s, yaw_rad_s."),
    ("1,x", "--command '1,x' is no list of numbers"), ("nan,0", "--command 'nan,0' is no list of numbers")])
def test_a_loop_is_given_another_command(exported: Path, command: str, words: str) -> None:
    from control_loop import numbers, place

    policy = yaml.safe_load((exported / "deploy.yml").read_text(encoding="utf-8"))
    assert numbers("0.5,-0.1", policy) == [0.5, -0.1]
    with pytest.raises(SystemExit, match=re.escape(words)):
        numbers(command, policy)
    with pytest.raises(SystemExit, match="give host:port"):
        place("robot")


@pytest.mark.usefixtures("deploy")
def test_a_loop_says_what_it_cannot_observe() -> None:
    """Such as the biped's clock, which no sensor tells and this program does not run."""
    from control_loop import observation

    policy = {"observations": [{"name": name} for name in ("joint_pos", "clock")], "default_joint_pos": [0.5]}
    state = {"joint_pos": [0.6], "joint_vel": [0.0], "ang_vel": [0.0] * 3, "gravity": [0.0, 0.0, -1.0]}
    with pytest.raises(SystemExit, match="the policy observes clock, which this program does not know"):
        observation(policy, state, [0.0], [1.0, 0.0])


@pytest.mark.usefixtures("deploy")
def test_a_loop_and_a_simulated_robot_by_packets(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy of the default pose, packets lost and late: the robot stands for two seconds where it was."""
    import control_loop
    from simulated_robot import SimulatedRobot

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        robot, went = SimulatedRobot(link, lost=0.2, late_s=0.015), {}

        def live() -> None:
            robot.wait_for_start()
            went.update(robot.run(2.0, fast=True))

        thread = threading.Thread(target=live)
        thread.start()
        monkeypatch.setattr(sys, "argv", ["loop", str(exported / "p.onnx"), f"127.0.0.1:{link.getsockname()[1]}"])
        control_loop.main()
        thread.join()
    assert went["seconds"] == 2.0 and not went["fell"] and went["distance_m"] < 0.1
    assert 0.1 * went["packets"] < went["packets_lost"] < 0.3 * went["packets"] and len(robot.coming) <= 2
