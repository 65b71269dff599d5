"""The rollout: time-outs by rows, callbacks that stop it, the optimizer's settings, what is left to SB3's methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.vec_env import VecCheckNan
from torch import nn

from sb3_isaac import PPO, AdaptiveLearningRate, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.rl.algo.gaussian import act, evaluate, is_plain
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.algo.rollout_buffer import TensorRolloutBuffer
from sb3_isaac.rl.training.task_state import restore_task_state, task_state

PENDULUM = "IsaacDoublePendulum-v0"


class DeviceBuffer(TensorRolloutBuffer):
    """As on a device that has to be waited for."""

    final_observations_on_cpu = False


def buffer(n_steps: int, n_envs: int, shape: Any = (1,), dtype: Any = np.float32,
           cls: Any = DeviceBuffer) -> TensorRolloutBuffer:
    high = 255 if dtype is np.uint8 else np.inf
    low = 0 if dtype is np.uint8 else -np.inf
    made: TensorRolloutBuffer = cls(n_steps, spaces.Box(low, high, shape, dtype), spaces.Box(-1, 1, (1,)), "cpu",
                                    gamma=0.5, n_envs=n_envs)
    return made


def fill(made: TensorRolloutBuffer, truncated: torch.Tensor, final_obs: torch.Tensor) -> None:
    zero = torch.zeros(made.n_envs)
    for row, last in zip(truncated, final_obs):
        made.keep_final(row, last)
        made.add(last * 0, zero, zero, zero, zero, zero)


BUFFERS = pytest.mark.parametrize("cls", [DeviceBuffer, TensorRolloutBuffer], ids=["device", "cpu"])


@BUFFERS
def test_values_go_to_the_rewards_of_the_robots_that_timed_out(cls: Any) -> None:
    """The value of observation x is 10 x, γ is 0.5: the reward of a time-out at x becomes 5 x."""
    made = buffer(3, 4, cls=cls)
    made.expect_time_outs(lambda rows: 10.0 * rows, max_steps=2)
    for offset in (0.0, 100.0):  # the second rollout has forgotten the first
        made.reset()
        truncated = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]], dtype=torch.bool)
        x = offset + torch.arange(12.0).reshape(3, 4)
        fill(made, truncated, x[..., None])
        made.bootstrap()
        torch.testing.assert_close(made.tensors["rewards"], 5.0 * x * truncated)
    made.expect_time_outs(lambda rows: pytest.fail("nothing to value"), max_steps=2)
    made.reset()
    fill(made, torch.zeros(3, 4, dtype=torch.bool), x[..., None])
    made.bootstrap()


@BUFFERS
def test_every_robot_may_time_out_every_step_where_the_length_is_unknown(cls: Any) -> None:
    made = buffer(3, 2000, cls=cls)
    made.expect_time_outs(lambda rows: rows)
    made.reset()
    x = torch.rand(3, 2000, 1)
    fill(made, torch.ones(3, 2000, dtype=torch.bool), x)
    made.bootstrap()
    torch.testing.assert_close(made.tensors["rewards"], 0.5 * x[..., 0])


def test_more_time_outs_than_max_steps_allows_are_an_error() -> None:
    made = buffer(3, 2000)
    made.expect_time_outs(lambda rows: rows, max_steps=100)  # one for each robot
    made.reset()
    fill(made, torch.ones(3, 2000, dtype=torch.bool), torch.rand(3, 2000, 1))
    with pytest.raises(UserError, match=r"6000 episodes ran out of time in a rollout with room for 2000: .* max_steps"):
        made.bootstrap()


def test_images_are_kept_once() -> None:
    """24 steps of 200 robots that see 8 × 64 × 64 bytes are 157 MB; room for final ones is of 1024 rows, not 4800."""
    made = buffer(24, 200, (8, 64, 64), np.uint8)
    made.expect_time_outs(lambda rows: rows, max_steps=1000)
    made.reset()
    parts: List[torch.Tensor] = [*made.tensors.values(), *vars(made._final_observations).values()]
    held = sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
    observations = made.tensors["observations"].numel()
    assert observations == 24 * 200 * 8 * 64 * 64 and made.tensors["observations"].dtype is torch.uint8
    assert held < 1.25 * observations


class StopAt(BaseCallback):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self._calls = calls

    def _on_step(self) -> bool:
        return self.n_calls < self._calls


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize, VecCheckNan], ids=["bare", "normalised", "numpy"])
def test_a_callback_that_stops_midway_leaves_state_and_observation_at_one_step(wrap: Any) -> None:
    def make() -> Any:
        return wrap(IsaacVecEnv(PENDULUM, num_envs=4, seed=0, episode_length_s=0.1, stagger=False))

    env = make()
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, seed=0)
    with pytest.warns(UserWarning, match="by tensors") if wrap is VecCheckNan else _nothing():
        model.learn(320, callback=StopAt(5))  # an episode is five steps
    assert model.num_timesteps == 20
    now = env.unwrapped.last_step.obs["policy"].numpy().copy()
    now = env.normalize_obs(now) if wrap is VecNormalize else now
    np.testing.assert_allclose(np.asarray(model._last_obs), now, atol=5e-5)
    assert np.asarray(model._last_episode_starts).tolist() == [True] * 4
    saved = task_state(model)
    again = PPO("MlpPolicy", make(), n_steps=8, batch_size=32, seed=0)
    again.set_parameters(model.get_parameters())
    if wrap is VecNormalize:
        again.env.obs_rms, again.env.ret_rms = env.obs_rms, env.ret_rms  # type: ignore[union-attr]
    restore_task_state(again, saved)
    seen = []
    for each in (model, again):
        torch.manual_seed(1)
        each.learn(32, reset_num_timesteps=False, callback=StopAt(6))
        seen.append([torch.as_tensor(each.rollout_buffer.observations).numpy()[:5].copy(),
                     np.asarray(each._last_obs)])
        if wrap is VecNormalize:
            break  # the statistics are shared, and have moved on
    np.testing.assert_allclose(seen[0][0][0], now, atol=5e-5)
    for a, b in zip(*seen) if len(seen) == 2 else ():
        np.testing.assert_allclose(a, b, atol=1e-6)


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None


def settings(model: PPO) -> List[Any]:
    group = model.policy.optimizer.param_groups[0]
    return [group.get("fused"), group.get("foreach")]


class Kernel(BaseCallback):
    """Keeps the optimizer's settings at each of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[Any] = []

    def _on_training_start(self) -> None:
        optimizer = self.model.policy.optimizer
        optimizer.register_step_pre_hook(lambda *_: self.seen.append(settings(self.model)))  # type: ignore[arg-type]

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(("policy_kwargs", "at_work"), [
    ({}, [True, None]),
    ({"optimizer_class": torch.optim.AdamW}, [True, None]),
    ({"optimizer_kwargs": {"foreach": True}}, [None, True]),
    ({"optimizer_kwargs": {"fused": False}}, [False, None]),
    ({"optimizer_class": torch.optim.RMSprop}, [None, None]),
    ({"optimizer_class": type("Mine", (torch.optim.Adam,), {})}, [None, None]),
])
def test_fused_adam_is_a_default_and_not_saved(policy_kwargs: Dict[str, Any], at_work: List[Any],
                                               tmp_path: Path) -> None:
    kernel = Kernel()
    model = PPO("MlpPolicy", IsaacVecEnv(PENDULUM, num_envs=4), n_steps=8, batch_size=32, n_epochs=1,
                policy_kwargs=policy_kwargs)
    before = settings(model)
    model.learn(32, callback=kernel)
    assert kernel.seen == [at_work] and settings(model) == before
    model.save(tmp_path / "model.zip")
    assert settings(PPO.load(tmp_path / "model.zip")) == before


