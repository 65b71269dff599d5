"""VecNormalize on tensors: stock's numbers, stock's files, and no drift."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, sync_envs_normalization
from stable_baselines3.common.vec_env import VecNormalize as StockNormalize

from sb3_isaac import IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.envs.mean_std import Mirrored, TensorMeanStd

PENDULUM = "IsaacDoublePendulum-v0"


def make(num_envs: int = 16) -> IsaacVecEnv:
    return IsaacVecEnv(PENDULUM, num_envs=num_envs, seed=0, episode_length_s=0.4, stagger=False)


@pytest.mark.parametrize("options", [{}, {"norm_reward": False}, {"norm_obs": False}, {"training": False},
                                     {"clip_obs": 0.5, "clip_reward": 0.1, "gamma": 0.9}])
def test_arrays_and_tensors_give_stocks_numbers(options: Any) -> None:
    """Episodes end within the forty steps, so the last observations and the discounted returns are compared too."""
    stock, arrays, tensors = StockNormalize(make(), **options), VecNormalize(make(), **options), VecNormalize(
        make(), **options)
    np.testing.assert_allclose(arrays.reset(), stock.reset(), atol=1e-6)
    tensors.reset_tensor()
    rng, finished = np.random.default_rng(0), 0
    for _ in range(40):
        action = rng.uniform(-1, 1, (16, 2)).astype(np.float32)
        obs, rewards, dones, infos = stock.step(action)
        obs_a, rewards_a, dones_a, infos_a = arrays.step(action)
        step = tensors.step_tensor(torch.from_numpy(action))
        for mine, reward in ((obs_a, rewards_a), (step.obs["policy"].numpy(), step.reward.numpy())):
            np.testing.assert_allclose(mine, obs, rtol=1e-4, atol=5e-5)
            np.testing.assert_allclose(reward, rewards, rtol=1e-4, atol=5e-5)
        np.testing.assert_array_equal(dones, dones_a)
        np.testing.assert_array_equal(dones, (step.terminated | step.truncated).numpy())
        for i in np.flatnonzero(dones):
            finished += 1
            last = infos[i]["terminal_observation"]
            np.testing.assert_allclose(infos_a[i]["terminal_observation"], last, rtol=1e-4, atol=5e-5)
            np.testing.assert_allclose(step.final_obs["policy"][i], last, rtol=1e-4, atol=5e-5)
    assert finished >= 16
    np.testing.assert_allclose(tensors.returns, stock.returns, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tensors.get_original_obs(), stock.get_original_obs())
    np.testing.assert_allclose(tensors.get_original_reward(), stock.get_original_reward())


def test_what_it_gives_is_not_overwritten() -> None:
    env = VecNormalize(make(), norm_obs=False, norm_reward=False)
    first = env.reset_tensor()["policy"]
    before = first.clone()
    env.step_tensor(torch.ones(16, 2))
    torch.testing.assert_close(first, before)


def test_no_drift_at_a_billion_samples() -> None:
    """After 10⁹ samples of mean 3 and variance 4 a batch moves the moments by what float64 says, and no more."""
    ours, reference = TensorMeanStd(shape=(3,)), RunningMeanStd(shape=(3,))
    for rms in (ours, reference):
        rms.mean, rms.var, rms.count = np.full(3, 3.0), np.full(3, 4.0), 1e9
    rng = np.random.default_rng(1)
    for _ in range(200):
        batch = rng.normal(3.0, 2.0, (4096, 3)).astype(np.float32)
        ours.update(torch.from_numpy(batch))
        reference.update(batch.astype(np.float64))
    np.testing.assert_allclose(ours.mean, reference.mean, rtol=1e-9)
    np.testing.assert_allclose(ours.var, reference.var, rtol=1e-8)
    assert ours.count == reference.count == 1e9 + 200 * 4096
    assert not np.array_equal(ours.mean, np.full(3, 3.0))


def test_files_are_stocks_and_the_way_back(tmp_path: Path) -> None:
    env = VecNormalize(make(), gamma=0.9, clip_obs=4.0)
    env.reset()
    for _ in range(5):
        env.step(np.ones((16, 2), dtype=np.float32))
    env.save(str(tmp_path / "a.pkl"))
    stock = StockNormalize.load(str(tmp_path / "a.pkl"), make())
    assert type(stock) is StockNormalize and type(stock.obs_rms) is RunningMeanStd
    np.testing.assert_array_equal(stock.obs_rms.mean, env.obs_rms.mean)
    again = VecNormalize.load(str(tmp_path / "a.pkl"), make())
    assert (again.gamma, again.clip_obs, again.ret_rms.count) == (0.9, 4.0, env.ret_rms.count)
    obs = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_array_equal(again.normalize_obs(obs), stock.normalize_obs(obs))
    action = torch.ones(16, 2)
    again.reset_tensor()
    assert again.step_tensor(action).obs["policy"].isfinite().all()


def test_stock_helpers_copy_the_statistics() -> None:
    train, evaluation = VecNormalize(make()), VecNormalize(make(), training=False)
    train.reset()
    sync_envs_normalization(train, evaluation)
    np.testing.assert_array_equal(train.obs_rms.mean, evaluation.obs_rms.mean)
    train.step(np.ones((16, 2), dtype=np.float32))
    assert not np.array_equal(train.obs_rms.mean, evaluation.obs_rms.mean), "a copy, not the same object"


def test_groups_are_normalised_by_their_own_statistics() -> None:
    env = VecNormalize(IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=4, privileged=True, threads=1),
                       norm_obs_keys=["policy"])
    obs = env.reset_tensor()
    assert set(env.obs_rms) == {"policy"} and isinstance(env.observation_space, spaces.Dict)
    step = env.step_tensor(torch.zeros(4, 12))
    assert env.obs_rms["policy"].count == pytest.approx(8.0, abs=1e-3)
    torch.testing.assert_close(step.obs["critic"], env.venv.env._obs["critic"])  # type: ignore[attr-defined]
    assert not torch.equal(obs["policy"], env.venv.env._obs["policy"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy,
                                    lambda env: cloudpickle.loads(cloudpickle.dumps(env)),
                                    lambda env: pickle.loads(pickle.dumps(copy.copy(env)))],
                         ids=["pickle", "deepcopy", "cloudpickle", "twice"])
@pytest.mark.parametrize("used", [False, True])
def test_copies_come_back_without_their_vec_env(copied: Any, used: bool) -> None:
    original, action = VecNormalize(make(), gamma=0.9), np.ones((16, 2), dtype=np.float32)
    if used:
        original.reset()
        original.step(action)
    again = copied(original)
    assert type(again) is VecNormalize and again.venv is None and again.gamma == 0.9
    np.testing.assert_array_equal(again.obs_rms.mean, original.obs_rms.mean)
    if used:
        np.testing.assert_array_equal(again.get_original_obs(), original.get_original_obs())
    again.set_venv(make(num_envs=4))
    again.reset_tensor()
    again.step_tensor(torch.ones(4, 2))
    assert again.obs_rms.count == original.obs_rms.count + 8 and again.returns.shape == (4,)
    with pytest.raises(ValueError, match="already initialized"):
        again.set_venv(make())
    assert type(pickle.loads(pickle.dumps(StockNormalize(make())))) is StockNormalize  # what SB3's own can do


def test_statistics_of_stock_may_be_assigned() -> None:
    stock, ours = StockNormalize(make()), VecNormalize(make())
    stock.reset()
    sync_envs_normalization(stock, ours)
    own = ours.ret_rms = RunningMeanStd(shape=())
    ours.reset_tensor()
    ours.step_tensor(torch.ones(16, 2))
    assert ours.obs_rms.count == stock.obs_rms.count + 32
    assert ours.ret_rms is own and own.count == 16 + 1e-4, "who made them sees them go on, as with SB3's"
    shared = StockNormalize(make(), training=False)
    shared.obs_rms = ours.obs_rms
    assert shared.obs_rms is ours.obs_rms, "statistics of one may be watched by another"
    np.testing.assert_allclose(shared.reset(), ours.normalize_obs(shared.get_original_obs()))


def rolled(env: Any, steps: int = 5, tensors: bool = True) -> Any:
    if not tensors:
        env.reset()
        return [env.step(np.full((16, 2), 0.1, np.float32)) for _ in range(steps)][-1]
    env.reset_tensor()
    return [env.step_tensor(torch.full((16, 2), 0.1)) for _ in range(steps)][-1]


@pytest.mark.parametrize("training", [False, True])
def test_edits_in_place_count(training: bool) -> None:
    """Components 4 and 5 are not to be normalised: mean 0 and variance 1, which 16 samples move by little at a large
    count."""
    env = VecNormalize(make(), norm_reward=False)
    rolled(env)
    env.training = training
    env.obs_rms.mean[4:], env.obs_rms.var[4:], env.obs_rms.count = 0.0, 1.0, 1e9
    obs = rolled(env).obs["policy"].numpy()
    np.testing.assert_allclose(obs[:, 4:], env.get_original_obs()[:, 4:], atol=1e-4)
    assert np.abs(obs[:, :4] - env.get_original_obs()[:, :4]).max() > 0.1
    assert env.obs_rms.mean is env.obs_rms.mean, "what was read may be edited later, too"
    env.obs_rms.var *= 4.0
    wide = env.obs_rms.var.copy()
    rolled(env, 1)
    np.testing.assert_allclose(env.obs_rms.var[4:], wide[4:], rtol=1e-4)


def test_what_was_read_stays_as_it_was() -> None:
    """SB3's statistics are new arrays after an update: one may keep those of before."""
    env = VecNormalize(make())
    rolled(env)
    mean, returns = env.obs_rms.mean, env.returns
    before = mean.copy(), returns.copy()
    rolled(env)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(returns, before[1])
    assert not np.array_equal(env.obs_rms.mean, mean)


