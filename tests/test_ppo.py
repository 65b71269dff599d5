"""Our PPO gives stock SB3's numbers, files and log keys, on tensors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecCheckNan
from stable_baselines3.common.vec_env import VecNormalize as StockNormalize

from sb3_isaac import PPO, AdaptiveLearningRate, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.rl.algo import minibatch
from sb3_isaac.rl.algo.gaussian import act, evaluate
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.algo.ppo import tensor_env_of
from sb3_isaac.rl.algo.rollout_buffer import Minibatch, TensorRolloutBuffer, generalized_advantage

PENDULUM, QUADRUPED = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0"
SETTINGS: Dict[str, Any] = {"n_steps": 16, "n_epochs": 2, "gamma": 0.98, "learning_rate": 1e-3, "seed": 0}


class Watch(BaseCallback):
    """Keeps each rollout, and draws the same noise for it whatever came before."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: List[List[np.ndarray]] = []

    def _on_rollout_start(self) -> None:
        torch.manual_seed(len(self.rollouts))

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        self.rollouts.append([torch.as_tensor(part).numpy().copy() for part in (
            buffer.observations, buffer.actions, buffer.rewards, buffer.values, buffer.log_probs, buffer.advantages)])


def learn(algorithm: Any, normalize: Any, env_id: str, num_envs: int, iterations: int = 4,
          **settings: Any) -> Tuple[Any, Any, Watch]:
    torch.set_num_threads(1)
    env = normalize(IsaacVecEnv(env_id, num_envs=num_envs, seed=0, episode_length_s=0.6), gamma=0.98)
    model = algorithm("MlpPolicy", env, **{**SETTINGS, "batch_size": num_envs * 16, **settings})
    watch = Watch()
    model.set_logger(Logger(None, []))
    model.learn(num_envs * 16 * iterations, callback=watch)
    return model, env, watch


def bare(env: Any, gamma: float) -> Any:
    return env


class OwnExtractor(FlattenExtractor):
    """A user's own."""


def test_learning_without_a_normalizer_is_stocks_too() -> None:
    """The environment's tensors change in place: each observation has to be in the buffer as the policy saw it."""
    *_, stock_watch = learn(stable_baselines3.PPO, bare, PENDULUM, 64)
    *_, our_watch = learn(PPO, bare, PENDULUM, 64)
    for theirs, mine in zip(stock_watch.rollouts, our_watch.rollouts):
        for a, b in zip(theirs, mine):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(our_watch.rollouts[0][0][0], our_watch.rollouts[0][0][1])


@pytest.mark.parametrize(("env_id", "num_envs"), [(PENDULUM, 64), (QUADRUPED, 16)])
@pytest.mark.parametrize("settings", [{}, {"clip_range_vf": 0.1, "ent_coef": 0.01}, {"target_kl": 1e-4, "n_epochs": 4}],
                         ids=["plain", "value clip", "target kl"])
