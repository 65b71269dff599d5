"""The ceiling on exploration: by arithmetic, and on stock and our PPO."""

from __future__ import annotations

import math
from typing import Any

import pytest
import stable_baselines3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_isaac import PPO, FadingExploration, IsaacVecEnv, UserError
from sb3_isaac.rl.training.build import yaml_callback


def test_the_ceiling_falls_geometrically_between_its_two_times() -> None:
    fading = FadingExploration(start_std=0.4, end_std=0.1, begin=100, until=300)
    assert [fading.ceiling(t) for t in (0, 100, 200, 300, 10**9)] == pytest.approx([0.4, 0.4, 0.2, 0.1, 0.1])


@pytest.mark.parametrize("algorithm", [PPO, stable_baselines3.PPO])
def test_a_policy_keeps_below_the_ceiling_and_what_is_lower_is_left_alone(algorithm: Any) -> None:
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0)
    model = algorithm("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1, seed=0, learning_rate=0.0)
    model.policy.log_std.data[:] = model.policy.log_std.new_tensor([0.0, -5.0])
    model.learn(256, callback=yaml_callback("sb3_isaac.FadingExploration", {
        "start_std": 1.0, "end_std": 0.1, "begin": 0, "until": 192}))
    # The last rollout began at 192 steps.
    assert model.policy.log_std.tolist() == pytest.approx([math.log(0.1), -5.0])


def test_the_ceiling_falls_by_success() -> None:
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=8, seed=0, threads=1, command={"forward_m_s": 0.0})
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1, seed=0, learning_rate=0.0)
    fading = FadingExploration(start_std=1.0, end_std=0.25, begin=0.0, until=0.8, measure="rollout/tracking")
    seen = []

    class See(BaseCallback):
        def _on_rollout_start(self) -> None:
            seen.append(float(self.model.policy.log_std.detach().exp().mean()))

        def _on_rollout_end(self) -> None:
            seen.append(env.statistics.read()["rollout/tracking"])

        def _on_step(self) -> bool:
            return True

    model.learn(128, callback=[fading, See()])
    first, tracking, second, _ = seen
    assert first == 1.0 and 0.1 < tracking < 0.8
    assert second == pytest.approx(0.25 ** (tracking / 0.8), rel=1e-5)


def test_sentences_for_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"end_std 0\.0 must be above 0"):
        FadingExploration(end_std=0.0)
    with pytest.raises(UserError, match="0 <= begin < until"):
        FadingExploration(begin=5, until=5)
    with pytest.raises(UserError, match="until 0 values of rollout/tracking"):
        FadingExploration(begin=0, until=0, measure="rollout/tracking")
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0)
    unknown = FadingExploration(measure="rollout/tracking")
    with pytest.raises(UserError, match="measure 'rollout/tracking'"):
        PPO("MlpPolicy", env, n_steps=8, batch_size=64).learn(64, callback=unknown)
    model = stable_baselines3.PPO("MlpPolicy", make_vec_env("CartPole-v1"), n_steps=8, batch_size=8)
    with pytest.raises(UserError, match="needs a policy with log_std"):
        model.learn(8, callback=FadingExploration())
    model = stable_baselines3.PPO("MlpPolicy", make_vec_env("Pendulum-v1"), n_steps=8, batch_size=8)
    with pytest.raises(UserError, match="in the rollouts of an IsaacVecEnv alone"):
        model.learn(8, callback=FadingExploration(measure="rollout/tracking"))
