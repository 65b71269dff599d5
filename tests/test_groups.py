"""Observation groups of different shapes and dtypes: through normaliser, buffer and policy, each with its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import VecCheckNan

from sb3_isaac import PPO, Evaluation, IsaacVecEnv, RunCheckpoints, UserError, VecNormalize
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.policy.module import ImagePolicy
from sb3_isaac.rl.policy.asymmetric import AsymmetricPolicy
from sb3_isaac.rl.policy.export import ModelPolicy, acts_on_groups, evaluation_policy, policy_content

GROUPS = {"actor_groups": ["policy", "image"], "critic_groups": ["policy", "critic"]}
ALL_SEEING = {"actor_groups": ["policy", "critic"], "critic_groups": ["policy", "critic"]}


class Seeing(TensorEnv):
    """Four robots that are rewarded for pointing at a bright row; the critic is told which one it is."""

    max_steps, num_envs, device = 3, 4, torch.device("cpu")

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (5,), np.float32),
                                              "image": spaces.Box(0, 255, (3, 36, 36), np.uint8),
                                              "critic": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._generator, self._steps = torch.Generator().manual_seed(0), torch.zeros(4, dtype=torch.int64)
        self._obs = self._draw()

    def _draw(self) -> Obs:
        row = torch.randint(0, 36, (4,), generator=self._generator)
        image = torch.zeros(4, 3, 36, 36, dtype=torch.uint8)
        image[torch.arange(4), :, row] = 255
        return {"policy": torch.randn(4, 5, generator=self._generator) + 7.0, "image": image,
                "critic": torch.stack((row / 36.0, torch.ones(4)), dim=1)}

    def reset(self, seed: Optional[int] = None) -> Obs:
        self._generator.manual_seed(seed or 0)
        self._steps.zero_()
        return self._take(self._draw())

    def _take(self, obs: Obs) -> Obs:
        for group, value in obs.items():
            self._obs[group].copy_(value)
        return self._obs

    def step(self, actions: torch.Tensor) -> Step:
        reward = 1.0 - (actions[:, 0] - self._obs["critic"][:, 0]).abs()
        self._steps += 1
        truncated = self._steps >= self.max_steps
        self._steps[truncated] = 0
        return Step(self._take(self._draw()), reward, torch.zeros(4, dtype=torch.bool), truncated, self._draw(), {})


def learned(wrap: Any = lambda env: env, policy_kwargs: Any = None, **settings: Any) -> PPO:
    env = VecNormalize(wrap(IsaacVecEnv(Seeing(), seed=0)))
    model = PPO("AsymmetricPolicy", env, seed=0, device="cpu", policy_kwargs=policy_kwargs or GROUPS,
                **{"n_steps": 8, "batch_size": 32, "n_epochs": 1, **settings})
    return model.learn(64)


def test_images_stay_uint8_and_are_not_normalised() -> None:
    model = learned()
    env = model.get_env()
    assert isinstance(env, VecNormalize) and set(env.obs_rms) == {"policy", "critic"}
    assert env.norm_obs_keys == ["critic", "policy"]
    images = model.rollout_buffer.observations["image"]  # type: ignore[index]
    assert images.dtype == np.uint8 and np.unique(images).tolist() == [0, 255]
    assert abs(model.rollout_buffer.observations["policy"].mean()) < 3.0  # type: ignore[index]
    before = env.reset_tensor()["image"]
    kept = before.clone()
    step = env.step_tensor(torch.zeros(4, 2))
    assert step.obs["image"].dtype is step.final_obs["image"].dtype is torch.uint8
    assert torch.equal(before, kept), "what reset gave is not overwritten"


def test_actor_and_critic_see_their_groups_alone() -> None:
    policy: Any = learned().policy
    obs = {"policy": torch.randn(6, 5), "image": torch.randint(0, 256, (6, 3, 36, 36), dtype=torch.uint8),
           "critic": torch.randn(6, 2)}
    action, value, _ = policy(obs, deterministic=True)
    for group, new in (("policy", torch.randn(6, 5)), ("critic", torch.randn(6, 2)),
                       ("image", 255 - obs["image"])):
        other = policy({**obs, group: new}, deterministic=True)
        assert torch.equal(other[0], action) == (group not in GROUPS["actor_groups"])
        assert torch.equal(other[1], value) == (group not in GROUPS["critic_groups"])
    assert isinstance(policy.pi_features_extractor.encoders["image"], NatureCNN)
    assert policy.pi_features_extractor.features_dim == 5 + 256 and policy.vf_features_extractor.features_dim == 7


def test_saved_and_loaded_it_acts_the_same(tmp_path: Path) -> None:
    model = learned()
    rng = np.random.default_rng(0)
    obs = {"policy": rng.normal(size=(6, 5)).astype(np.float32), "critic": np.zeros((6, 2), dtype=np.float32),
           "image": rng.integers(0, 256, (6, 3, 36, 36), dtype=np.uint8)}
    normalizer = model.get_vec_normalize_env()
    expected, _ = model.predict(normalizer.normalize_obs(obs), deterministic=True)  # type: ignore
    model.save(tmp_path / "model.zip")
    again = PPO.load(tmp_path / "model.zip")
    assert type(again.policy) is AsymmetricPolicy
    np.testing.assert_allclose(again.predict(normalizer.normalize_obs(obs), deterministic=True)[0],  # type: ignore
                               expected, atol=1e-6)
    model.policy.save(tmp_path / "policy.pt")
    alone = AsymmetricPolicy.load(tmp_path / "policy.pt")
    np.testing.assert_allclose(alone.predict(normalizer.normalize_obs(obs), deterministic=True)[0],  # type: ignore
                               expected, atol=1e-6)
    evaluated = evaluation_policy(model, normalizer, {}, "cpu")
    assert isinstance(evaluated, ImagePolicy)
    tensors = {group: torch.from_numpy(value) for group, value in obs.items()}
    np.testing.assert_allclose(acts_on_groups(evaluated)(tensors).numpy(), expected, atol=1e-6)


def test_an_actor_that_sees_other_numbers_has_no_policy_file() -> None:
    model = learned(policy_kwargs=ALL_SEEING)
    with pytest.raises(UserError, match="actors that see the group 'policy' alone"):
        policy_content(model, model.get_vec_normalize_env(), {})
    assert isinstance(evaluation_policy(model, model.get_vec_normalize_env(), {}, "cpu"), ModelPolicy)


def test_it_trains_is_evaluated_and_saved_without_a_policy_file(tmp_path: Path) -> None:
    env = VecNormalize(IsaacVecEnv(Seeing(), seed=0))
    model = PPO("AsymmetricPolicy", env, n_steps=8, batch_size=32, seed=0, policy_kwargs=ALL_SEEING)
    with pytest.warns(UserWarning, match=r"no policy\.pth"):
        evaluation = Evaluation(lambda: IsaacVecEnv(Seeing()), every=1)
        model.learn(64, callback=[evaluation, RunCheckpoints(tmp_path)])
    assert evaluation.report is not None
    assert evaluation.report["length_mean"] == 3.0 and evaluation.report["steps"] == 64
    assert (tmp_path / "model.zip").is_file() and not (tmp_path / "policy.pth").exists()


def test_tensors_and_arrays_learn_the_same() -> None:
    """Rewards hold the values of true final observations at the time-outs, every third step."""
    by_tensors: Any = learned()
    with pytest.warns(UserWarning, match="cannot be stepped by tensors"):
        by_arrays: Any = learned(VecCheckNan)
    for name in ("actions", "rewards", "values", "advantages"):
        np.testing.assert_allclose(*(getattr(model.rollout_buffer, name) for model in (by_tensors, by_arrays)),
                                   atol=1e-4, rtol=1e-4)
    for group, seen in by_tensors.rollout_buffer.observations.items():
        np.testing.assert_allclose(seen, by_arrays.rollout_buffer.observations[group], atol=1e-4, rtol=1e-4)
    for a, b in zip(by_tensors.policy.parameters(), by_arrays.policy.parameters()):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_groups_that_are_not_there_and_images_to_normalise_are_sentences() -> None:
    env = IsaacVecEnv(Seeing())
    for kwargs, words in (({}, "was given critic, image, policy: .* actor_groups"),
                          ({**GROUPS, "actor_groups": ["pixels"]}, r"actor_groups is \['pixels'\]: .* of critic, im"),
                          ({**GROUPS, "critic_groups": []}, r"critic_groups is \[\]"),
                          ({**GROUPS, "critic_groups": "policy"}, "critic_groups is 'policy'")):
        with pytest.raises(UserError, match=words):
            PPO("AsymmetricPolicy", env, policy_kwargs=kwargs)
    with pytest.raises(UserError, match="names image, which holds images"):
        VecNormalize(env, norm_obs_keys=["policy", "image"])
    with pytest.raises(UserError, match="names pixels, and the groups are"):
        VecNormalize(env, norm_obs_keys=["pixels"])
