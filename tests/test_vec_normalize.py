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
from sb3_isaac.envs.vec_normalize import TensorMeanStd

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
    ours.ret_rms = RunningMeanStd(shape=())  # type: ignore[assignment]
    assert type(ours.obs_rms) is type(ours.ret_rms) is TensorMeanStd
    ours.reset_tensor()
    assert ours.obs_rms.count == stock.obs_rms.count + 16
    shared = VecNormalize(make(), training=False)
    shared.obs_rms = ours.obs_rms
    assert shared.obs_rms is ours.obs_rms, "statistics of one may be watched by another, as with SB3's"


def test_around_another_vec_env_it_is_stocks() -> None:
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 2))
    env.reset()
    obs, *_ = env.step(np.zeros(2, dtype=int))
    assert isinstance(obs, np.ndarray) and obs.shape == (2, 4)
    with pytest.raises(UserError, match="stepping by tensors needs an IsaacVecEnv"):
        env.reset_tensor()