def test_a_tensor_and_its_array_are_one_value() -> None:
    value = Mirrored([1.0, 2.0])
    value.array[0] = 5.0
    assert value.tensor("cpu").tolist() == [5.0, 2.0]
    value.array[1] = 7.0
    assert value.tensor("cpu").tolist() == [5.0, 7.0]
    old = value.array
    value.write(torch.tensor([0.0, float("nan")], dtype=torch.float64))
    old[0] = 9.0
    assert value.tensor("cpu")[0] == 0.0 and np.isnan(value.array[1]), "an array of before is only an array"
    assert value.tensor("cpu") is value.tensor("cpu"), "NaN is no edit"


def test_returns_are_numpys() -> None:
    stock, ours = StockNormalize(make(), gamma=0.9), VecNormalize(make(), gamma=0.9)
    rolled(stock, tensors=False)
    rolled(ours)
    assert isinstance(ours.returns, np.ndarray)
    np.testing.assert_allclose(np.mean(ours.returns), np.mean(stock.returns), rtol=1e-5)
    ours.returns[3] = 100.0
    reward = ours.step_tensor(torch.zeros(16, 2)).reward
    assert ours.returns[3] == pytest.approx(0.9 * 100.0 + ours.get_original_reward()[3]) and reward.isfinite().all()
    ours.returns = np.zeros(16)
    assert ours.returns.tolist() == [0.0] * 16


