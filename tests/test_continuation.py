"""What goes on from a saved state, or is looked at in its midst, is as if nobody had saved or looked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac import PPO, IsaacVecEnv, Step, TensorEnv
from sb3_isaac.clients import env_options
from sb3_isaac.config import load_config
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.train import Settings, train
from sb3_isaac.tasks import make_task

PENDULUM, FLAT, VELOCITY = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0", "IsaacQuadrupedVelocity-v0"


def config_of(folder: Path, env: str, lines: str) -> Any:
    path = folder / "c.yml"
    path.write_text(f"{env}:\n  n_timesteps: 480\n  n_envs: 16\n  policy: auto\n  normalize: true\n  n_steps: 5\n"
                    f"  batch_size: 40\n  n_epochs: 1\n  seed: 0\n{lines}")
    return load_config(env, "ppo", path=path, algo_keys=build.algorithm_options("ppo"), env_keys=env_options(env))


def same_rows(whole: Path, resumed: Path, start: int) -> None:
    left, right = read_metrics(whole / "metrics.csv"), read_metrics(resumed / "metrics.csv")
    rows = left["step"] > start
    for key, values in left.items():
        if not key.startswith("time/"):
            assert np.array_equal(values[rows], right[key][right["step"] > start], equal_nan=True), key


def test_an_evaluation_that_was_due_at_a_checkpoint_is_made_by_the_resumed_run(tmp_path: Path) -> None:
    """As after a kill right behind the checkpoint."""
    config = config_of(tmp_path, PENDULUM, "  env_kwargs: {episode_length_s: 0.4}\n")
    settings = Settings(save_every=2, latest_every=100, eval_every=2, eval_episodes=4, early_stop=False)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    train(config, whole, settings)
    shutil.copytree(whole / "checkpoints" / "320", killed / "checkpoints" / "320")
    train(config, killed, settings, resume_from=killed / "checkpoints" / "320")
    assert 320.0 in read_metrics(killed / "metrics.csv")["eval/steps"]
    same_rows(whole, killed, 320)


def test_exploration_by_states_resumes_exactly(tmp_path: Path) -> None:
    config = config_of(tmp_path, PENDULUM, "  use_sde: true\n  sde_sample_freq: 4\n")
    settings = Settings(save_every=2, latest_every=100, eval_every=0, early_stop=False)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir(), resumed.mkdir()
    train(config, whole, settings)
    train(replace(config), resumed, settings, resume_from=whole / "checkpoints" / "160")
    same_rows(whole, resumed, 160)


class Clockwork(TensorEnv):
    """All run out of time every four steps; the reward is 1."""

    num_envs, device, max_steps = 2, torch.device("cpu"), 4
    observation_space = spaces.Dict({"policy": spaces.Box(-1, 1, (3,), np.float32)})
    action_space: Any = spaces.Box(-1, 1, (2, 3), np.float32)

    def reset(self, seed: Any = None) -> Any:
        self.age = 0
        return {"policy": torch.ones(2, 3)}

    def step(self, actions: torch.Tensor) -> Step:
        assert actions.shape == (2, 2, 3)
        self.age += 1
        obs, over = {"policy": torch.ones(2, 3)}, torch.full((2,), self.age % 4 == 0)
        return Step(obs, torch.ones(2), torch.zeros(2, dtype=torch.bool), over, obs, {})


class Looks(BaseCallback):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.rewards = at, np.zeros(0)

    def _on_step(self) -> bool:
        if self.locals["n_steps"] == self.at:
            _ = self.model.rollout_buffer.rewards  # type: ignore[attr-defined]
        return True

    def _on_rollout_end(self) -> None:
        self.rewards = self.model.rollout_buffer.rewards[:, 0].copy()  # type: ignore[attr-defined]


def test_looking_at_rewards_at_a_time_out_leaves_its_value_in_them_and_actions_have_their_shape() -> None:
    found: List[np.ndarray] = []
    for at in (99, 3, 4):
        looks = Looks(at)
        PPO("MlpPolicy", IsaacVecEnv(Clockwork()), n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(
            16, callback=looks)
        found.append(looks.rewards)
    assert np.allclose(found[0], found[1], atol=1e-6) and np.allclose(found[0], found[2], atol=1e-6)
    assert found[0][3] != 1.0 and found[0][2] == 1.0


def test_options_that_were_turned_off_stay_off_in_a_saved_state() -> None:
    env, other = (make_task(VELOCITY, 2, seed=0, threads=1) for _ in range(2))
    off: Dict[str, Any] = {"stand_share": 0.0, "zero_share": 0.0, "edge_share": 0.0, "random_times": False,
                           "each_end": False}
    env.change_options(command=off)
    env.reset()
    other.load_state_dict(env.state_dict())
    assert {name: other._commands.settings[name] for name in off} == off
    kept = other.state_dict()
    plain = make_task(VELOCITY, 2, seed=0, threads=1)
    plain.reset()
    other.load_state_dict(plain.state_dict())
    assert other.options() == plain.options() and kept["options"] != plain.options(), "of a state without changes"


def test_a_steered_task_goes_on_as_it_was_steered() -> None:
    sequence = {"sequence": [{"forward_m_s": 0.9}], "resample_s": 0.1}
    env, other = (make_task(FLAT, 2, seed=0, threads=1, command=dict(sequence)) for _ in range(2))
    env.reset()
    env.steer([0.3, 0.0])
    other.load_state_dict(env.state_dict())
    for _ in range(20):
        env.step(torch.zeros(2, 12)), other.step(torch.zeros(2, 12))
    assert env.command.tolist() == other.command.tolist() == [[pytest.approx(0.3), 0.0]] * 2


def test_a_seed_gives_the_same_randomisation_however_far_ranges_had_widened() -> None:
    env = make_task(FLAT, 8, seed=0, threads=1, randomize={"friction": {"range": [0.2, 1.5], "first": [0.7, 0.8],
                                                                        "when": "reset"}})
    env.reset(seed=0)
    first = env.sim.friction.clone()
    env.randomization.reach.fill_(1.0)
    env.reset(seed=0)
    assert torch.equal(env.sim.friction, first)


def test_a_loaded_state_leaves_no_seed_behind() -> None:
    env, other = (IsaacVecEnv(PENDULUM, num_envs=2, seed=0) for _ in range(2))
    first = env.reset()
    other.load_state_dict(env.state_dict())
    assert np.array_equal(env.reset(), other.reset()) and not np.array_equal(other.reset(), first)


def test_options_are_changed_by_env_method_too() -> None:
    env = IsaacVecEnv(FLAT, num_envs=2, seed=0, threads=1)
    env.reset()
    env.step(np.zeros((2, 12), np.float32))
    env.env_method("change_options", reward={"energy": 0.0})
    env.reset()
    env.step(np.zeros((2, 12), np.float32))
    assert "reward/energy" not in env.last_step.log  # type: ignore[union-attr]
