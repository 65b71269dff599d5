"""Tasks and terms of a user's own, in a file outside the package, through the commands and from Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Iterator

import gymnasium
import pytest
import torch
from stable_baselines3 import PPO as StockPPO

from sb3_isaac import PPO, IsaacVecEnv, Step, UserError, register_task
from sb3_isaac.cli.main import main
from sb3_isaac.contract import names
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.callbacks.evaluation import Evaluation
from sb3_isaac.rl.policy.evaluate import eval_options, run_episodes
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat
from sb3_isaac.testing import check_tensor_env, check_vec_env

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
QUADRUPED, OURS = "IsaacQuadrupedFlat-v0", ["--gym-packages", "my_tasks"]
SMALL = {"seed": 0, "threads": 1, "stagger": False}


@pytest.fixture(autouse=True)
def in_the_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(names, "_ALLOWED", set(names._ALLOWED))
    yield


def test_a_whole_task_in_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "ppo" / "MyCart-v0_1"
    train = ["train", *OURS, "--env", "MyCart-v0", "-f", str(tmp_path), "--num-envs", "16", "-n", "1024"]
    assert main([*train, "--eval-episodes", "4"]) == 0 and (run / "DONE").read_text() == "1152\n"
    assert main(["train", *OURS, "-i", str(run), "-n", "1536"]) == 0 and (run / "DONE").read_text() == "1536\n"
    capsys.readouterr()
    assert main(["eval", *OURS, str(run), "--episodes", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["episodes"] == 4 and report["steps"] == 1536 and 0 < report["reward_mean"] <= 100
    assert not {"falls_fraction", "forward_speed_mean"} & set(report)
    picture = tmp_path / "cart.png"
    assert main(["play", *OURS, str(run), "--picture", str(picture), "--seconds", "0.5", "--size", "320x240"]) == 0
    assert main(["plot", str(run), "--out", str(tmp_path / "curve.png")]) == 0
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in (picture, tmp_path / "curve.png"))


def test_the_goal_of_a_task_ends_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture) -> None:
    import my_tasks

    from sb3_isaac import StopRule

    monkeypatch.setattr(my_tasks.Cart, "stop_rule", StopRule({"reward_mean": (1.0, 100.0)}, goal="it rolls"))
    command = ["train", *OURS, "--env", "MyCart-v0", "-f", str(tmp_path), "--num-envs", "16", "-n", "1e5",
               "--eval-freq", "384"]
    assert main(command) == 0
    assert "it rolls: stopped at 384 steps" in capsys.readouterr().out


def test_without_its_package_a_task_and_a_term_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--env", "TheirCart-v0", "-f", str(tmp_path)]) == 2
    assert "--gym-packages" in capsys.readouterr().err
    names._ALLOWED.discard("my_tasks")
    assert main(["train", "--env-kwargs", "reward.jump:[0.3,'my_tasks.jump']", "--num-envs", "2", "-f",
                 str(tmp_path)]) == 2
    assert "--gym-packages my_tasks" in capsys.readouterr().err


def test_terms_by_name_and_as_functions() -> None:
    names.allow_packages(["my_tasks"])
    import my_tasks

    named = make_task(QUADRUPED, 3, **SMALL, reward={"jump": [0.5, "my_tasks.jump"]}, command={
        "height_m": "my_tasks.HEIGHT"}, termination={"upside_down": "my_tasks.upside_down"},
        observation={"policy": {"feet": "my_tasks.foot_height"}})
    given = make_task(QUADRUPED, 3, **SMALL, reward={"jump": (0.5, my_tasks.jump)}, command={
        "height_m": Axis(0.20, 0.34)}, termination={"upside_down": my_tasks.upside_down},
        observation={"policy": {"feet": lambda f: f.foot_clearance}})
    for env in (named, given):
        assert env.observation_space["policy"].shape == (44 + 1 + 4,), "a command of three numbers, and four feet"
        env.reset(seed=1)
    for _ in range(5):
        a, b = (env.step(torch.ones(3, 12)) for env in (named, given))
        assert torch.equal(a.obs["policy"], b.obs["policy"]) and torch.equal(a.reward, b.reward)
    assert set(a.log["reward/jump"].tolist()) <= {0.0, 0.5} and (a.obs["policy"][:, 44] >= 0.2).all()


def test_a_task_made_of_anothers_tables() -> None:
    import my_tasks

    assert make_task("MyHop-v0", 2, **SMALL).obs_table["foot_height"] == 4  # type: ignore[attr-defined]
    check_tensor_env(make_task("MyHop-v0", 3, seed=0, threads=1, episode_length_s=1.0))
    check_tensor_env(my_tasks.Cart(4))
    check_vec_env(IsaacVecEnv("MyCart-v0", num_envs=3))
    options = eval_options("MyHop-v0", {"threads": 1}, [0.5, 0.0, 0.3])
    assert options["command"] == {"forward_m_s": 0.5, "yaw_rad_s": 0.0, "height_m": 0.3, "resample_s": 1e6}


@pytest.mark.parametrize(("options", "words"), [
    ({"reward": {"jump": "often"}}, ["jump", "(weight, function)"]),
    ({"reward": {"jump": (0.1, "os.system")}}, ["os.system", "--gym-packages os"]),
    ({"reward": {"jump": (0.1, "jump")}}, ["'jump'", "my_tasks.jump"]),
    ({"reward": {"jump": (0.1, lambda f: f.lin_vel_b)}}, ["jump", "(2, 3)", "(2,)"]),
    ({"reward": {"jump": (0.1, lambda f: f.hight)}}, ["jump", "hight"]),
    ({"reward": {"jump": (float("nan"), lambda f: f.heading)}}, ["jump", "finite"]),
    ({"observation": {"polizy": {}}}, ["polizy", "did you mean 'policy'"]),
    ({"observation": {"policy": {"image": lambda f: torch.zeros(2, 3, 3)}}}, ["image", "(2, 3, 3)"]),
    ({"observation": {"policy": {"joint_poss": None}}}, ["joint_poss", "did you mean 'joint_pos'"]),
    ({"termination": {"tillt": None}}, ["tillt", "did you mean 'tilt'"]),
    ({"command": {"height_m": [0.2, 0.3]}}, ["height_m", "forward_m_s"]),
    ({"command": {"first": {"forward": [0.0, 1.0]}}}, ["'forward'", "first", "did you mean 'forward_m_s'"]),
])
def test_a_wrong_term_is_one_sentence(options: Any, words: Any) -> None:
    with pytest.raises(UserError) as error:
        make_task(QUADRUPED, 2, **SMALL, **options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), str(error.value)


@pytest.mark.parametrize(("env_id", "place", "words"), [
    ("no version", "a:B", "MyTask-v0"), ("Fine-v0", "a.b.C", "Class"), (QUADRUPED, "a:B", "already"),
])
def test_a_wrong_registration_is_one_sentence(env_id: str, place: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        register_task(env_id, place)


def test_the_same_robot_never_starts_twice_alike() -> None:
    """Nor do two robots that start in the same step."""
    env = make_task(QUADRUPED, 64, **SMALL, episode_length_s=0.02)
    starts = [env.reset(seed=0)["policy"].clone()]
    starts += [env.step(torch.zeros(64, 12)).obs["policy"].clone() for _ in range(10)]
    poses = torch.cat(starts)[:, :12]
    assert len(torch.unique(poses, dim=0)) == 11 * 64


def test_a_turn_of_many_radians_is_counted_whole() -> None:
    """The heading of a robot that turns at 3 rad/s for 4 s while it leans, from the world's frame."""
    from test_quadruped import ScriptedSim

    def turning(t: float) -> Any:
        half, lean = 1.5 * t, 0.2
        yaw, roll = torch.tensor([half]), torch.tensor([lean])
        return {"root_quat_w": [float(yaw.cos() * roll.cos()), float(yaw.cos() * roll.sin()),
                                float(yaw.sin() * roll.sin()), float(yaw.sin() * roll.cos())]}

    from sb3_isaac.rl.policy.evaluate import evaluate

    env = QuadrupedFlat(sim=ScriptedSim(turning), stagger=False, episode_length_s=4.0,  # type: ignore[arg-type]
                        command={"forward_m_s": 1.0, "yaw_rad_s": 0.0, "resample_s": 1e6})
    assert evaluate(env, lambda obs: torch.zeros(1, 12))["yaw_drift_rad"] == pytest.approx(12.0, abs=0.01)