def test_learning_is_stocks_number_for_number(env_id: str, num_envs: int, settings: Dict[str, Any]) -> None:
    """Whole-rollout batches, episodes that fall and run out of time: nothing depends on the order of minibatches."""
    stock, stock_env, stock_watch = learn(stable_baselines3.PPO, StockNormalize, env_id, num_envs, **settings)
    ours, our_env, our_watch = learn(PPO, VecNormalize, env_id, num_envs, **settings)
    assert isinstance(ours.rollout_buffer, TensorRolloutBuffer) and not isinstance(stock.rollout_buffer,
                                                                                  TensorRolloutBuffer)
    assert len(stock_watch.rollouts) == len(our_watch.rollouts) == 4
    tolerance = 5e-5 if env_id == PENDULUM else 5e-4  # contacts make roundings ten times as large in 64 steps
    for theirs, mine in zip(stock_watch.rollouts, our_watch.rollouts):
        for a, b in zip(theirs, mine):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=tolerance, atol=tolerance)
    for a, b in zip(stock.policy.parameters(), ours.policy.parameters()):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    for key, value in stock.logger.name_to_value.items():
        if key.startswith("train/"):
            assert ours.logger.name_to_value[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
    assert set(stock.logger.name_to_value) == set(ours.logger.name_to_value)
    np.testing.assert_allclose(stock_env.obs_rms.mean, our_env.obs_rms.mean, atol=1e-5)
    np.testing.assert_allclose(stock_env.obs_rms.var, our_env.obs_rms.var, rtol=1e-4)
    assert our_env.ret_rms.var == pytest.approx(stock_env.ret_rms.var, rel=1e-5)
    assert our_env.obs_rms.count == stock_env.obs_rms.count


class Centred(torch.nn.Module):
    """Depends on all transitions that it is given, as batch normalisation does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x - x.mean(dim=0))


@pytest.mark.parametrize(("policy", "kwargs", "blocks"), [
    ("MlpPolicy", {}, 4), ("AsymmetricPolicy", {}, 4), ("MlpPolicy", {"features_extractor_class": OwnExtractor}, 1),
    ("MlpPolicy", {"activation_fn": Centred}, 1)])
def test_a_minibatch_in_blocks_gives_the_same_step(policy: str, kwargs: Dict[str, Any], blocks: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """80 transitions, 24 at a time; a user's own features and layers may depend on which are computed together."""
    made: List[Any] = []
    for rows in (1000, 8):
        monkeypatch.setattr(minibatch, "BLOCK_ROWS", rows)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        env = IsaacVecEnv(QUADRUPED, num_envs=10, seed=0, privileged=policy == "AsymmetricPolicy")
        model = PPO(policy, env, n_steps=8, batch_size=80, n_epochs=2, seed=0, ent_coef=0.01, clip_range_vf=0.2,
                    policy_kwargs=kwargs, device="cpu", learning_rate=1e-2)
        model.learn(80)
        batch = next(model.rollout_buffer.get(80))
        made.append([*model.policy.parameters(), *(torch.tensor(value) for key, value in sorted(
            model.logger.name_to_value.items()) if key.startswith("train/"))])
        assert len(minibatch.in_blocks(batch, model.policy)) == (blocks if rows == 8 else 1)
        for hooked in (model.policy.action_net.register_forward_hook(lambda *_: None),
                       model.policy.value_net.weight.register_hook(lambda grad: None)):
            assert len(minibatch.in_blocks(batch, model.policy)) == 1, "hooks are called as often as under stock PPO"
            hooked.remove()
    for whole, in_parts in zip(*made):
        torch.testing.assert_close(in_parts, whole, rtol=1e-4, atol=1e-5)


def test_the_loss_is_stocks_on_the_same_data() -> None:
    """SB3's expressions on its own evaluate_actions, against our loss on the fast layers: within 1e-6."""
    env = IsaacVecEnv(QUADRUPED, num_envs=4, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, seed=0, ent_coef=0.01, device="cpu",
                policy_kwargs={"net_arch": [256, 128, 64], "activation_fn": torch.nn.ELU})
    rows = 256
    batch = Minibatch(torch.randn(rows, 44), torch.randn(rows, 12), torch.randn(rows),
                      -17.0 + 0.1 * torch.randn(rows), torch.randn(rows), torch.randn(rows))
    loss, _ = model._loss(batch, 0.2, None)
    values, log_prob, entropy = model.policy.evaluate_actions(batch.observations, batch.actions)
    advantages = batch.advantages
    ratio = torch.exp(log_prob - batch.old_log_prob)
    policy_loss = -torch.min(advantages * ratio, advantages * torch.clamp(ratio, 0.8, 1.2)).mean()
    value_loss = torch.nn.functional.mse_loss(batch.returns, values.flatten())
    expected = policy_loss + 0.01 * -entropy.mean() + 0.5 * value_loss
    assert abs(float(loss) - float(expected)) <= 1e-6 * max(1.0, abs(float(expected)))


def test_gae_worked_by_hand() -> None:
    """γ = 0.5, λ = 0.5: δ = r + γ V' − V, A = δ + 0.25 A' within an episode; two steps, one ends an episode."""
    rewards, values = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([[4.0, 4.0], [8.0, 8.0]])
    starts = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # the second environment's episode ended with its first step
    out = generalized_advantage(rewards, values, starts, torch.tensor([16.0, 16.0]), torch.tensor([False, True]),
                                0.5, 0.5, torch.zeros(2, 2))
    # first: δ1 = 2 + 8 − 8 = 2, A0 = (1 + 4 − 4) + 0.25·2 = 1.5; second: A1 = 2 − 8 = −6, A0 = 1 − 4 = −3
    torch.testing.assert_close(out, torch.tensor([[1.5, -3.0], [2.0, -6.0]]))


def test_gae_is_stocks() -> None:
    space, actions = spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,))
    stock = RolloutBuffer(24, space, actions, "cpu", 0.95, 0.99, n_envs=50)
    ours = TensorRolloutBuffer(24, space, actions, "cpu", 0.95, 0.99, n_envs=50)
    rng = np.random.default_rng(0)
    for _ in range(24):
        row = (rng.normal(size=(50, 3)), rng.normal(size=(50, 2)), rng.normal(size=50), rng.random(50) < 0.1,
               torch.as_tensor(rng.normal(size=50)), torch.as_tensor(rng.normal(size=50)))
        stock.add(*row)
        ours.add(*row)
    last, dones = torch.as_tensor(rng.normal(size=50), dtype=torch.float32), rng.random(50) < 0.1
    stock.compute_returns_and_advantage(last, dones)
    ours.compute_returns_and_advantage(last, dones)
    np.testing.assert_allclose(stock.advantages, ours.advantages, atol=1e-5)
    np.testing.assert_allclose(stock.returns, ours.returns, atol=1e-5)


