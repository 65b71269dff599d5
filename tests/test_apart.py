"""What is loaded where something is not installed: our zips without sb3_isaac, policies and a task without SB3 and
simulators. Each process that this takes loads all there is to load in it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize
from sb3_isaac.policy.formats import save_policy
from sb3_isaac.rl.policy.asymmetric import AsymmetricPolicy
from sb3_isaac.rl.policy.export import policy_content
from sb3_isaac.rl.training.checkpoint import NOT_IN_ZIP

PENDULUM = "IsaacDoublePendulum-v0"
WITHOUT_US = """
import json, pathlib, pickle, sys
sys.modules["sb3_isaac"] = None  # an import of it fails
from stable_baselines3 import PPO

folder, found = pathlib.Path(sys.argv[1]), {}
for case in sorted(folder.glob("*.pkl")):
    obs, normalizer = pickle.loads(case.read_bytes())
    model = PPO.load(case.with_suffix(".zip"))
    seen = obs if normalizer is None else pickle.loads(normalizer).normalize_obs(obs)
    found[case.stem] = {"policy": type(model.policy).__name__, "normalizer": str(normalizer and type(
        pickle.loads(normalizer))), "action": model.predict(seen, deterministic=True)[0].tolist()}
print(json.dumps(found))
"""


class Mine(AsymmetricPolicy):
    """A user's own policy on top of ours."""


Mine.__module__ = "__main__"  # as in a user's script: another process cannot import it from there


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """Name -> what stock SB3 found in the zip of that name where sb3_isaac is not installed, and what was expected."""
    folder, random, expected = tmp_path_factory.mktemp("zips"), np.random.default_rng(0), {}

    def add(name: str, model: PPO, normalizer: Any = None, exclude: Any = ()) -> None:
        model.save(folder / f"{name}.zip", exclude=exclude)
        space: Any = model.observation_space
        obs = ({key: random.normal(size=(5, *part.shape)).astype(np.float32) for key, part in space.spaces.items()}
               if hasattr(space, "spaces") else random.normal(size=(5, *space.shape)).astype(np.float32))
        pickled = None
        if normalizer is not None:
            normalizer.save(str(folder / "normalizer"))
            pickled = (folder / "normalizer").read_bytes()
        (folder / f"{name}.pkl").write_bytes(pickle.dumps((obs, pickled)))
        seen = obs if normalizer is None else normalizer.normalize_obs(obs)
        expected[name] = model.predict(seen, deterministic=True)[0]

    small: Any = {"n_steps": 8, "batch_size": 32, "n_epochs": 1, "seed": 0}
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=8, seed=0))
    ours = PPO("MlpPolicy", env, **small).learn(128)
    add("ours", ours, env)
    add("checkpoint", ours, exclude=NOT_IN_ZIP)
    walkers = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=8, seed=0, threads=1, privileged=True)
    add("asymmetric", PPO("AsymmetricPolicy", walkers, policy_kwargs={"net_arch": [32, 16]}, **small).learn(64))
    add("mine", PPO(Mine, walkers, **small))
    walkers.close()
    out = subprocess.run([sys.executable, "-c", WITHOUT_US, str(folder)], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return {name: {**what, "expected": expected[name]} for name, what in json.loads(out.stdout).items()}


@pytest.mark.parametrize(("name", "policy"), [("ours", "ActorCriticPolicy"), ("checkpoint", "ActorCriticPolicy"),
                                              ("asymmetric", "AsymmetricPolicy"), ("mine", "Mine")])
def test_stock_sb3_alone_loads_our_zips(cases: Dict[str, Any], name: str, policy: str) -> None:
    """Trained ones, a checkpoint's with what it leaves out, our policy class and a user's on top of it."""
    np.testing.assert_allclose(cases[name]["action"], cases[name]["expected"], atol=1e-6)
    assert cases[name]["policy"] == policy


def test_stock_sb3_alone_loads_our_normalizer(cases: Dict[str, Any]) -> None:
    assert "stable_baselines3.common.vec_env.vec_normalize.VecNormalize" in cases["ours"]["normalizer"]


WITHOUT_SB3 = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("stable_baselines3", "mujoco", "isaacgym"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Block())
import torch
from sb3_isaac import load_policy
print(tuple(load_policy(sys.argv[1])(torch.zeros(3, 6)).shape))
from sb3_isaac.tasks import make_task
make_task("IsaacDoublePendulum-v0", 2).reset(seed=0)
print(sorted({"stable_baselines3", "mujoco", "isaacgym"} & set(sys.modules)))
"""


def test_a_policy_and_the_pendulum_need_neither_sb3_nor_simulators(tmp_path: Path) -> None:
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=8, seed=0))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, policy_kwargs={"activation_fn": torch.nn.ELU})
    save_policy(tmp_path / "policy.pth", policy_content(model, env, {"obs_table": {}}))
    out = subprocess.run([sys.executable, "-c", WITHOUT_SB3, str(tmp_path)], capture_output=True, text=True)
    assert out.stdout.split("\n")[:2] == ["(3, 2)", "[]"], out.stderr
