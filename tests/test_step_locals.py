"""Callbacks see what SB3 gives them: ``self.locals`` and the rollout, beside stock PPO on the same numbers."""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EveryNTimesteps

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.rl.algo.host_view import HostView

ROBOTS, STEPS = 4, 8
ARRAYS = ("actions", "clipped_actions", "rewards", "dones", "new_obs")
FIELDS = ("observations", "actions", "rewards", "episode_starts", "values", "log_probs", "returns", "advantages")


class Counter(TensorEnv):
    """Robot i sees a tenth of its count of steps, is rewarded by the count, falls at 3 + i or runs out of time at 5."""

    max_steps, num_envs, device = 5, ROBOTS, torch.device("cpu")

    def __init__(self, action_space: Any = None) -> None:
        self.observation_space = spaces.Dict({"policy": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = action_space or spaces.Box(-0.5, 0.5, (2,), np.float32)
        self.count, self.live = torch.zeros(ROBOTS, dtype=torch.int64), {"policy": torch.zeros(ROBOTS, 2)}
        self.reward = torch.zeros(ROBOTS)

    def _observe(self) -> torch.Tensor:
        return torch.stack((0.1 * self.count, torch.arange(ROBOTS) / ROBOTS), dim=1)

    def reset(self, seed: Any = None) -> Obs:
        self.count.zero_()
        self.live["policy"].copy_(self._observe())
        return self.live

    def step(self, actions: torch.Tensor) -> Step:
        self.count += 1
        self.reward.copy_(self.count + 0.01 * torch.arange(ROBOTS))
        final = {"policy": self._observe()}
        truncated = self.count >= self.max_steps
        terminated = (self.count == 3 + torch.arange(ROBOTS)) & ~truncated
        self.count[terminated | truncated] = 0
        self.live["policy"].copy_(self._observe())
        return Step(self.live, self.reward, terminated, truncated, final, {})


class Looking(BaseCallback):
    """Calls `look(locals)` at each step and `end(locals)` at each rollout's end, and keeps what they return."""

    def __init__(self, look: Callable[[Any], Any] = lambda _: None, end: Callable[[Any], Any] = lambda _: None) -> None:
        super().__init__()
        self.look, self.end = look, end
        self.seen: List[Any] = []
        self.ends: List[Any] = []

    def _on_rollout_start(self) -> None:
        torch.manual_seed(len(self.ends))

    def _on_step(self) -> bool:
        self.seen.append(self.look(self.locals))
        return True

    def _on_rollout_end(self) -> None:
        self.ends.append(self.end(self.locals))


def learned(algorithm: Any, callback: Any, wrap: Any = lambda env: env, rollouts: int = 1, env: Any = None) -> Any:
    model = algorithm("MlpPolicy", wrap(IsaacVecEnv(env or Counter())), n_steps=STEPS, batch_size=ROBOTS * STEPS,
                      n_epochs=1, seed=0, device="cpu")
    return model.learn(ROBOTS * STEPS * rollouts, callback=callback)


def both(look: Any = lambda _: None, end: Any = lambda _: None, **settings: Any) -> Tuple[Looking, Looking, Any, Any]:
    """The same under stock PPO and under ours: callbacks and models."""
    theirs, ours = Looking(look, end), Looking(look, end)
    return theirs, ours, learned(stable_baselines3.PPO, theirs, **settings), learned(PPO, ours, **settings)


def assert_same(theirs: Any, ours: Any) -> None:
    """Of one type, shape and value; numbers of networks may be rounded otherwise."""
    assert type(theirs) is type(ours)
    if isinstance(theirs, dict):
        assert theirs.keys() == ours.keys()
        for key, value in theirs.items():
            if key != "t":  # seconds since the environment was made
                assert_same(value, ours[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(theirs) == len(ours)
        for a, b in zip(theirs, ours):
            assert_same(a, b)
    elif isinstance(theirs, (np.ndarray, torch.Tensor)):
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    else:
        assert theirs == pytest.approx(ours, abs=1e-5) if isinstance(theirs, float) else theirs == ours


def everything(seen: Any) -> Dict[str, Any]:
    """Copies of what a callback reaches: locals, the model's last observation, the rollout so far."""
    buffer, pos = seen["rollout_buffer"], seen["rollout_buffer"].pos
    names = (*ARRAYS, "infos", "obs_tensor", "values", "log_probs", "n_steps", "n_rollout_steps", "total_timesteps")
    found = {name: copy.deepcopy(seen[name]) for name in names}
    found.update({f"buffer.{name}": getattr(buffer, name)[:pos].copy() for name in FIELDS})
    model = seen["self"]
    found.update(callback=type(seen["callback"]), env=type(seen["env"]), last_obs=model._last_obs.copy(),
                 starts=model._last_episode_starts.astype(bool), num_timesteps=model.num_timesteps)
    return found


SPACES = [spaces.Box(-0.5, 0.5, (2,), np.float32), spaces.Discrete(3), spaces.MultiDiscrete([3, 2])]


@pytest.mark.parametrize("space", SPACES, ids=["box", "discrete", "multi"])
@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize], ids=["bare", "normalised"])
def test_locals_and_rollout_are_stocks_at_every_step_and_at_the_end(wrap: Any, space: Any) -> None:
    theirs, ours, *_ = both(everything, everything, wrap=wrap, env=Counter(space))
    assert len(ours.seen) == STEPS and len(ours.ends) == 1
    for a, b in zip(theirs.seen, ours.seen):
        assert_same(a, b)
    timed_out = np.array([info.get("TimeLimit.truncated", False) for info in ours.seen[-1]["infos"]])
    for end in (theirs.ends[0], ours.ends[0]):
        # At the end SB3's variable holds the value of a time-out too; ours is the step's reward.
        end["rewards"][timed_out] = 0.0
    assert_same(theirs.ends[0], ours.ends[0])


def change(seen: Any) -> None:
    seen["rewards"] += np.full(ROBOTS, 100.0, np.float32)
    seen["rewards"] = seen["rewards"] * 0.0  # another array, which SB3 does not learn from
    seen["new_obs"][:, 1] = 0.25
    seen["dones"][0] = True
    seen["actions"][:] = 0.125
    seen["values"] *= 2.0


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize], ids=["bare", "normalised"])
def test_what_a_callback_changes_is_learned_from_as_in_stock(wrap: Any) -> None:
    *_, stock, ours = both(change, wrap=wrap)
    shape = (STEPS, ROBOTS, -1)
    for name in FIELDS:
        theirs = getattr(stock.rollout_buffer, name)
        if name not in ("rewards", "episode_starts"):  # SB3 lays out the others anew for its update
            theirs = theirs.reshape(ROBOTS, STEPS, -1).swapaxes(0, 1)
        np.testing.assert_allclose(theirs.reshape(shape), getattr(ours.rollout_buffer, name).reshape(shape), atol=1e-3)
    assert ours.rollout_buffer.rewards.min() > 90.0 and ours.rollout_buffer.episode_starts[:, 0].all()


