"""What of a step is not computed, or not again: measures that nobody reads, features of a state that stands still."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.contract.tensor_env import Step
from sb3_isaac.rl.policy.evaluate import evaluate
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts.feature import feature, state_feature
from sb3_isaac.tasks.parts.features import LeggedFeatures

pytest.importorskip("mujoco")
FLAT = "IsaacQuadrupedFlat-v0"


def stepped(env: Any, steps: int = 12) -> List[Dict[str, torch.Tensor]]:
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    logs = []
    for _ in range(steps):
        step = env.step(2.0 * torch.rand(env.num_envs, 12, generator=generator) - 1.0)
        logs.append({name: value.clone() for name, value in step.log.items()})
    return logs


@pytest.mark.parametrize("env_id", [FLAT, "IsaacQuadrupedVelocity-v0"])
def test_those_that_are_asked_for_are_as_they_are_among_all(env_id: str) -> None:
    """Over restarts, which write into the state that features are views of."""
    env = make_task(env_id, 8, seed=0, threads=1, episode_length_s=0.1)
    whole = stepped(env)
    few = ("falls", "tracking", "trunk_height_m", "command")
    env.measured = few
    for all_of_them, asked in zip(whole, stepped(env)):
        rewards = {name for name in all_of_them if name.startswith("reward/")}
        assert asked.keys() == {*few, *rewards, "bad_world"} < all_of_them.keys()
        assert all(torch.equal(value, all_of_them[name]) for name, value in asked.items())
    env.close()


class Reader(BaseCallback):
    """Which measures there are in a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.names: List[str] = []

    def _on_step(self) -> bool:
        step: Step = self.training_env.unwrapped.last_step  # type: ignore[attr-defined]
        self.names = [name for name in step.log if not name.startswith("reward/")]
        return True


@pytest.mark.parametrize("asked", [None, ("power_w",)])
def test_a_rollout_makes_those_that_it_logs_unless_others_are_asked_for(asked: Any) -> None:
    env = IsaacVecEnv(FLAT, num_envs=8, seed=0, threads=1, episode_length_s=0.1)
    env.env.measured, reader = asked, Reader()
    PPO("MlpPolicy", env, n_steps=4, batch_size=32, n_epochs=1).learn(32, callback=reader)
    assert set(reader.names) == {"bad_world", *(asked or env.env.logged)}
    assert env.env.measured == asked, "afterwards it is as it was"
    env.step_tensor(torch.zeros(8, 12))  # with more measures than in the rollout
    report = evaluate(env.env, lambda obs: torch.zeros(8, 12), seed=0)
    assert "foot_clearance_m" in report, "an evaluation reads all of them"
    env.close()


def test_where_no_episode_ended_the_last_observation_is_the_next_ones() -> None:
    """With a clock, which runs on between the two where an episode ends."""
    env = make_task("IsaacQuadrupedVelocity-v0", 4, seed=0, threads=1, clock=True, stagger=False, episode_length_s=0.1)
    env.reset(seed=0)
    for k in range(5):
        step = env.step(torch.zeros(4, 12))
        assert torch.equal(step.obs["policy"], step.final_obs["policy"]) is (k < 4)
        assert step.obs["policy"].data_ptr() != step.final_obs["policy"].data_ptr()
    assert step.truncated.all()
    env.close()


@pytest.mark.parametrize(("env_id", "options"), [
    (FLAT, {"privileged": True}), ("IsaacQuadrupedVelocity-v0", {"clock": True, "heading": True, "privileged": True}),
    ("IsaacQuadrupedRough-v0", {"scan": True, "privileged": True})])
def test_observations_are_those_of_features_computed_anew(env_id: str, options: Any) -> None:
    """In steps in which an episode ends, in those in which none does, and where commands are drawn anew."""
    env: Any = make_task(env_id, 6, seed=0, threads=1, episode_length_s=0.16, command={"resample_s": 0.06}, **options)
    env.reset(seed=0)
    generator, ended = torch.Generator().manual_seed(0), []
    for _ in range(16):
        step = env.step(2.0 * torch.rand(6, 12, generator=generator) - 1.0)
        anew = env._observe(env.features(), {group: value.clone() for group, value in step.obs.items()})
        assert all(torch.equal(anew[group], value) for group, value in step.obs.items())
        ended.append(bool((step.terminated | step.truncated).any()))
    assert set(ended) == {True, False}
    env.close()


def test_features_of_the_state_depend_on_nothing_else() -> None:
    env: Any = make_task("IsaacQuadrupedRough-v0", 4, seed=0, threads=1)
    env.reset(seed=0)
    env.step(torch.rand(4, 12))
    names = [name for name, value in vars(LeggedFeatures).items() if isinstance(value, state_feature)]
    before, again = env.features(), env.features()
    assert "lin_vel_b" in names and "swing_peak" not in names and isinstance(LeggedFeatures.swing_peak, feature)
    values = [getattr(before, name) for name in names]
    for name in env.MEMORY:
        getattr(env, name).uniform_()
    env.command.uniform_()
    for name, value in zip(names, values):
        now = getattr(again, name)
        pairs = zip(value.values(), now.values()) if isinstance(value, dict) else [(value, now)]
        assert all(torch.equal(*pair) for pair in pairs), name
    env.close()