def test_a_fused_kernel_that_torch_lacks_is_not_asked_for() -> None:
    from sb3_isaac.rl.algo.optimizer import fused_by_default

    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1, device="meta"))])
    with fused_by_default(optimizer):
        assert optimizer.param_groups[0]["fused"] is None


def test_two_that_steer_the_learning_rate_are_one_too_many() -> None:
    env = IsaacVecEnv(PENDULUM, num_envs=4)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, desired_kl=0.01)
    with pytest.raises(UserError, match=r"PPO's desired_kl .* AdaptiveLearningRate"):
        model.learn(32, callback=AdaptiveLearningRate())
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32)
    with pytest.raises(UserError, match="2 AdaptiveLearningRate"):
        model.learn(32, callback=[AdaptiveLearningRate(0.01), AdaptiveLearningRate(0.02)])


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class ResidualActor(MlpExtractor):
    def __init__(self, width: int, *args: Any) -> None:
        super().__init__(width, *args)
        self.policy_net, self.latent_dim_pi = Residual(nn.Linear(width, width), nn.ELU()), width


class ScaledCritic(MlpExtractor):
    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return 2.0 * self.value_net(features)


class OwnForward(MlpExtractor):
    def forward(self, features: torch.Tensor) -> Any:
        return 2.0 * self.policy_net(features), 3.0 * self.value_net(features)


