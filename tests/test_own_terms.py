"""Terms, observations and terminations of a user's own, and the numbers and sentences that go with them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from sb3_isaac import IsaacVecEnv, Step, TensorEnv
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.contract.tensor_env import StopRule
from sb3_isaac.envs.registration import register_task
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.policy.evaluate import make_eval_env
from sb3_isaac.rl.policy.export import policy_content
from sb3_isaac.robots import get_robot
from sb3_isaac.tasks import make_task, task_class
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.memory import Memory

FLAT, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"


def divide(features: Any) -> torch.Tensor:
    return features.height / (1 // 0)


def height(features: Any) -> torch.Tensor:
    return features.height.double()


@pytest.mark.parametrize("options, message", [
    ({"reward": {"mine": (1.0, divide)}}, "reward term 'mine' cannot be computed .ZeroDivisionError"),
    ({"termination": {"mine": height}}, "termination 'mine' gives torch.float64: give a tensor of bool"),
    ({"observation": 5}, "observation is 5: give a mapping"),
    ({"observation": {"policy": dict.fromkeys(("joint_sin", "joint_cos", "joint_vel"))}}, "'policy' is empty"),
    ({"termination": {"fallen": "null"}}, r"termination 'fallen' \(None takes one out\) is 'null'"),
])
def test_a_mistake_in_a_table_is_one_sentence(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_task(PENDULUM, 2, **options)


def test_a_command_that_is_a_word_is_asked_for_a_number() -> None:
    with pytest.raises(UserError, match="command forward_m_s is 'fast': give a number, or"):
        make_task(FLAT, 2, threads=1, command={"forward_m_s": "fast"})


def test_numbers_of_numpy_are_numbers() -> None:
    env = make_task(PENDULUM, np.int64(2), seed=np.int32(0), reward={"effort": np.float32(-0.5)})
    assert env.num_envs == 2 and env.options()["reward"]["effort"] == -0.5


def test_rewards_are_float32_whatever_a_term_computes_in() -> None:
    env = make_task(PENDULUM, 2, seed=0, reward={"mine": (1.0, height)})
    env.reset()
    step = env.step(torch.zeros(2, 2))
    assert step.reward.dtype is step.log["reward/mine"].dtype is torch.float32


def test_the_weight_of_a_term_of_ones_own_can_be_changed() -> None:
    env = make_task(PENDULUM, 2, seed=0, reward={"mine": (2.0, height)})
    env.change_options(**env.options())
    assert env.options()["reward"]["mine"] == 2.0
    env.change_options(reward={"mine": 3.0})
    env.reset()
    step = env.step(torch.zeros(2, 2))
    torch.testing.assert_close(step.log["reward/mine"], 3.0 * step.log["reward/height"])
    env.change_options()
    assert "mine" not in env.options()["reward"], "as if made without it"


@pytest.mark.parametrize("wrong", [{"command": {"edge_share": 2.0}}, {"reward": {"flat": (1.0, lambda f: 1.0)}}])
def test_where_an_option_is_wrong_none_is_changed(wrong: Any) -> None:
    env = make_task("IsaacQuadrupedFlat-v0", 2, threads=1, seed=0)
    before = env.options()
    with pytest.raises(UserError):
        env.change_options(**{"reward": {"energy": -1.0}, "command": {"forward_m_s": [0.0, 0.5]}, **wrong})
    assert env.options() == before
    env.reset()
    env.step(torch.zeros(2, 12))


def test_options_that_were_changed_on_the_way_are_part_of_the_state() -> None:
    def hop(f: Any) -> torch.Tensor:
        return f.lin_vel_b[:, 2]

    changed, knows, new = (make_task("IsaacQuadrupedVelocity-v0", 4, threads=1, seed=0, heading=True) for _ in range(3))
    changed.reset(seed=0)
    made = changed.options()
    assert "options" not in changed.state_dict(), "another weight in the task's file is to act in a run that goes on"
    changed.change_options(reward={"energy": -1.0, "hop": (0.5, hop)}, command={"forward_m_s": [0.0, 0.5]})
    changed.reset(seed=1)
    state = changed.state_dict()
    knows.change_options(reward={"hop": (2.0, hop)})
    knows.load_state_dict(state)
    assert knows.options() == changed.options() and knows.state_dict()["options"] == state["options"]
    for task in (changed, knows):
        task.step(torch.full((4, 12), 0.3))
    assert torch.equal(*(task.step(torch.zeros(4, 12)).reward for task in (changed, knows)))
    with pytest.warns(UserWarning, match="the saved reward has hop"):
        new.load_state_dict(state)
    assert new.options()["reward"] == {**made["reward"], "energy": -1.0}
    assert new.options()["command"] == changed.options()["command"]


def test_the_first_observation_of_an_episode_knows_no_action_of_the_last_one() -> None:
    env = make_task(FLAT, 2, seed=0, threads=1, observation={"policy": {"action_before": lambda f: f.last_action}})
    env.reset()
    for _ in range(2):
        assert env.step(torch.ones(2, 12)) is not None
    obs = env.restart(torch.tensor([True, False]))["policy"]
    assert (obs[0, -12:] == 0).all() and (obs[1, -12:] == 1).all()


def test_a_trot_of_ones_own_may_have_any_number_of_feet() -> None:
    robot = get_robot("quadruped")
    robot = dataclasses.replace(robot, feet=robot.feet[:2])
    with pytest.raises(UserError, match="2 feet, and a trot is for four"):
        make_task(FLAT, 2, threads=1, robot=robot)
    env = make_task(FLAT, 2, threads=1, robot=robot, reward={"trot": (0.2, lambda f: f.tracking)})
    env.reset()
    assert torch.isfinite(env.step(torch.zeros(2, 12)).reward).all()


def test_training_stops_before_an_update_by_a_nan_reward() -> None:
    def bad(features: Any) -> torch.Tensor:
        return features.height * float("nan")

    env = IsaacVecEnv(PENDULUM, num_envs=4, seed=0, reward={"mine": (1.0, bad)})
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=16, device="cpu")
    with pytest.raises(UserError, match=r"^reward/mine of this rollout has values .* infinite, first at step 1:"):
        model.learn(16, callback=TrainingLog())
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


def test_a_nan_reward_is_in_the_return_of_its_episode_alone() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=2, seed=0, stagger=False, episode_length_s=0.1)
    env.reset()
    zero = np.zeros((2, 2), np.float32)
    env.step(zero)
    env.statistics.episode_return[0] = float("nan")
    infos = [env.step(zero)[3] for _ in range(9)]
    returns = [info[0]["episode"]["r"] for info in infos if "episode" in info[0]]
    assert np.isnan(returns[0]) and returns[1] == pytest.approx(5.0, abs=0.1)


class Own(TensorEnv):
    """As little as there can be, and wrong in a way."""

    max_steps = 5
    observation_space: Any = spaces.Dict({"policy": spaces.Box(-1.0, 1.0, (1,), np.float32)})
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")


class Four(Own):
    def __init__(self, num_envs: int) -> None:
        super().__init__(4)

    def reset(self, seed: Any = None) -> Any:
        return {"policy": torch.zeros(self.num_envs, 1)}

    step = reset  # type: ignore[assignment]


class Flat(Four):
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)


class NoSize(Four):
    def __init__(self) -> None:
        super().__init__(4)


@pytest.mark.parametrize("name, message", [
    ("Own", "without reset, step"), ("Four", "has 4 environments and was asked for 2"),
    ("Flat", "spaces.Dict with the group policy"), ("NoSize", r"cannot be made with NoSize\(num_envs\)")])
def test_a_task_of_ones_own_that_lacks_something_is_one_sentence(name: str, message: str) -> None:
    env_id = f"Own{name}-v0"
    if env_id not in TASKS:
        register_task(env_id, f"{__name__}:{name}")
    with pytest.raises(UserError, match=message):
        make_task(env_id, 2)


def test_an_instance_without_the_group_policy_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Flat has the observation space Box"):
        IsaacVecEnv(Flat(2))


def test_an_evaluation_tells_every_axis_and_those_of_ones_own() -> None:
    task, own = task_class(FLAT), {"command": {"height_m": Axis(0.2, 0.3), "resample_s": 1.0}}
    told = task.evaluation_options(own, (0.5, 0.1, 0.25))["command"]
    assert told == {"height_m": Axis(0.25, 0.25), "resample_s": 1e6, "forward_m_s": 0.5, "yaw_rad_s": 0.1}
    env = make_task(FLAT, 2, threads=1, **task.evaluation_options(own, (0.5, 0.1, 0.25)))
    env.reset()
    torch.testing.assert_close(env.command, torch.tensor([[0.5, 0.1, 0.25]]).expand(2, 3))
    assert task.evaluation_options(own)["command"]["height_m"] == Axis(0.2, 0.3), "drawn as in training"
    with pytest.raises(UserError, match="command 1, 0 is of length 2: give 3 numbers, forward_m_s, yaw_rad_s, height"):
        task.evaluation_options(own, (1.0, 0.0))

    class Sideways(task):  # type: ignore[misc, valid-type]
        COMMAND = {"sideways_m_s": Axis(-1.0, 1.0), "forward_m_s": Axis(0.0, 1.0)}

    assert Sideways.evaluation_options({})["command"] == {"forward_m_s": 1.0, "resample_s": 1e6}


def test_an_axis_that_an_evaluation_leaves_is_drawn_from_its_whole_range() -> None:
    """And not from where training begins, 0.1 m/s to either side: evaluations are alike at any time of it."""
    class Ahead(task_class("IsaacQuadrupedVelocity-v0")):  # type: ignore[misc]
        EVALUATION = ({"forward_m_s": 1.0},)

    env = Ahead(64, seed=0, threads=1, **Ahead.evaluation_options({}))
    env.reset()
    env.close()
    assert env.command[:, 0].eq(1.0).all() and float(env.command[:, 1].abs().max()) > 0.5


@pytest.mark.parametrize("bounds", [300.0, (1.0,), (2.0, 1.0), ("a", "b"), (float("nan"), 1.0)])
def test_a_stop_rule_without_a_range_is_one_sentence(bounds: Any) -> None:
    with pytest.raises(UserError, match=r"range of reward_mean is .*: give .low, high."):
        StopRule({"reward_mean": bounds})


class Buttons(Own):
    """Told by integers, at 20 Hz: the reward is the button."""

    action_space = spaces.Discrete(3)
    control_dt = 0.05

    def reset(self, seed: Any = None) -> Any:
        return {"policy": torch.zeros(self.num_envs, 1)}

    def step(self, actions: torch.Tensor) -> Step:
        assert not actions.is_floating_point()
        never, obs = torch.zeros(self.num_envs, dtype=torch.bool), self.reset()
        return Step(obs, actions.float(), never, never, obs, {})


def test_gymnasium_gives_integers_to_a_task_of_discrete_actions_and_tells_its_rate() -> None:
    if "OwnButtons-v0" not in TASKS:
        register_task("OwnButtons-v0", f"{__name__}:Buttons")
    one = gymnasium.make("OwnButtons-v0", disable_env_checker=True)
    one.reset()
    assert one.step(2)[1] == 2.0 and one.unwrapped.metadata["render_fps"] == 20
    many = gymnasium.make_vec("OwnButtons-v0", num_envs=3)
    many.reset()
    assert many.step(np.array([0, 1, 2]))[1].tolist() == [0.0, 1.0, 2.0] and many.metadata["render_fps"] == 20


class Rounds(Buttons):
    """In rounds of five steps for all."""

    def reset(self, seed: Any = None) -> Any:
        self.age = 0
        return super().reset(seed)

    def step(self, actions: torch.Tensor) -> Step:
        age, step = self.age + 1, super().step(actions)
        self.age = age % self.max_steps
        return step._replace(truncated=torch.full((self.num_envs,), self.age == 0))


def test_a_run_of_discrete_actions_is_trained_and_evaluated_by_its_model(tmp_path: Path, capsys: Any) -> None:
    if "OwnRounds-v0" not in TASKS:
        register_task("OwnRounds-v0", f"{__name__}:Rounds")
    assert main(["train", "--env", "OwnRounds-v0", "--num-envs", "8", "-n", "64", "-f", str(tmp_path), "--seed", "0",
                 "-params", "n_steps:4", "n_minibatches:2", "--eval-episodes", "8"]) == 0
    run = next((tmp_path / "ppo").iterdir())
    assert not (run / "policy.pth").exists()
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["episodes"], report["length_mean"], report["reward_mean"] % 5) == (8, 5.0, 0.0), report


def test_what_is_no_simulator_is_one_sentence() -> None:
    with pytest.raises(UserError, match="sim is 3: give the name of a simulator"):
        make_task(FLAT, 2, sim=3)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_actions_of_another_dtype_are_taken_as_those_of_the_space(dtype: Any) -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=2, seed=0)
    env.reset()
    assert env.step(np.ones((2, 2), dtype))[1].shape == (2,)
    make_task(PENDULUM, 2).step(torch.ones(2, 2, dtype=torch.float64))


class OneAction(Buttons):
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)  # type: ignore[assignment]


class TwoActions(OneAction):
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_a_policy_of_other_actions_is_one_sentence() -> None:
    if "OwnTwoActions-v0" not in TASKS:
        register_task("OwnTwoActions-v0", f"{__name__}:TwoActions")
    model = PPO("MlpPolicy", IsaacVecEnv(OneAction(2)), n_steps=4, batch_size=8, device="cpu")
    policy = PolicyModule(policy_content(model, None, {}))
    with pytest.raises(UserError, match=r"gives actions of shape .1,., and OwnTwoActions-v0 takes .2,."):
        make_eval_env(policy, 2, env="OwnTwoActions-v0")


def test_a_memory_may_be_kept_and_begun_by_booleans() -> None:
    class Touching(task_class("IsaacQuadrupedFlat-v0")):  # type: ignore[misc]
        MEMORY = {**task_class("IsaacQuadrupedFlat-v0").MEMORY,  # type: ignore[attr-defined]
                  "touched": Memory(lambda task: (4,), lambda f: f.foot_contact, lambda f: f.foot_contact)}

    env: Any = Touching(4, seed=0, threads=1)
    env.reset()
    assert torch.equal(env.touched, env.features().foot_contact.float())
    env.step(torch.zeros(4, 12))
    assert env.touched.dtype is torch.float32
    env.close()