def test_minibatches_are_a_permutation_with_fields_that_belong_together() -> None:
    buffer = TensorRolloutBuffer(4, spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)), "cpu", n_envs=5)
    for t in range(4):
        row = 5.0 * t + torch.arange(5.0)
        buffer.add(row, row + 100, row, torch.zeros(5), row + 200, row + 300)
    parts = list(buffer.get(8))
    assert [len(part.actions) for part in parts] == [8, 8, 4]
    observed = torch.cat([part.observations for part in parts]).flatten()
    assert sorted(observed.tolist()) == list(range(20)) and observed.tolist() != list(range(20))
    torch.testing.assert_close(torch.cat([part.actions for part in parts]).flatten(), observed + 100)
    torch.testing.assert_close(torch.cat([part.old_values for part in parts]), observed + 200)
    torch.testing.assert_close(torch.cat([part.old_log_prob for part in parts]), observed + 300)
    with pytest.raises(UserError, match="collect it to its end"):
        buffer.reset()
        next(buffer.get(8))


def test_what_is_added_may_change_afterwards() -> None:
    buffer = TensorRolloutBuffer(2, spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)), "cpu", n_envs=2)
    live = torch.ones(2, 1)
    buffer.add(live, live, live, live, live, live)
    live.fill_(7.0)
    assert np.unique(buffer.observations[0]).tolist() == np.unique(buffer.rewards[0]).tolist() == [1.0]


def test_gaussian_shortcut_equals_the_policy() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=32)
    policy: Any = PPO("MlpPolicy", env, policy_kwargs={"log_std_init": -0.7}).policy
    obs = torch.randn(32, 6)
    torch.manual_seed(1)
    expected = policy(obs)
    torch.manual_seed(1)
    for a, b in zip(expected, act(policy, obs, MatrixLibraries())):
        torch.testing.assert_close(a.reshape(b.shape), b)
    values, log_prob, entropy = policy.evaluate_actions(obs, expected[0])
    ours = evaluate(policy, obs, expected[0], MatrixLibraries())
    torch.testing.assert_close(values.flatten(), ours[0])
    torch.testing.assert_close(log_prob, ours[1])
    torch.testing.assert_close(entropy.mean(), ours[2])


