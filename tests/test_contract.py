"""The contract's own checks: every task and simulator passes them, and each check can fail."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_isaac import IsaacVecEnv
from sb3_isaac.contract.tensor_env import Obs, Step, StopRule, TensorEnv
from sb3_isaac.tasks import make_task
from sb3_isaac.testing import ContractError, check_tensor_env, check_vec_env

QUADRUPED, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"
VELOCITY, ROUGH = "IsaacQuadrupedVelocity-v0", "IsaacQuadrupedRough-v0"
EVERY_TASK = [
    (PENDULUM, {}),
    (QUADRUPED, {"threads": 1, "episode_length_s": 1.0}),
    (QUADRUPED, {"threads": 1, "episode_length_s": 1.0, "privileged": True, "robot": "anymal"}),
    (VELOCITY, {"threads": 1, "episode_length_s": 1.0, "privileged": True, "heading": True, "clock": True}),
    (ROUGH, {"threads": 1, "episode_length_s": 1.0, "scan": True, "terrain": {"tiles": {"rough": 1, "gaps": 1}}}),
    ("IsaacBipedVelocity-v0", {"threads": 1, "episode_length_s": 0.5, "privileged": True}),
    ("IsaacAnt-v0", {"threads": 1, "episode_length_s": 0.5}),
    ("IsaacHumanoid-v0", {"threads": 1, "episode_length_s": 0.5}),
    (QUADRUPED, {"sim": "isaacgym", "threads": 1, "episode_length_s": 1.0}),
]


@pytest.mark.parametrize(("env_id", "options"), EVERY_TASK)
def test_every_task_on_every_simulator(env_id: str, options: Dict[str, Any]) -> None:
    check_tensor_env(make_task(env_id, 6, seed=0, **options), exact="sim" not in options)


@pytest.mark.parametrize(("env_id", "options"), EVERY_TASK)
def test_every_task_as_a_vec_env(env_id: str, options: Dict[str, Any]) -> None:
    check_vec_env(IsaacVecEnv(env_id, num_envs=3, **options))


class Counter(TensorEnv):
    """Counts its steps, moved by the action; an episode ends by time after 10, or by reaching 30."""

    def __init__(self, num_envs: int = 4) -> None:
        self.num_envs, self.device, self.max_steps = num_envs, torch.device("cpu"), 10
        self.observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.generator = torch.Generator()
        self.x, self.t = torch.zeros(num_envs), torch.zeros(num_envs)

    def observe(self) -> Obs:
        return {"policy": torch.stack((self.x, self.t), dim=1)}

    def restart(self, mask: torch.Tensor) -> Obs:
        start = torch.rand(self.num_envs, generator=self.generator)
        self.x, self.t = torch.where(mask, start, self.x), torch.where(mask, torch.zeros_like(self.t), self.t)
        return self.observe()

    def reset(self, seed: Optional[int] = None) -> Obs:
        if seed is not None:
            self.generator.manual_seed(seed)
        self.just_reset = True
        return self.restart(torch.ones(self.num_envs, dtype=torch.bool))

    def step(self, actions: torch.Tensor) -> Step:
        self.x = self.x + torch.nan_to_num(actions[:, 0]) + 1.0
        self.t = self.t + 1
        final = self.observe()
        terminated = self.x > 12
        truncated = (self.t >= self.max_steps) & ~terminated
        reward = self.x.clone()
        self.restart(terminated | truncated)
        return Step(self.observe(), reward, terminated, truncated, final, {"x": reward})

    def state_dict(self) -> Dict[str, Any]:
        return {"x": self.x.clone(), "t": self.t.clone(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: Any) -> None:
        self.x, self.t = state["x"].clone(), state["t"].clone()
        self.generator.set_state(state["generator"])


def test_a_small_environment_of_ones_own_passes() -> None:
    check_tensor_env(Counter())


def test_an_environment_without_observe_and_a_stock_vec_env_are_checked_too() -> None:
    class Small(Counter):
        def observe(self) -> Obs:
            if self.stepping:
                return super().observe()
            return TensorEnv.observe(self)

        stepping = False

        def restart(self, mask: torch.Tensor) -> Obs:
            self.stepping, before = True, self.stepping
            obs = super().restart(mask)
            self.stepping = before
            return obs

        def step(self, actions: torch.Tensor) -> Step:
            self.stepping = True
            step = super().step(actions)
            self.stepping = False
            return step

    check_tensor_env(Small())
    check_vec_env(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))


def broken(change: Callable[[Counter, Step], Step]) -> Counter:
    class Broken(Counter):
        def step(self, actions: torch.Tensor) -> Step:
            self.given, self.first, self.just_reset = actions, self.just_reset, False
            return change(self, super().step(actions))

    return Broken()


STEPS = {
    "shape": (lambda env, s: s._replace(reward=s.reward[:, None]), "reward is"),
    "dtype": (lambda env, s: s._replace(truncated=s.truncated.float()), "truncated is"),
    "group": (lambda env, s: s._replace(obs={"state": s.obs["policy"]}), "groups"),
    "float64": (lambda env, s: s._replace(obs={"policy": s.obs["policy"].double()}), "its space says float32"),
    "not finite": (lambda env, s: s._replace(final_obs={"policy": s.final_obs["policy"] / 0}), "not finite"),
    "log row": (lambda env, s: s._replace(log={"x": s.log["x"][:1]}), "one row for each"),
    "same memory": (lambda env, s: s._replace(final_obs=s.obs), "the same memory"),
    "final is first": (lambda env, s: s._replace(final_obs={"policy": s.obs["policy"].clone()}), "first observation"),
    "final jumps": (lambda env, s: s._replace(final_obs={"policy": torch.where(
        (s.terminated | s.truncated)[:, None], s.final_obs["policy"] + 1e4,
        s.final_obs["policy"])}), "does not follow"),
    "both": (lambda env, s: s._replace(truncated=s.terminated | s.truncated), "at once"),
    "log comes and goes": (lambda env, s: s._replace(log={} if env.t[0] == 4 else s.log), "change from step to step"),
    "log comes late": (lambda env, s: s._replace(log={} if env.first else s.log), "change from step to step"),
    "numpy": (lambda env, s: s._replace(reward=s.reward.numpy()), "step cannot be used .AttributeError"),
    "tuple": (lambda env, s: tuple(s), "step cannot be used .AttributeError"),
    "no end": (lambda env, s: s._replace(truncated=torch.zeros_like(s.truncated)), "beyond max_steps"),
    "random": (lambda env, s: s._replace(reward=torch.rand(4)), "same seed"),
    "keeps actions": (lambda env, s: s._replace(reward=s.reward + _kept(env)), "actions tensor is kept"),
    "nan spreads": (lambda env, s: s._replace(obs={"policy": s.obs["policy"] + 0 * env.given.sum()}), "changes others"),
}


def _kept(env: Any) -> torch.Tensor:
    before, env.before = getattr(env, "before", torch.zeros(4, 1)), env.given
    return before[:, 0]


@pytest.mark.parametrize("name", STEPS)
def test_a_broken_step_is_found(name: str) -> None:
    change, words = STEPS[name]
    with pytest.raises(ContractError, match=words):
        check_tensor_env(broken(change))


class _Rounds(Counter):
    """Its last digits differ from run to run, as sums on a GPU do."""

    def step(self, actions: torch.Tensor) -> Step:
        self.x = self.x + 1e-5 * torch.rand(self.num_envs)
        return super().step(actions)


def test_rounding_that_no_seed_repeats_is_allowed_where_it_is_said() -> None:
    with pytest.raises(ContractError, match="same seed"):
        check_tensor_env(_Rounds())
    check_tensor_env(_Rounds(), repeatable=False)
    for name in ("random", "keeps actions", "nan spreads"):
        change, words = STEPS[name]
        with pytest.raises(ContractError, match=words):
            check_tensor_env(broken(change), repeatable=False)
    for env, words in ((_SameEpisodes(), "another seed"), (_ForgetsTime(), "does not go on"),
                       (_RestartsAll(), "not in the mask")):
        with pytest.raises(ContractError, match=words):
            check_tensor_env(env, repeatable=False)


class _SameEpisodes(Counter):
    def reset(self, seed: Optional[int] = None) -> Obs:
        return super().reset(seed=0)


class _ForgetsTime(Counter):
    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict({**state, "t": torch.zeros(4)})


class _SavesObjects(Counter):
    def state_dict(self) -> Dict[str, Any]:
        return {**super().state_dict(), "rule": StopRule({})}


class _RestartsAll(Counter):
    def restart(self, mask: torch.Tensor) -> Obs:
        return super().restart(mask | mask.any())


class _RestartsNobody(Counter):
    """Ends its episodes itself and has a restart that does nothing."""

    def restart(self, mask: torch.Tensor) -> Obs:
        return self.observe() if mask.sum() == 1 and not getattr(self, "inside", False) else super().restart(mask)

    def step(self, actions: torch.Tensor) -> Step:
        self.inside = True
        step = super().step(actions)
        self.inside = False
        return step


class _OldObservation(Counter):
    def step(self, actions: torch.Tensor) -> Step:
        self.old = {"policy": self.observe()["policy"] - 1}
        step = super().step(actions)
        return step._replace(obs=self.old)


class _Nothing(Counter):
    max_steps = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.max_steps = 0


@pytest.mark.parametrize(("made", "words"), [
    (_SameEpisodes, "another seed"), (_ForgetsTime, "does not go on"), (_SavesObjects, "tensors and builtins"),
    (_RestartsAll, "not in the mask"), (_RestartsNobody, "starts no new episode"),
    (_OldObservation, "not the observation"),
    (_Nothing, "max_steps is 0"), (lambda: Counter(1), "at least 2"), (lambda: object(), "lacks"),
])
def test_a_broken_environment_is_found(made: Callable[[], Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        check_tensor_env(made())


def test_a_nan_that_stays_is_found() -> None:
    class Keeps(Counter):
        def step(self, actions: torch.Tensor) -> Step:
            self.x = self.x + 0 * actions[:, 0]
            return super().step(actions)

    with pytest.raises(ContractError, match="NaN action stays"):
        check_tensor_env(Keeps())


def test_a_vec_env_that_gives_live_arrays_is_found() -> None:
    class Live(IsaacVecEnv):
        def _numpy(self, obs: Obs) -> Any:
            return obs["policy"].numpy()

    with pytest.raises(ContractError, match="give copies"):
        check_vec_env(Live(PENDULUM, num_envs=3))


def test_the_stop_rule_is_ranges_of_the_report() -> None:
    rule = StopRule({"reward_mean": (300.0, float("inf")), "speed": (0.95, 1.05)})
    assert rule.met({"reward_mean": 300.0, "speed": 1.0})
    assert str(rule) == "reward_mean at least 300, speed 0.95 to 1.05"
    assert not rule.met({"reward_mean": 299.9, "speed": 1.0}) and not rule.met({"reward_mean": 400.0})
    assert not rule.met({"reward_mean": float("nan"), "speed": 1.0})
    assert not rule.met({"reward_mean": 400, "speed": 1.06})
    assert rule.trained({})
    rule = StopRule({}, training={"rollout/command_range": (1.0, 1.0)})
    assert rule.trained({"rollout/command_range": 1.0}) and not rule.trained({"rollout/command_range": 0.9})
    assert not rule.trained({}), "what no rollout has shown is not trained"
