"""policy.pth: the same actions as SB3, and nothing needed to load it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import IsaacVecEnv, RunCheckpoints
from sb3_isaac.contract.errors import UserError
from sb3_isaac.policy.formats import load_policy, save_policy
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.rl.policy.asymmetric import AsymmetricPolicy
from sb3_isaac.rl.policy.export import ModelPolicy, acts_on_groups, evaluation_policy, policy_content


def small_model(**policy_kwargs: object) -> PPO:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0, policy_kwargs=policy_kwargs)
    return model.learn(256)


@pytest.mark.parametrize("policy_kwargs", [{}, {"net_arch": [32, 16, 8], "activation_fn": torch.nn.ELU}])
def test_exported_actions_are_sb3s(tmp_path: Path, policy_kwargs: dict) -> None:
    model = small_model(**policy_kwargs)
    normalizer = model.get_vec_normalize_env()
    save_policy(tmp_path / "policy.pth", policy_content(model, normalizer, {"obs_table": {}, "env": "x"}))
    policy = load_policy(tmp_path)
    obs = np.random.default_rng(0).normal(0, 3, (64, policy.obs_width)).astype(np.float32)
    expected, _ = model.predict(normalizer.normalize_obs(obs), deterministic=True)
    np.testing.assert_allclose(policy(torch.from_numpy(obs)).numpy(), np.clip(expected, -1, 1), atol=1e-5)


def test_wrong_files_and_widths_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        load_policy(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no policy\.pth"):
        load_policy(tmp_path)
    (tmp_path / "policy.pth").write_bytes(b"not a policy")
    (tmp_path / "runs" / "one_1").mkdir(parents=True)
    (tmp_path / "runs" / "one_1" / "policy.pth").touch()
    with pytest.raises(UserError, match="holds some: give one of one_1 in it"):
        load_policy(tmp_path / "runs")
    with pytest.raises(UserError, match="not a policy file"):
        load_policy(tmp_path)
    model = small_model()
    content = policy_content(model, model.get_vec_normalize_env(), {"env": "IsaacDoublePendulum-v0"})
    save_policy(tmp_path / "policy.pth", content)
    with pytest.raises(UserError, match="width 6 and was given 5"):
        load_policy(tmp_path)(torch.zeros(1, 5))
    for layers in ([("Bilinear", {})], [("Linear", {"in_features": 6})], [("Linear", {"device": "cpu"})], "eval", [1],
                   [("GELU", {"approximate": []})], [("Linear", {"in_features": -1, "out_features": 2})]):
        save_policy(tmp_path / "policy.pth", {**content, "format_version": 2, "layers": layers})
        with pytest.raises(UserError, match="not a policy file"):
            load_policy(tmp_path)
    save_policy(tmp_path / "policy.pth", {**content, "format_version": 99})
    with pytest.raises(UserError, match="format 99"):
        load_policy(tmp_path)


class OwnNetwork(torch.nn.Module):
    """A network as SB3's documentation has users write it, in `mlp_extractor`."""

    def __init__(self, width: int, actor: torch.nn.Module) -> None:
        super().__init__()
        self.latent_dim_pi = self.latent_dim_vf = 8
        self.policy_net, self.value_net = actor, torch.nn.Linear(width, 8)

    def forward(self, features: torch.Tensor) -> Any:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return self.policy_net(features)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return self.value_net(features)


def with_network(*layers: torch.nn.Module, cls: Any = torch.nn.Sequential) -> Any:
    class Policy(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = OwnNetwork(self.features_dim, cls(*layers))  # type: ignore[assignment]

    return Policy


class OwnFeatures(BaseFeaturesExtractor):
    def __init__(self, space: Any) -> None:
        super().__init__(space, 16)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 16, bias=False), torch.nn.SiLU())

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.net(obs)


class Residual(torch.nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class ByValue(torch.nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if bool((x > 0).all()) else -x)


def untrained(policy: Any = "MlpPolicy", **settings: Any) -> PPO:
    env = VecNormalize(IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0))
    env.reset()
    for _ in range(5):
        env.step(np.ones((4, 2), dtype=np.float32))
    return PPO(policy, env, n_steps=8, batch_size=32, seed=0, **settings)


def assert_same_actions(model: PPO, policy: Any) -> None:
    obs = np.random.default_rng(0).normal(0, 3, (64, 6)).astype(np.float32)
    normalizer = model.get_vec_normalize_env()
    expected, _ = model.predict(obs if normalizer is None else normalizer.normalize_obs(obs), deterministic=True)
    np.testing.assert_allclose(policy(torch.from_numpy(obs)).numpy(), expected, atol=1e-6, rtol=0)
    assert np.ptp(expected, axis=0).min() > 1e-4, "actions that say nothing"