@pytest.mark.parametrize("options", [
    {"use_sde": True, "sde_sample_freq": 4}, {"use_sde": True, "policy_kwargs": {"squash_output": True}},
    {"policy_kwargs": {"net_arch": [], "activation_fn": torch.nn.ReLU}}, {"n_steps": 3, "batch_size": 7},
    {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.2 * left},
    {"policy_kwargs": {"optimizer_class": torch.optim.SGD}}, {"desired_kl": 0.01},
], ids=["sde", "squashed", "linear", "odd batch", "schedules", "sgd", "desired kl"])
def test_options_of_stock_work_on_tensors(options: Dict[str, Any]) -> None:
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=8))
    model = PPO("MlpPolicy", env, **{"n_steps": 8, "batch_size": 32, "n_epochs": 2, **options})
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(200)
    assert tensor_env_of(model.env) is env and any(not torch.equal(a, b)
                                                 for a, b in zip(before, model.policy.parameters()))
    assert all(bool(p.isfinite().all()) for p in model.policy.parameters())


def test_desired_kl_moves_the_rate_and_the_optimizer_follows() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=64, seed=0)
    for rate, desired_kl, after in ((1e-4, 0.01, 1.5e-4), (9e-3, 1e-4, 6e-3)):
        model = PPO("MlpPolicy", env, n_steps=16, batch_size=256, learning_rate=rate, desired_kl=desired_kl,
                    seed=0)
        model.learn(1024)
        assert model.learning_rate == pytest.approx(after)
        model.learn(1024, reset_num_timesteps=False)
        assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(after)
    with pytest.raises(UserError, match="desired_kl is 0"):
        PPO("MlpPolicy", env, desired_kl=0.0)
    with pytest.raises(UserError, match="drop the schedule"):
        PPO("MlpPolicy", env, desired_kl=0.01, learning_rate=lambda left: left)


def test_an_unknown_wrapper_goes_through_numpy_and_says_so_once() -> None:
    wrapped = VecNormalize(VecCheckNan(IsaacVecEnv(PENDULUM, num_envs=4)))
    assert tensor_env_of(wrapped) is None and tensor_env_of(StockNormalize(IsaacVecEnv(PENDULUM, num_envs=4))) is None
    model = PPO("MlpPolicy", wrapped, n_steps=8, batch_size=32)
    with pytest.warns(UserWarning, match="cannot be stepped by tensors") as said:
        model.learn(100)
    assert len([w for w in said if "stepped by tensors" in str(w.message)]) == 1 and model.num_timesteps >= 100


def test_groups_of_observations_go_through_numpy_too() -> None:
    def losses(wrap: Any) -> Dict[str, float]:
        env = VecNormalize(wrap(IsaacVecEnv(QUADRUPED, num_envs=4, seed=0, threads=1, privileged=True)))
        model = PPO("AsymmetricPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0)
        model.set_logger(Logger(None, []))
        model.learn(32)
        return {key: value for key, value in model.logger.name_to_value.items() if "loss" in key}

    with pytest.warns(UserWarning, match="cannot be stepped by tensors"):
        by_arrays = losses(VecCheckNan)
    assert losses(lambda env: env) == pytest.approx(by_arrays, rel=1e-4, abs=1e-5) and len(by_arrays) == 4


def test_an_overridden_step_is_not_passed_by() -> None:
    class Doubled(IsaacVecEnv):
        def step_wait(self) -> Any:
            obs, rewards, dones, infos = super().step_wait()
            return obs, 2 * rewards, dones, infos

    assert tensor_env_of(Doubled(PENDULUM, num_envs=2)) is None


def test_sb3s_advice_to_leave_the_gpu_is_for_rollouts_by_numpy() -> None:
    for environment, warned in ((IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2), 0), ("CartPole-v1", 1)):
        model = PPO("MlpPolicy", environment, device="cpu")
        model.device = torch.device("cuda")
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            model._maybe_recommend_cpu()
        assert len(found) == warned


def test_other_environments_train_as_with_stock() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=16, n_epochs=1, seed=0)
    model.learn(64)
    assert model.num_timesteps == 64