def with_extractor(kind: Any) -> Any:
    class Policy(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = kind(self.features_dim, self.net_arch, self.activation_fn, self.device)

    return Policy


class OneStd(ActorCriticPolicy):
    """One standard deviation for all joints."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.log_std = nn.Parameter(torch.full((1,), -1.0))
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1))  # type: ignore[call-arg]


def policy_of(kind: Any) -> Any:
    return PPO(kind, IsaacVecEnv(PENDULUM, num_envs=4, seed=0), n_steps=4, batch_size=8, device="cpu", seed=0).policy


class PatchedActor(ActorCriticPolicy):
    """A method of one object alone, which SB3 calls where actor and critic have features of their own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "share_features_extractor": False})
        actor = self.mlp_extractor.forward_actor
        self.mlp_extractor.forward_actor = lambda features: 2.0 * actor(features)  # type: ignore[method-assign]


class PatchedDistribution(ActorCriticPolicy):
    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        of = self.action_dist.proba_distribution
        self.action_dist.proba_distribution = (  # type: ignore[method-assign]
            lambda mean_actions, log_std: of(mean_actions.tanh(), log_std))


class BoundedStd(ActorCriticPolicy):
    """A standard deviation that is a function of a parameter."""

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> Any:
        return self.action_dist.proba_distribution(self.action_net(latent_pi), 0.5 * self.log_std - 1.0)


@pytest.mark.parametrize("kind", [with_extractor(ResidualActor), with_extractor(ScaledCritic),
                                  with_extractor(OwnForward), OneStd, PatchedActor, PatchedDistribution,
                                  BoundedStd, "MlpPolicy"],
                         ids=["residual", "critic", "forward", "one std", "patched actor",
                              "patched distribution", "bounded std", "stock"])
def test_a_users_own_policy_is_computed_by_its_own_methods(kind: Any) -> None:
    policy, obs, actions = policy_of(kind), torch.randn(64, 6), torch.randn(64, 2)
    assert is_plain(policy) == (kind == "MlpPolicy")
    values, log_prob, entropy = policy.evaluate_actions(obs, actions)
    ours = evaluate(policy, obs, actions, MatrixLibraries())
    torch.testing.assert_close((ours[0], ours[1], ours[2].mean()), (values.flatten(), log_prob, entropy.mean()))
    torch.manual_seed(1)
    expected = policy(obs)
    torch.manual_seed(1)
    torch.testing.assert_close(act(policy, obs, MatrixLibraries()), (expected[0], expected[1].flatten(), expected[2]))


def test_a_hook_on_all_modules_is_a_hook_on_each() -> None:
    policy = policy_of("MlpPolicy")
    hook = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert not is_plain(policy)
    hook.remove()
    assert is_plain(policy)


@pytest.mark.parametrize("place", [
    lambda p: p, lambda p: p.mlp_extractor, lambda p: p.mlp_extractor.policy_net,
    lambda p: p.mlp_extractor.policy_net[0], lambda p: p.mlp_extractor.policy_net[1], lambda p: p.action_net,
    lambda p: p.value_net, lambda p: p.features_extractor,
], ids=["policy", "extractor", "sequential", "linear", "activation", "action net", "value net", "features"])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook",
                                      "register_full_backward_hook"])
def test_hooks_are_called_as_often_as_in_stock(place: Any, register: str) -> None:
    counts = []
    for algorithm in (PPO.__base__, PPO):
        model: Any = algorithm("MlpPolicy", IsaacVecEnv(PENDULUM, num_envs=4, seed=0),  # type: ignore[misc]
                               n_steps=4, batch_size=8, n_epochs=1, device="cpu",
                               policy_kwargs={"activation_fn": nn.ELU})
        calls: List[int] = []
        getattr(place(model.policy), register)(lambda *_, calls=calls: calls.append(1))
        model.learn(16)
        counts.append(len(calls))
    assert counts[0] == counts[1]
