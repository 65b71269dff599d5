"""policy.pth: the same actions as SB3, and nothing needed to load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import IsaacVecEnv
from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.policy.formats import load_policy, policy_content, save_policy

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names}:
            raise ImportError(name + ' is blocked')
sys.meta_path.insert(0, Block())
"""


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


def test_loads_without_sb3_and_simulators(tmp_path: Path) -> None:
    model = small_model()
    save_policy(tmp_path / "policy.pth", policy_content(model, model.get_vec_normalize_env(), {"obs_table": {}}))
    code = BLOCK.format(names="('stable_baselines3', 'mujoco', 'isaacgym')") + (
        f"from sb3_isaac import load_policy; import torch\n"
        f"print(tuple(load_policy({str(tmp_path)!r})(torch.zeros(3, 6)).shape))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "(3, 2)"


def test_the_zip_loads_where_sb3_isaac_is_not_installed(tmp_path: Path) -> None:
    from sb3_isaac.rl.training.checkpoint import NOT_IN_ZIP

    model = small_model()
    model.save(tmp_path / "model.zip", exclude=NOT_IN_ZIP)
    obs = np.ones((1, 6), dtype=np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    code = BLOCK.format(names="('sb3_isaac',)") + (
        "from stable_baselines3 import PPO; import numpy\n"
        f"model = PPO.load({str(tmp_path / 'model.zip')!r})\n"
        "print(model.predict(numpy.ones((1, 6), dtype='float32'), deterministic=True)[0].tolist())")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert np.allclose(eval_list(out.stdout), expected, atol=1e-6)


def eval_list(text: str) -> list:
    import json

    return json.loads(text.strip().splitlines()[-1])


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
    save_policy(tmp_path / "policy.pth", {**content, "format_version": 99})
    with pytest.raises(UserError, match="format 99"):
        load_policy(tmp_path)