def relabel(seen: Any) -> None:
    buffer = seen["rollout_buffer"]
    buffer.rewards[0] = np.full(ROBOTS, 7.0, np.float32)
    buffer.rewards = buffer.rewards * 2.0
    buffer.compute_returns_and_advantage(last_values=seen["values"], dones=seen["dones"])


def test_rewards_that_are_relabelled_at_the_rollouts_end_are_learned_from() -> None:
    *_, stock, ours = both(end=relabel)
    np.testing.assert_allclose(ours.rollout_buffer.rewards, stock.rollout_buffer.rewards, atol=1e-4)
    for a, b in zip(stock.policy.parameters(), ours.policy.parameters()):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match=r"rewards of the rollout has shape \(8, 4\) and was assigned \(32,\)"):
        ours.rollout_buffer.rewards = np.zeros(32)


def test_what_is_kept_stays_as_it_was() -> None:
    def keep(names: Any) -> Any:
        return lambda seen: [(array, array.copy()) for array in names(seen)]

    ours = Looking(keep(lambda seen: [seen[name] for name in ARRAYS]),
                   keep(lambda seen: [getattr(seen["rollout_buffer"], name) for name in FIELDS]))
    learned(PPO, ours, rollouts=3)
    assert len(ours.ends) == 3 and len(ours.seen) == 3 * STEPS
    for pairs in (*ours.seen, *ours.ends):
        for array, at_the_time in pairs:
            np.testing.assert_array_equal(array, at_the_time)