nn = torch.nn
KINDS = {
    "mlp": (1, lambda: untrained(policy_kwargs={"net_arch": [16, 8], "activation_fn": nn.ELU})),
    "linear": (1, lambda: untrained(policy_kwargs={"net_arch": []})),
    "ELU alpha": (2, lambda: untrained(policy_kwargs={"activation_fn": partial(nn.ELU, alpha=0.3)})),
    "leaky slope": (2, lambda: untrained(policy_kwargs={"activation_fn": partial(nn.LeakyReLU, 0.2)})),
    "LayerNorm": (2, lambda: untrained(with_network(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh()))),
    "Dropout": (1, lambda: untrained(with_network(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh()))),
    "nested": (2, lambda: untrained(with_network(nn.Sequential(nn.Linear(6, 8), nn.ReLU()), nn.Linear(8, 8)))),
    "own features": (2, lambda: untrained(policy_kwargs={"features_extractor_class": OwnFeatures})),
    "squashed": (2, lambda: untrained(use_sde=True, policy_kwargs={"squash_output": True})),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_network_acts_as_sb3_predicts(tmp_path: Path, kind: str) -> None:
    version, make = KINDS[kind]
    model = make()
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    content = policy_content(model, model.get_vec_normalize_env(), {})
    assert content["format_version"] == version and ("layers" in content) == (version == 2)
    save_policy(tmp_path / "policy.pth", content)
    policy = load_policy(tmp_path)
    assert_same_actions(model, policy)
    assert_same_actions(model, torch.jit.script(policy))
    assert not any(parameter.requires_grad for parameter in policy.parameters())
    again = PolicyModule(content)
    again.load_state_dict({key: torch.zeros_like(value) for key, value in policy.state_dict().items()})
    again.load_state_dict(policy.state_dict())
    assert_same_actions(model, again.double().float())


@pytest.mark.parametrize(("policy", "sentence"), [
    (with_network(Residual(nn.Linear(6, 6)), nn.Linear(6, 8)), "computes 'add' besides"),
    (with_network(nn.Linear(6, 8), cls=ByValue), "decides by values"),
    (with_network(nn.Linear(6, 8), nn.Softmax(dim=1)), "cannot hold a Softmax layer: use one of Linear"),
])
def test_other_networks_are_refused_and_evaluated_all_the_same(policy: Any, sentence: str, tmp_path: Path) -> None:
    model = untrained(policy)
    normalizer = model.get_vec_normalize_env()
    with pytest.raises(UserError, match=sentence):
        policy_content(model, normalizer, {})
    alone = evaluation_policy(model, normalizer, {}, "cpu")
    assert isinstance(alone, ModelPolicy)
    assert_same_actions(model, lambda obs: alone({"policy": obs}))
    with pytest.warns(UserWarning, match=r"no policy\.pth will be written: policy\.pth"):
        model.learn(64, callback=RunCheckpoints(tmp_path))
    assert (tmp_path / "model.zip").is_file() and not (tmp_path / "policy.pth").exists()


def test_a_hook_and_an_own_distribution_are_refused() -> None:
    model = untrained()
    model.policy.action_net.register_forward_hook(lambda module, args, out: 2.0 * out)
    with pytest.raises(UserError, match="Linear has a hook"):
        policy_content(model, None, {})

    class Louder(ActorCriticPolicy):
        def get_distribution(self, obs: Any) -> Any:
            return super().get_distribution(-obs)

    with pytest.raises(UserError, match="not Louder"):
        policy_content(untrained(Louder), None, {})


def test_a_file_of_version_1_worked_by_hand(tmp_path: Path) -> None:
    """What the first release wrote: ((5 − 1) / √(3 + 1) = 2) · 3 + 1 = 7, ReLU, · −0.1 + 0.2 = −0.5; clipped: 0.2."""
    content = {"format_version": 1, "activation": "nn.ReLU", "action_low": [-1.0], "action_high": [1.0],
               "state_dict": {"0.weight": torch.tensor([[3.0]]), "0.bias": torch.tensor([1.0]),
                              "2.weight": torch.tensor([[-0.1]]), "2.bias": torch.tensor([0.2])},
               "obs_mean": torch.tensor([1.0]), "obs_var": torch.tensor([3.0]), "epsilon": 1.0, "clip_obs": 2.5}
    save_policy(tmp_path / "policy.pth", content)
    policy = load_policy(tmp_path)
    # 100 is clipped to 2.5: 2.5 · 3 + 1 = 8.5 → −0.65; −100 to −2.5: ReLU gives 0
    torch.testing.assert_close(policy(torch.tensor([[5.0], [100.0], [-100.0]])), torch.tensor([[-0.5], [-0.65], [0.2]]))
    again = policy_content(untrained(), None, {})
    assert set(again) == set(content)
    assert list(again["state_dict"]) == [f"{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")]


def test_observations_of_another_device_are_refused_and_to_moves_all() -> None:
    policy = PolicyModule(policy_content(untrained(), None, {}))
    with pytest.raises(UserError, match=r"on cpu and the observations are on meta: call policy\.to"):
        policy(torch.zeros(2, 6, device="meta"))
    assert policy.to("meta")(torch.zeros(2, 6, device="meta")).device.type == "meta"


def test_a_normaliser_of_other_groups_leaves_the_policys_observations_alone() -> None:
    env = VecNormalize(IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=2, privileged=True, threads=1, seed=0),
                       norm_obs_keys=["critic"])
    env.reset()
    model = PPO(AsymmetricPolicy, env, n_steps=8, batch_size=16, seed=0)
    obs = {"policy": torch.randn(5, 44), "critic": torch.randn(5, 8)}
    arrays = env.normalize_obs({key: value.numpy() for key, value in obs.items()})
    expected, _ = model.predict(arrays, deterministic=True)  # type: ignore[arg-type]
    for policy in (evaluation_policy(model, env, {}, "cpu"), ModelPolicy(model, env)):
        np.testing.assert_allclose(acts_on_groups(policy)(obs).numpy(), expected, atol=1e-6)
