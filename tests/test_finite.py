"""A NaN ends training with its origin, is never saved over what was good, and stays in no sum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac import PPO, IsaacVecEnv, RunCheckpoints, Step, TensorEnv, UserError, VecNormalize, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import NotFinite
from sb3_isaac.envs.finite import FiniteWatch, not_finite
from sb3_isaac.rl.callbacks.training_log import TrainingLog
from sb3_isaac.rl.policy.evaluate import evaluate
from sb3_isaac.rl.policy.finite import why_not_finite
from sb3_isaac.tasks import make_task

NAN, PENDULUM = float("nan"), "IsaacDoublePendulum-v0"
ROBOTS = 3


class Faulty(TensorEnv):
    """Three robots with episodes of four steps; robot 1 gives a NaN once, at step `at` (0: the reset)."""

    max_steps = 4
    observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (3,), np.float32)})
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, what: str = "", at: int = 5) -> None:
        self.num_envs, self.device, self.what, self.at, self.count = ROBOTS, torch.device("cpu"), what, at, 0

    def _value(self, what: str, *shape: int) -> torch.Tensor:
        value = torch.rand(ROBOTS, *shape)
        if what == self.what and self.count == self.at:
            value[1] = NAN
        return value

    def _obs(self, what: str = "obs") -> Dict[str, torch.Tensor]:
        obs = torch.rand(ROBOTS, 3)
        obs[:, 2] = self._value(what)
        return {"policy": obs}

    def reset(self, seed: Any = None) -> Dict[str, torch.Tensor]:
        self.count = 0
        return self._obs()

    def step(self, actions: torch.Tensor) -> Step:
        self.count += 1
        over = torch.full((ROBOTS,), self.count % 4 == 0)
        jump = self._value("reward")
        return Step(self._obs(), jump + 1.0, torch.zeros(ROBOTS, dtype=torch.bool), over, self._obs("final_obs"),
                    {"reward/jump": jump})

    def metadata(self) -> Dict[str, Any]:
        return {"obs_table": {"speed": 2, "height": 1}}


@pytest.mark.parametrize(("what", "at", "said"), [
    ("obs", 0, "observation 'height' of this rollout has values that are NaN or infinite, first at step 1"),
    ("obs", 6, "observation 'height' of this rollout has values that are NaN or infinite, first at step 2"),
    ("obs", 8, "observation 'height' of this rollout has values that are NaN or infinite, first at step 4"),
    ("final_obs", 8, "the final observation group 'policy' of this rollout has .* first at step 4"),
    ("reward", 7, "reward/jump of this rollout has values that are NaN or infinite, first at step 3"),
])
@pytest.mark.parametrize("normalized", [True, False])
def test_training_stops_before_its_update_and_says_where_it_came_from(what: str, at: int, said: str,
                                                                     normalized: bool) -> None:
    """Rollouts of four steps: the fault lies in the second, but for that of the reset."""
    env: Any = IsaacVecEnv(Faulty(what, at))
    model = PPO("MlpPolicy", VecNormalize(env) if normalized else env, n_steps=4, batch_size=12, n_epochs=1)
    with pytest.raises(NotFinite, match=f"^{said}: correct the function"):
        model.learn(48)
    assert model._n_updates == (0 if at == 0 else 1)
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())
    if normalized:
        normalizer = model.get_env()
        assert np.isfinite(normalizer.obs_rms.mean).all() and np.isfinite(normalizer.ret_rms.var)  # type: ignore


def test_a_final_observation_that_is_not_needed_may_be_anything() -> None:
    PPO("MlpPolicy", IsaacVecEnv(Faulty("final_obs", 6)), n_steps=4, batch_size=12, n_epochs=1).learn(24)


def test_healthy_training_goes_on() -> None:
    model = PPO("MlpPolicy", VecNormalize(IsaacVecEnv(Faulty())), n_steps=4, batch_size=12, n_epochs=1)
    assert model.learn(48).num_timesteps == 48


def test_after_a_nan_actions_are_blamed_only_where_they_came_first() -> None:
    watch, step = FiniteWatch(), Faulty().step(torch.zeros(ROBOTS, 1))
    watch.add(torch.zeros(ROBOTS, 1), step)
    assert watch.first() == (0, [])
    watch.add(torch.full((ROBOTS, 1), NAN), step._replace(reward=step.reward * NAN))
    at, found = watch.first()
    assert at == 2 and [kind for kind, _, _ in found] == ["action", "reward"]
    assert "actions were NaN" in str(not_finite(at, found, {}, {})) and "first at step 2" in str(
        not_finite(at, found, {}, {}))
    watch.clear()
    watch.add(torch.zeros(ROBOTS, 1), step._replace(obs={"policy": step.obs["policy"] / torch.tensor([1.0, 0.0, 1.0])}))
    at, found = watch.first()
    assert (at, found) == (1, [("obs", "policy", 1)])
    assert str(not_finite(at, found, {}, {})).startswith("component 1 of observation group 'policy' of this rollout")


def test_one_robots_nan_leaves_sums_and_moments_as_they_were() -> None:
    """Its component is left out of that step's moments, the others are taken in; its return starts anew after the end.

    Two robots' observations (1, 2) and (3, NaN) after a first step of zeros.
    """
    normalizer = VecNormalize(IsaacVecEnv(Faulty("reward", 2)), gamma=1.0)
    normalizer.reset_tensor()
    before = normalizer.obs_rms.mean.copy()
    normalizer.obs_rms.update(torch.tensor([[1.0, 2.0, 0.0], [3.0, NAN, 0.0]]))
    after = normalizer.obs_rms.mean
    assert np.isfinite(after).all() and after[0] > before[0] and after[1] == before[1]
    for _ in range(3):
        normalizer.step_tensor(torch.zeros(ROBOTS, 1))
    assert np.isnan(normalizer.returns[1]) and np.isfinite(normalizer.ret_rms.var)
    normalizer.step_tensor(torch.zeros(ROBOTS, 1))  # the episodes' last
    assert (normalizer.returns == 0.0).all()
    assert np.isnan(float(normalizer.venv.statistics.episode_return[1]))
    normalizer.step_tensor(torch.zeros(ROBOTS, 1))
    state = normalizer.venv.state_dict()
    assert np.isfinite(normalizer.returns).all() and torch.isfinite(state["returns"]).all()


class Poison(BaseCallback):
    """Makes a parameter NaN at the end of rollout `at`; a stand-in for a bad update."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.at -= 1
        if self.at == 0:
            with torch.no_grad():
                self.model.policy.log_std[0] = NAN


