"""The critic sees what the actor does not, and the exported policy needs the actor's observations alone."""

from __future__ import annotations

import base64
import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
import torch

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.policy.formats import save_policy
from sb3_isaac.rl.policy.asymmetric import AsymmetricPolicy
from sb3_isaac.rl.policy.export import policy_content

ARCH = {"net_arch": [32, 16], "activation_fn": torch.nn.ELU}


def make(**options: Any) -> IsaacVecEnv:
    return IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=8, seed=0, threads=1, **options)


def test_the_critics_group_holds_velocity_contacts_and_friction() -> None:
    env = make(privileged=True)
    obs = env.reset()
    assert isinstance(obs, dict) and obs["policy"].shape == (8, 44) and obs["critic"].shape == (8, 8)
    for _ in range(40):
        obs, *_ = env.step(np.zeros((8, 12), dtype=np.float32))
    assert isinstance(obs, dict)
    task: Any = env.env
    assert obs["critic"][:, 3:7].min() == 1.0, "all feet stand"
    np.testing.assert_allclose(obs["critic"][:, 7], 0.8)
    np.testing.assert_allclose(np.linalg.norm(obs["critic"][:, :3], axis=1),
                               task.sim.state.root_lin_vel_w.norm(dim=1).numpy(), atol=1e-5)


def test_the_actors_observation_is_the_same_with_and_without() -> None:
    plain, privileged = make(), make(privileged=True)
    np.testing.assert_array_equal(plain.reset(), privileged.reset()["policy"])  # type: ignore[index,call-overload]


def test_only_the_critic_looks_at_it(tmp_path: Path) -> None:
    env = VecNormalize(make(privileged=True, episode_length_s=0.2))
    model = PPO("AsymmetricPolicy", env, n_steps=8, batch_size=32, n_epochs=2, seed=0, policy_kwargs=ARCH)
    model.learn(256)
    policy: Any = model.policy
    obs = {"policy": torch.randn(5, 44), "critic": torch.randn(5, 8)}
    other = {"policy": obs["policy"], "critic": torch.randn(5, 8)}
    action, value, _ = policy(obs, deterministic=True)
    torch.testing.assert_close(action, policy(other, deterministic=True)[0])
    assert not torch.allclose(value, policy(other)[1])
    model.save(tmp_path / "model.zip")
    again = PPO.load(tmp_path / "model.zip")
    torch.testing.assert_close(again.policy(obs, deterministic=True)[0], action)
    assert type(again.policy) is AsymmetricPolicy and model.policy_class is AsymmetricPolicy

    save_policy(tmp_path / "policy.pth", policy_content(model, env, env.venv.env.metadata()))  # type: ignore[attr-defined]
    raw = torch.randn(3, 44)
    both = {"policy": raw.numpy(), "critic": np.zeros((3, 8), dtype=np.float32)}
    expected, _ = model.predict(env.normalize_obs(both), deterministic=True)  # type: ignore[arg-type]
    np.testing.assert_allclose(load_policy(tmp_path / "policy.pth")(raw).numpy(), expected, atol=1e-5)


class CodeRefused(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """An unpickler that makes no function, code object or class, by whatever name it is asked."""

    found: List[str] = []

    def find_class(self, module: str, name: str) -> Any:
        CodeRefused.found.append(f"{module}.{name}")
        assert not module.startswith("cloudpickle") and name not in ("CodeType", "FunctionType", "type", "exec", "eval")
        return super().find_class(module, name)


def test_no_bytecode_of_a_zip_is_looked_at_where_sb3_isaac_is_installed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode differs between minor versions of Python: written by 3.8, it would crash 3.12."""
    model = PPO("AsymmetricPolicy", make(privileged=True), n_steps=4, batch_size=8)
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        data = json.loads(file.read("data"))
    pickled = base64.b64decode(data["policy_class"][":serialized:"])
    # Also the loads inside: the one that takes the class's name goes through the same unpickler.
    monkeypatch.setattr("_pickle.loads", lambda text: CodeRefused(io.BytesIO(text)).load())
    CodeRefused.found.clear()
    assert CodeRefused(io.BytesIO(pickled)).load() is AsymmetricPolicy
    assert CodeRefused.found[-1] == "sb3_isaac.rl.policy.asymmetric.AsymmetricPolicy"
    monkeypatch.setitem(sys.modules, "sb3_isaac", None)
    with pytest.raises(AssertionError):  # this is how it would look
        CodeRefused(io.BytesIO(pickled)).load()


def test_it_says_what_it_needs() -> None:
    with pytest.raises(UserError, match="privileged=True"):
        PPO("AsymmetricPolicy", make())


def test_the_shipped_settings_train_and_resume(tmp_path: Path) -> None:
    small = ["--num-envs", "8", "--eval-freq", "-1", "--eval-episodes", "2", "--env-kwargs", "episode_length_s:1"]
    assert main(["train", *small, "-n", "384", "--seed", "0", "-f", str(tmp_path)]) == 0
    run = tmp_path / "ppo" / "IsaacQuadrupedFlat-v0_1"
    assert main(["train", "-i", str(run), "-n", "768"]) == 0
    model = PPO.load(run / "model.zip")
    assert type(model.policy) is AsymmetricPolicy and model.num_timesteps == 768
    assert load_policy(run)(torch.zeros(1, 44)).shape == (1, 12)