def test_a_task_may_hold_networks_and_differentiate(monkeypatch: pytest.MonkeyPatch) -> None:
    import my_tasks

    class Learnt(my_tasks.Cart):
        """A network drives it, and its reward has the slope of a potential."""

        def __init__(self, num_envs: int = 1) -> None:
            super().__init__(num_envs)
            self.motor = torch.nn.Linear(1, 1)

        def step(self, actions: torch.Tensor) -> Step:
            step = super().step(self.motor(actions))
            with torch.enable_grad():
                x = self.state[:, 0].detach().requires_grad_()
                slope, = torch.autograd.grad((-x.square()).exp().sum(), x)
            return step._replace(reward=step.reward + slope)

    monkeypatch.setattr(my_tasks, "Cart", Learnt)
    assert make_task("MyCart-v0", 1).motor.weight.requires_grad
    model = PPO("MlpPolicy", IsaacVecEnv("MyCart-v0", num_envs=2), n_steps=8, batch_size=16, n_epochs=1)
    evaluation = Evaluation(lambda: IsaacVecEnv("MyCart-v0", num_envs=2), every=1)
    model.learn(32, callback=evaluation)
    assert evaluation.report is not None and evaluation.report["steps"] == 32
    task = unwrap(model.get_env()).env
    assert not task.state.requires_grad, "a graph that grows with each step fills the memory"
    run_episodes(task, lambda obs: torch.zeros(2, 1), max_steps=2)
    assert not task.state.requires_grad
    stock = StockPPO("MlpPolicy", IsaacVecEnv("MyCart-v0", num_envs=2), n_steps=8, batch_size=16, n_epochs=1)
    stock.learn(16)
    for made in (gymnasium.make("MyCart-v0"), gymnasium.make_vec("MyCart-v0", num_envs=2)):
        made.reset(seed=0)
        made.step(made.action_space.sample())


def test_a_term_may_differentiate() -> None:
    def slope(f: Any) -> torch.Tensor:
        with torch.enable_grad():
            speed = f.lin_vel_b[:, 0].detach().requires_grad_()
            return torch.autograd.grad(speed.square().sum(), speed)[0]

    def make() -> IsaacVecEnv:
        return IsaacVecEnv(QUADRUPED, num_envs=2, episode_length_s=0.2, **SMALL, reward={"slope": (0.1, slope)})

    model = PPO("MlpPolicy", make(), n_steps=8, batch_size=16, n_epochs=1)
    evaluation = Evaluation(make, every=1)
    model.learn(16, callback=evaluation)
    assert evaluation.report is not None and evaluation.report["steps"] == 16