@pytest.mark.parametrize("algorithm", [PPO, stable_baselines3.PPO])
def test_a_diverged_model_is_saved_over_nothing(tmp_path: Path, algorithm: Any) -> None:
    """The third update is bad; ours says so itself, of stock PPO torch does."""
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=4, seed=0))
    model = algorithm("MlpPolicy", env, n_steps=4, batch_size=16, n_epochs=1, device="cpu")
    checkpoints = RunCheckpoints(tmp_path, every=1, latest_every=1)
    with pytest.raises(ValueError, match=r"finite|constraint"):
        model.learn(160, callback=CallbackList([TrainingLog(), checkpoints, Poison(3)]))
    assert json.loads((tmp_path / "latest" / "meta.json").read_text())["num_timesteps"] == 32
    assert all(torch.isfinite(value).all() for value in load_policy(tmp_path).state_dict().values())
    with pytest.raises(NotFinite, match="parameters are not finite after 48 steps"):
        checkpoints.finish()
    assert not (tmp_path / "DONE").exists()


@pytest.mark.parametrize("algo", ["ppo", "sb3-ppo"])
def test_a_learning_rate_of_a_million_ends_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture,
                                                         algo: str) -> None:
    """The first step decides, by how sums round, whether the deviation of the actions becomes 0 or infinite: then
    parameters are NaN, or actions are."""
    assert main(["train", "--algo", algo, "--env", PENDULUM, "--num-envs", "16", "-n", "1e4", "--seed", "0", "-f",
                 str(tmp_path), "--eval-freq", "-1", "-params", "learning_rate:1e6", "n_steps:8"]) == 2
    said = capsys.readouterr().err.strip()
    run = next(tmp_path.glob("*/*"))
    assert said.count("\n") == 0 and "smaller learning_rate" in said
    assert "no state was saved before" in said and str(run / "post_mortem") in said
    why = json.loads((run / "post_mortem" / "why.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert why["error"] in said.replace("; no", ".; no") and why["num_timesteps"] % 128 == 0
    assert not (run / "policy.pth").exists() and not (run / "latest").exists() and not (run / "DONE").exists()
    if "networks' parameters" not in said:
        return
    assert "smaller learning_rate (it was 1e+06)" in said
    assert main(["eval", str(run / "post_mortem")]) == 2
    assert "holds a network of NaN or infinite numbers" in capsys.readouterr().err
    assert main(["train", "-i", str(run / "post_mortem"), "-n", "2e4"]) == 2
    assert "cannot be continued (the networks' parameters are not finite" in capsys.readouterr().err


@pytest.mark.parametrize("log_std", [200.0, -200.0])
def test_a_deviation_of_zero_or_infinity_ends_training(log_std: float) -> None:
    """exp(200) is infinite in float32 and exp(−200) is 0: stock SB3 ends in an error of torch's, ours in a sentence."""
    model = PPO("MlpPolicy", IsaacVecEnv(PENDULUM, num_envs=4, seed=0), n_steps=8, batch_size=32)
    assert why_not_finite(model) is None
    with torch.no_grad():
        model.policy.log_std.fill_(log_std)
    assert "deviation of the actions is 0 or not finite after 0 steps" in str(why_not_finite(model))
    with pytest.raises(NotFinite):
        model.learn(32)


def test_where_all_worlds_diverge_nan_actions_are_not_laid_to_the_physics() -> None:
    env = make_task("IsaacQuadrupedFlat-v0", 2, threads=1, stagger=False)
    with pytest.raises(UserError, match="actions are NaN or infinite: its training has diverged"):
        evaluate(env, lambda obs: torch.full((2, 12), NAN), seed=0)


def test_networks_of_off_policy_algorithms_are_looked_at_too() -> None:
    """They have an optimizer for each network, so the rate is the schedule's."""
    model = stable_baselines3.SAC("MlpPolicy", IsaacVecEnv(PENDULUM, num_envs=2, seed=0), learning_rate=0.25)
    assert why_not_finite(model) is None
    with torch.no_grad():
        next(model.critic.parameters()).fill_(NAN)
    assert "smaller learning_rate (it was 0.25)" in str(why_not_finite(model))