WAYS: Dict[str, Callable[[Any], Any]] = {
    "get": lambda seen: seen.get("rewards"), "items": lambda seen: dict(seen.items())["rewards"],
    "values": lambda seen: next(v for k, v in zip(seen.keys(), seen.values()) if k == "rewards"),
    "dict": lambda seen: dict(seen)["rewards"], "star": lambda seen: {**seen}["rewards"],
    "copy": lambda seen: seen.copy()["rewards"],
    "iteration": lambda seen: next(seen[k] for k in seen if k == "rewards"),
    "pop": lambda seen: seen.pop("rewards"), "setdefault": lambda seen: seen.setdefault("rewards", None),
    "union": lambda seen: (seen | {"other": 1})["rewards"],
    "call": lambda seen: (lambda rewards, **_: rewards)(**{k: v for k, v in seen.items() if k != "self"}),
    "copied": lambda seen: copy.copy(seen)["rewards"], "format": lambda seen: np.array("{rewards}".format(**seen)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading_locals_gives_the_array(way: str) -> None:
    ours = Looking(lambda seen: ("rewards" in seen, "reward" in seen, seen.get("reward"), WAYS[way](seen)))
    learned(PPO, ours)
    first = ours.seen[0]
    assert first[:3] == (True, False, None) and type(first[3]) is np.ndarray
    assert str(first[3]) == str(np.float32([1.0, 1.01, 1.02, 1.03]))


class Parent(EveryNTimesteps):
    def _on_step(self) -> bool:
        return super()._on_step() and bool(len(self.locals["infos"]))


class Unstarted(BaseCallback):
    """Hands its locals on to a callback that SB3 never starts, as SB3's EvalCallback does with ``on_new_best``."""

    def __init__(self, child: BaseCallback) -> None:
        super().__init__()
        self.child = child

    def _on_step(self) -> bool:
        return self.child.on_step()

    def _init_callback(self) -> None:
        self.child.init_callback(self.model)

    def update_child_locals(self, locals_: Dict[str, Any]) -> None:
        self.child.update_locals(locals_)


def test_functions_children_and_parents_see_the_same() -> None:
    by_function: List[Any] = []
    child, unstarted, alone = (Looking(lambda seen: seen["rewards"]) for _ in range(3))
    of_parent = Looking()
    of_parent.look = lambda _: of_parent.parent.locals["rewards"]  # type: ignore[union-attr]
    learned(PPO, lambda seen, _: by_function.append(seen["rewards"]) or True)
    model = learned(PPO, [Parent(1, child), Parent(1, of_parent), Unstarted(unstarted), alone])
    assert type(unstarted.locals) is dict and type(unstarted.locals["infos"]) is list
    for step in range(STEPS):
        assert child.seen[step] is of_parent.seen[step] is unstarted.seen[step] is alone.seen[step]
        np.testing.assert_array_equal(by_function[step], child.seen[step])
    assert [type(part) for part in child.locals["callback"].callbacks] == [Parent, Parent, Unstarted, Looking]
    assert child.locals["self"] is model


class Counting(IsaacVecEnv):
    """Counts how often a step's infos are made, which takes a loop over environments."""

    made = 0

    def infos(self, step: Step) -> List[Dict[str, Any]]:
        self.made += 1
        return super().infos(step)


def test_nothing_is_made_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: List[Any] = []
    get = HostView.get
    monkeypatch.setattr(HostView, "get", lambda view: fetched.append(view) or get(view))
    for look, infos, arrays in ((lambda seen: seen["n_steps"], 0, 0), (lambda seen: seen["rewards"].mean(), 0, STEPS),
                                (lambda seen: len(seen["infos"]), STEPS, 0)):
        env = Counting(Counter())
        fetched.clear()
        PPO("MlpPolicy", env, n_steps=STEPS, batch_size=8, n_epochs=1).learn(ROBOTS * STEPS, callback=Looking(look))
        assert (env.made, len(fetched)) == (infos, arrays)


@pytest.mark.filterwarnings("ignore:Training and eval env")
def test_a_callback_that_steps_the_training_environment_spoils_no_reward() -> None:
    """Evaluating on the training environment, as some tutorials do, leaves the step's own reward in the rollout."""
    env = IsaacVecEnv(Counter())
    model = PPO("MlpPolicy", env, n_steps=STEPS, batch_size=32, n_epochs=1)
    rewards = Looking(lambda seen: seen["rewards"].copy())
    model.learn(ROBOTS * STEPS, callback=[EvalCallback(env, eval_freq=2, n_eval_episodes=1, verbose=0), rewards])
    assert rewards.seen[1].tolist() == pytest.approx([2.0, 2.01, 2.02, 2.03])
    np.testing.assert_array_equal(model.rollout_buffer.rewards[1], rewards.seen[1])
    infos = Looking(lambda seen: seen["infos"])
    with pytest.raises(UserError, match="stepped or reset the training environment: let it come before"):
        model.learn(ROBOTS * STEPS, callback=[EvalCallback(env, eval_freq=2, n_eval_episodes=1, verbose=0), infos])


class Elsewhere(torch.Tensor):
    """A tensor as on a GPU: numpy gets a copy of it, not its memory."""

    @property
    def device(self) -> Any:  # type: ignore[override]
        return torch.device("cuda")

    def detach(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor).clone()


def test_changes_of_a_copy_come_back_to_the_device() -> None:
    memory = {"a": torch.zeros(3), "b": torch.ones(2)}
    view = HostView({key: value.as_subclass(Elsewhere) for key, value in memory.items()})
    view.write_back()
    assert not view.made
    view.get()["a"] += 5.0
    assert memory["a"].tolist() == [0.0, 0.0, 0.0]
    view.write_back()
    assert memory["a"].tolist() == [5.0, 5.0, 5.0] and memory["b"].tolist() == [1.0, 1.0]