def test_stock_callbacks_read_dones_infos_and_rewards() -> None:
    seen: List[Dict[str, Any]] = []

    class Reader(BaseCallback):
        def _on_step(self) -> bool:
            assert len(self.locals["rewards"]) == len(self.locals["infos"]) == 8
            seen.extend(info["episode"] for info in self.locals["infos"] if "episode" in info)
            assert np.sum(self.locals["dones"]) == sum("terminal_observation" in info for info in self.locals["infos"])
            return True

    env = IsaacVecEnv(PENDULUM, num_envs=8, episode_length_s=0.2, stagger=False, seed=0)
    PPO("MlpPolicy", env, n_steps=8, batch_size=64).learn(8 * 24, callback=Reader())
    assert len(seen) >= 16 and {episode["l"] for episode in seen} <= set(range(1, 11))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64)
    model.learn(8 * 80, callback=StopTrainingOnMaxEpisodes(max_episodes=2))  # two for each environment
    assert 8 * 10 < model.num_timesteps <= 8 * 20


def test_episode_means_are_over_all_that_finished() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=300, episode_length_s=0.2, stagger=False, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=4800, n_epochs=1)
    episodes: List[Dict[str, Any]] = []

    class Collect(BaseCallback):
        def _on_rollout_start(self) -> None:
            episodes.clear()

        def _on_step(self) -> bool:
            assert np.shape(self.locals["new_obs"]) == (300, 6)
            episodes.extend(info["episode"] for info in self.locals["infos"] if "episode" in info)
            return True

    model.learn(3 * 4800, callback=Collect())
    assert len(episodes) >= 300 and model.ep_info_buffer is not None and len(model.ep_info_buffer) == 1
    for key in ("r", "l"):
        assert model.ep_info_buffer[0][key] == pytest.approx(np.mean([episode[key] for episode in episodes]), rel=1e-5)


def test_zips_of_stock_sb3_load(tmp_path: Path) -> None:
    """The other way is in test_apart.py."""
    obs = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    stock, stock_env, _ = learn(stable_baselines3.PPO, StockNormalize, PENDULUM, 16, iterations=2, batch_size=64)
    stock.save(tmp_path / "stock.zip")
    stock_env.save(str(tmp_path / "stock.pkl"))
    env = VecNormalize.load(str(tmp_path / "stock.pkl"), IsaacVecEnv(PENDULUM, num_envs=16))
    loaded = PPO.load(tmp_path / "stock.zip", env=env)
    assert type(env) is VecNormalize and isinstance(loaded.rollout_buffer, TensorRolloutBuffer)
    np.testing.assert_allclose(stock.predict(stock_env.normalize_obs(obs), deterministic=True)[0],
                               loaded.predict(env.normalize_obs(obs), deterministic=True)[0], atol=1e-6)
    loaded.learn(512)
    assert all(bool(p.isfinite().all()) for p in loaded.policy.parameters())


@pytest.mark.parametrize("ours", [True, False])
def test_an_update_at_the_highest_rate_does_not_take_a_precise_policy_apart(ours: bool) -> None:
    """Of 20 minibatches those after a KL of ten times the desired one are left out, and the rate falls."""
    options: Any = {"n_steps": 8, "batch_size": 32, "learning_rate": 1e-2, "seed": 0, "n_epochs": 5, "device": "cpu",
                    "policy_kwargs": {"log_std_init": -5.0}}
    env = IsaacVecEnv(PENDULUM, num_envs=16, seed=0)
    model: Any = (PPO("MlpPolicy", env, desired_kl=0.03, **options) if ours
                  else stable_baselines3.PPO("MlpPolicy", env, **options))
    model.learn(128, callback=None if ours else AdaptiveLearningRate(0.03))
    assert model.target_kl == pytest.approx(0.2)
    assert model.policy.optimizer.state[model.policy.log_std]["step"] < 20
    assert model.learning_rate < 1e-2


def test_a_batch_size_beyond_the_rollout_is_the_rollout() -> None:
    with pytest.warns(UserWarning, match="mini-batch size of 10000000000"):
        model = PPO("MlpPolicy", IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=2, seed=0), n_steps=8,
                    batch_size=10**10, n_epochs=1)
    model.learn(16)
    assert model.logger.name_to_value["train/n_updates"] == 1
