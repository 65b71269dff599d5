"""IsaacVecEnv keeps SB3's VecEnv contract, on the pendulum and on a small quadruped."""

from __future__ import annotations

from typing import Any, Iterator

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.tasks.double_pendulum import CONTROL_DT, SUBSTEPS, TORQUE_NM, DoublePendulum, advance

PENDULUM, QUADRUPED = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0"
SMALL = {PENDULUM: {}, QUADRUPED: {"threads": 1, "sim": "mujoco"}}
WIDTHS = {PENDULUM: (6, 2), QUADRUPED: (44, 12)}


def make(env_id: str, num_envs: int = 8, **options: Any) -> IsaacVecEnv:
    return IsaacVecEnv(env_id, num_envs=num_envs, **{**SMALL[env_id], **options})


@pytest.fixture(params=[PENDULUM, QUADRUPED])
def env(request: pytest.FixtureRequest) -> Iterator[IsaacVecEnv]:
    env = make(request.param)
    yield env
    env.close()


def short_pendulum(num_envs: int = 3) -> IsaacVecEnv:
    """Episodes of ten steps, all begun at their first."""
    env = make(PENDULUM, num_envs, episode_length_s=0.2, stagger=False)
    env.seed(0)
    env.reset()
    return env


def test_shapes_and_dtypes(env: IsaacVecEnv) -> None:
    width, joints = WIDTHS[QUADRUPED if env.observation_space.shape == (44,) else PENDULUM]
    assert env.observation_space.shape == (width,) and env.action_space.shape == (joints,) and env.num_envs == 8
    obs = env.reset()
    assert obs.shape == (8, width) and obs.dtype == np.float32
    obs, rewards, dones, infos = env.step(np.zeros((8, joints), dtype=np.float32))
    assert obs.shape == (8, width) and obs.dtype == rewards.dtype == np.float32 and rewards.shape == dones.shape == (8,)
    assert dones.dtype == np.bool_ and isinstance(infos, list) and [type(info) for info in infos] == [dict] * 8


def test_what_is_returned_is_not_overwritten(env: IsaacVecEnv) -> None:
    actions = np.full((8, *env.action_space.shape), 0.5, dtype=np.float32)
    kept = [env.reset(), *env.step(actions)[:3]]
    copies = [array.copy() for array in kept]
    for _ in range(3):
        env.step(-actions)
    for array, copy in zip(kept, copies):
        np.testing.assert_array_equal(array, copy)


def test_both_doors_lead_to_the_same_place(env: IsaacVecEnv) -> None:
    actions = 0.3 * np.ones((8, *env.action_space.shape), dtype=np.float32)
    env.seed(3)
    by_array = [env.reset()] + [env.step(actions)[0] for _ in range(3)]
    env.seed(3)
    by_tensor = [env.reset_tensor()["policy"].clone()]
    by_tensor += [env.step_tensor(torch.from_numpy(actions)).obs["policy"].clone() for _ in range(3)]
    np.testing.assert_array_equal(by_array, torch.stack(by_tensor).numpy())


def test_a_seed_acts_at_the_next_reset_and_reproduces(env: IsaacVecEnv) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 8, *env.action_space.shape)).astype(np.float32)

    def trajectory(seed: int) -> np.ndarray:
        env.seed(seed)
        return np.stack([env.reset(), *[env.step(action)[0] for action in actions]])

    first = trajectory(11)
    np.testing.assert_array_equal(first, trajectory(11))
    assert not np.array_equal(first[0], trajectory(12)[0])
    env.seed(11)
    env.reset()
    assert not np.array_equal(first[0], env.reset())