def test_by_arrays_it_is_stocks_to_the_bit() -> None:
    stock, ours = StockNormalize(make()), VecNormalize(make())
    for a, b in zip(rolled(stock, 30, tensors=False)[:3], rolled(ours, 30, tensors=False)[:3]):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(stock.returns, ours.returns)
    np.testing.assert_array_equal(stock.obs_rms.var, ours.obs_rms.var)


class Frozen(RunningMeanStd):
    """Statistics of a user's own, which nothing moves."""

    def update(self, arr: np.ndarray) -> None:
        assert isinstance(arr, np.ndarray)


def test_statistics_of_another_class_keep_their_own_update() -> None:
    env = VecNormalize(make(), norm_reward=False)
    env.obs_rms = Frozen(shape=(6,))
    step = rolled(env)
    assert type(env.obs_rms) is Frozen and env.obs_rms.count == 1e-4
    np.testing.assert_allclose(step.obs["policy"], env.get_original_obs(), rtol=1e-6)


def test_groups_may_be_given_other_statistics() -> None:
    env = VecNormalize(IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=4, privileged=True, threads=1))
    env.reset_tensor()
    own = env.obs_rms["policy"] = RunningMeanStd(shape=(44,))
    env.norm_obs_keys = ["policy"]
    step = env.step_tensor(torch.zeros(4, 12))
    assert own.count == 4 + 1e-4 and env.obs_rms["critic"].count == 8 + 1e-4
    torch.testing.assert_close(step.obs["critic"], env.venv.env._obs["critic"])  # type: ignore[attr-defined]
    assert set(env.old_obs) == set(env.get_original_obs()) == {"policy", "critic"}


def test_no_file_or_copy_names_this_package(tmp_path: Path) -> None:
    ours, stock = VecNormalize(make()), StockNormalize(make())
    rolled(ours)
    sync_envs_normalization(ours, stock)
    assert type(stock.obs_rms) is type(stock.ret_rms) is RunningMeanStd
    stock.obs_rms = ours.obs_rms  # shared, not copied
    stock.save(str(tmp_path / "stock.pkl"))
    ours.save(str(tmp_path / "ours.pkl"))
    for data in (*(file.read_bytes() for file in tmp_path.iterdir()), pickle.dumps(ours.obs_rms),
                 cloudpickle.dumps(ours.ret_rms), pickle.dumps(copy.copy(ours.obs_rms), protocol=0)):
        assert b"sb3_isaac" not in data and b"torch" not in data
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours.obs_rms)).var, ours.obs_rms.var)


class Named(VecNormalize):
    """A user's own."""


def test_a_class_derived_from_it_comes_back_as_itself(tmp_path: Path) -> None:
    env = Named(make(), gamma=0.5)
    rolled(env)
    env.save(str(tmp_path / "v.pkl"))
    again = Named.load(str(tmp_path / "v.pkl"), make())
    assert type(again) is Named and again.gamma == 0.5 and again.obs_rms.count == env.obs_rms.count


def test_around_another_vec_env_it_is_stocks() -> None:
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 2))
    env.reset()
    obs, *_ = env.step(np.zeros(2, dtype=int))
    assert isinstance(obs, np.ndarray) and obs.shape == (2, 4)
    with pytest.raises(UserError, match="stepping by tensors needs an IsaacVecEnv"):
        env.reset_tensor()