def test_the_constructors_seed_is_the_first_resets() -> None:
    first, again = (make(PENDULUM, seed=5).reset() for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_time_outs_carry_the_true_last_observation_return_and_length() -> None:
    env = short_pendulum()
    action = np.array([[0.3, -0.3]] * 3, dtype=np.float32)
    total = np.zeros(3)
    for _ in range(9):
        _, rewards, dones, infos = env.step(action)
        total += rewards
        assert not dones.any() and infos == [{}, {}, {}]
    angle, velocity = env.env.angle.clone(), env.env.velocity.clone()
    obs, rewards, dones, infos = env.step(action)
    for _ in range(SUBSTEPS):
        angle, velocity = advance(angle, velocity, torch.from_numpy(action) * torch.tensor(TORQUE_NM),
                                  CONTROL_DT / SUBSTEPS)
    last = torch.cat((angle.sin(), angle.cos(), velocity), dim=1).numpy()
    assert dones.all()
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        np.testing.assert_allclose(info["terminal_observation"], last[i], rtol=1e-6)
        assert not np.allclose(info["terminal_observation"], obs[i], atol=1e-3)
        assert info["episode"]["l"] == 10
        assert info["episode"]["r"] == pytest.approx(total[i] + rewards[i], rel=1e-5)
        assert info["episode"]["t"] >= 0


def test_falls_are_no_time_outs_and_leave_the_others_running() -> None:
    env = short_pendulum()
    zero = np.zeros((3, 2), dtype=np.float32)
    env.step(zero)
    env.set_attr("angle", [1.5, 0.0], indices=[1])
    _, _, dones, infos = env.step(zero)
    assert dones.tolist() == [False, True, False] and infos[0] == infos[2] == {}
    assert infos[1]["TimeLimit.truncated"] is False and infos[1]["terminal_observation"][0] > 0.9
    assert infos[1]["episode"]["l"] == 2
    lengths = [[info["episode"]["l"] for info in env.step(zero)[3] if info] for _ in range(10)]
    # The others ran out of time at their tenth step; the one that fell begins to count anew.
    assert lengths == [[]] * 7 + [[10, 10]] + [[]] + [[10]]


def test_attributes_and_methods() -> None:
    env = short_pendulum()
    assert env.get_attr("render_mode") == [None] * 3 and env.get_attr("max_steps", indices=1) == [10]
    env.set_attr("angle", [[0.1, 0.2], [0.3, 0.4]], indices=[0, 2])
    rows = env.get_attr("angle")
    torch.testing.assert_close(rows[0], torch.tensor([0.1, 0.2]))
    torch.testing.assert_close(rows[2], torch.tensor([0.3, 0.4]))
    env.set_attr("max_steps", 5)
    assert env.get_attr("max_steps") == [5, 5, 5]
    with pytest.raises(UserError, match="set it without indices"):
        env.set_attr("max_steps", 7, indices=[0])
    assert env.env_method("metadata", indices=[0, 1])[1]["control_dt"] == CONTROL_DT
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(AttributeError):
        env.get_attr("no_such_attribute")


def test_state_dict_continues_bit_for_bit(env: IsaacVecEnv) -> None:
    other = make(QUADRUPED if env.action_space.shape == (12,) else PENDULUM, seed=9)
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 8, *env.action_space.shape)).astype(np.float32)
    env.reset()
    other.reset()
    for action in actions[:10]:
        env.step(action)
    other.load_state_dict(env.state_dict())
    for action in actions[10:]:
        (obs, rewards, dones, infos), theirs = env.step(action), other.step(action)
        np.testing.assert_array_equal(obs, theirs[0])
        np.testing.assert_array_equal(rewards, theirs[1])
        np.testing.assert_array_equal(dones, theirs[2])
        assert [i["episode"]["r"] for i in infos if i] == [i["episode"]["r"] for i in theirs[3] if i]
    other.close()


def test_render() -> None:
    env = make(PENDULUM, 2, render_mode="rgb_array")
    env.reset()
    assert env.get_images()[0].shape == env.render().shape == (240, 240, 3)


def test_stock_ppo_learns_on_a_normalised_env(env: IsaacVecEnv) -> None:
    wrapped = VecNormalize(env)
    model = PPO("MlpPolicy", wrapped, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu")
    before = model.policy.mlp_extractor.policy_net[0].weight.detach().clone()
    model.learn(512)
    assert model.num_timesteps == 512 and not torch.equal(before, model.policy.mlp_extractor.policy_net[0].weight)
    assert wrapped.obs_rms.count > 512 and unwrap(wrapped) is env
    assert env.step_s > 0 and env.last_step is not None and env.last_step.reward.shape == (8,)


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_evaluate_policy_counts_whole_episodes() -> None:
    env = short_pendulum()
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu")
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True)
    assert lengths == [10] * 6 and all(5 < r <= 10 for r in returns)


def test_a_tensor_env_may_be_brought() -> None:
    task = DoublePendulum(4)
    env = IsaacVecEnv(task)
    assert env.env is task and env.num_envs == 4 and env.reset().shape == (4, 6)
    assert IsaacVecEnv(task, num_envs=4).num_envs == 4
    with pytest.raises(UserError, match="leave out num_envs"):
        IsaacVecEnv(task, num_envs=5)
    with pytest.raises(UserError, match="leave out stagger"):
        IsaacVecEnv(task, stagger=False)


@pytest.mark.parametrize(("env_id", "options", "sentence"), [
    ("IsaacDoublePendulm-v0", {}, "unknown environment id .* did you mean 'IsaacDoublePendulum-v0'"),
    ("IsaacQuadrupedFlat-v1", {}, "did you mean 'IsaacQuadrupedFlat-v0'"),
    (PENDULUM, {"episode_length": 2.0}, "unknown task option .* did you mean 'episode_length_s'"),
    (QUADRUPED, {"comand": {}}, "did you mean 'command'"),
    (QUADRUPED, {"sim": "mujocco"}, "unknown sim 'mujocco': did you mean 'mujoco'"),
    (PENDULUM, {"num_envs": 0}, "num_envs is 0"),
    (PENDULUM, {"num_envs": -3}, "num_envs is -3"),
    (PENDULUM, {"num_envs": 2.0}, "num_envs is 2.0"),
    (PENDULUM, {"seed": -1}, "seed is -1"),
])
def test_mistakes_name_what_was_meant(env_id: str, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        IsaacVecEnv(env_id, **{"num_envs": 2, **options})


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (2,)])
def test_actions_for_another_number_of_environments(shape: tuple) -> None:
    env = short_pendulum()
    with pytest.raises(UserError, match=r"one action for each of the 3 environments, \(3, 2\)"):
        env.step(np.zeros(shape, dtype=np.float32))
