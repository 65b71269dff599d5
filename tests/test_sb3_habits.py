"""What SB3's users do with a VecEnv and a model besides learning: indices, goals, videos, loading, setting, closing."""

from __future__ import annotations

import copy
import pickle
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecVideoRecorder

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.contract.tensor_env import Step
from sb3_isaac.robots import get_robot
from sb3_isaac.sim import make_simulator
from sb3_isaac.tasks.double_pendulum import DoublePendulum
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

PENDULUM, QUADRUPED = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0"
STILL = np.zeros((3, 2), np.float32)


class Reaches(DoublePendulum):
    """Robots 0 and 1 of 4 reach a goal at each step."""

    def step(self, actions: torch.Tensor) -> Step:
        step = super().step(actions)
        return step._replace(log={**step.log, "is_success": torch.arange(self.num_envs) < self.num_envs // 2})

    def swing(self, by: float, mask: torch.Tensor) -> torch.Tensor:
        self.angle[mask] += by
        return self.angle[:, 0].clone()

    def swing_all(self) -> None:
        self.angle += 1.0


def pendulums(steps: int = 5, **options: Any) -> IsaacVecEnv:
    env = IsaacVecEnv(Reaches(3, seed=0, stagger=False, **options))
    env.reset()
    for _ in range(steps):
        env.step(STILL)
    return env


# ---- indices

def test_a_method_acts_on_the_robots_that_are_named() -> None:
    env = pendulums()
    others = env.env.angle[1:].clone()  # type: ignore[attr-defined]
    observed = env.env_method("reset", indices=[0])
    assert env.env.steps.tolist() == [0, 5, 5]  # type: ignore[attr-defined]
    assert len(observed) == 1 and observed[0]["policy"].shape == (6,)
    torch.testing.assert_close(env.env.angle[1:], others)  # type: ignore[attr-defined]
    _, rewards, _, _ = env.step(STILL)
    assert env.statistics.episode_length.tolist() == [1, 6, 6]
    assert env.statistics.episode_return[0] == pytest.approx(rewards[0])
    before = env.env.angle[:, 0].clone()  # type: ignore[attr-defined]
    assert env.env_method("swing", 0.5, indices=-1)[0] == pytest.approx(before[2] + 0.5)
    assert env.env_method("swing", 0.5, indices=[]) == []
    torch.testing.assert_close(env.env.angle[:2, 0], before[:2])  # type: ignore[attr-defined]
    env.env_method("reset")
    assert env.env.steps.tolist() == [0, 0, 0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "arguments", "indices", "words"), [
    ("swing_all", (), [0], "acts on all 3 environments"), ("swing_all", (), 2, "acts on all 3 environments"),
    ("step", (torch.zeros(3, 2),), [0, 1], "acts on all 3 environments"),
    ("reset", (5,), [0], "acts on all 3 environments"), ("reset", (), [3], "from 0 to 2"),
    ("swing_all", (), [0, -4], "from 0 to 2"),
])
def test_what_cannot_be_done_to_some_alone_is_a_sentence(name: str, arguments: Any, indices: Any, words: str) -> None:
    env = pendulums()
    angle = env.env.angle.clone()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=words):
        env.env_method(name, *arguments, indices=indices)
    torch.testing.assert_close(env.env.angle, angle)  # type: ignore[attr-defined]


def test_attributes_of_robots_that_are_not_there_are_a_sentence() -> None:
    env = pendulums()
    for call in (lambda: env.get_attr("max_steps", indices=[3]), lambda: env.set_attr("steps", 1, indices=7)):
        with pytest.raises(UserError, match="from 0 to 2"):
            call()
    assert env.get_attr("steps", indices=-1)[0] == 5


# ---- goals

class Seen(BaseCallback):
    """Collects the infos of reached goals."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: List[Dict[str, Any]] = []

    def _on_step(self) -> bool:
        self.infos += [info for info in self.locals["infos"] if "is_success" in info]
        return True


@pytest.mark.parametrize("cls", [PPO, stable_baselines3.PPO])
def test_reached_goals_are_logged_as_sb3_does(cls: Any) -> None:
    """Half of four robots reach theirs, and episodes of ten steps end together."""
    env = IsaacVecEnv(Reaches(4, seed=0, stagger=False, episode_length_s=0.2))
    seen, model = Seen(), cls("MlpPolicy", env, n_steps=20, batch_size=40, n_epochs=1, device="cpu")
    model.learn(80, callback=seen)
    assert [info["is_success"] for info in seen.infos] == [True, True, False, False] * 2
    assert np.mean(model.ep_success_buffer) == 0.5
    reached: List[bool] = []
    evaluate_policy(model, env, n_eval_episodes=4,
                    callback=lambda local, _: reached.append(local["info"]["is_success"]) if local["done"] else None)
    assert reached == [True, True, False, False]


# ---- pictures at true speed

@pytest.mark.parametrize(("substeps", "rate"), [(2, 50), (4, 25), (3, 100 / 3)])
def test_frame_rates_are_those_of_control(substeps: int, rate: float) -> None:
    env = IsaacVecEnv(QUADRUPED, num_envs=1, substeps=substeps, threads=1)
    assert env.metadata["render_fps"] == pytest.approx(rate)
    assert isinstance(env.metadata["render_fps"], int) == (rate in (50, 25))


def test_videos_of_sb3_and_gymnasium_play_at_the_robots_speed(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    imageio = pytest.importorskip("imageio")
    recorder: Any = VecVideoRecorder(pendulums(0, render_mode="rgb_array"), str(tmp_path), lambda step: step == 0, 4)
    recorder.reset()
    for _ in range(5):
        recorder.step(STILL)
    recorder.close()
    many = gymnasium.make_vec(PENDULUM, num_envs=3, render_mode="rgb_array")
    vector = gymnasium.wrappers.vector.RecordVideo(many, str(tmp_path / "v"), step_trigger=lambda s: s == 0,
                                                   video_length=3)
    vector.reset(seed=0)
    for _ in range(5):
        vector.step(STILL)
    vector.close()
    for file in tmp_path.rglob("*.mp4"):
        assert imageio.get_reader(file).get_meta_data()["fps"] == 50
    assert len(list(tmp_path.rglob("*.mp4"))) == 2


def test_each_robot_has_a_picture_of_its_own() -> None:
    env: Any = gymnasium.make_vec(PENDULUM, num_envs=2, render_mode="rgb_array")
    env.reset(seed=0)
    env.unwrapped.env.angle[1] = 1.0
    first, second = env.render()
    np.testing.assert_array_equal(first, env.unwrapped.env.render())
    assert first.shape == second.shape == (240, 240, 3) and not np.array_equal(first, second)


# ---- models

def test_a_loaded_model_goes_on_where_it_stood(tmp_path: Path) -> None:
    """With force_reset=False the environment, which has gone on living, is not reset; stock SB3 can read that zip."""
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=4, seed=0, stagger=False))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, device="cpu").learn(32)
    model.save(tmp_path / "m.zip")
    for cls in (PPO, stable_baselines3.PPO):
        again = cls.load(tmp_path / "m.zip", env=env, device="cpu", force_reset=False)
        assert isinstance(again._last_obs, np.ndarray)
        steps = env.venv.env.steps.clone()  # type: ignore[attr-defined]
        seen: List[Any] = []
        again.learn(32, reset_num_timesteps=False,
                    callback=lambda local, _, seen=seen: seen.append(env.venv.env.steps.clone()))  # type: ignore
        running = seen[0] > 0
        assert running.any() and torch.equal(seen[0][running], steps[running] + 1)
    assert PPO.load(tmp_path / "m.zip", env=env, device="cpu")._last_obs is None, "by default it is reset"


def test_another_environment_may_be_set() -> None:
    """Behind another wrapper, too, which only arrays pass; without a reset the observation goes along."""
    inner = IsaacVecEnv(PENDULUM, num_envs=4, seed=0)
    model = PPO("MlpPolicy", inner, n_steps=8, batch_size=32, n_epochs=1, device="cpu").learn(32)
    model.set_env(VecNormalize(IsaacVecEnv(PENDULUM, num_envs=4, seed=1)))
    assert model.learn(32).get_vec_normalize_env() is not None
    model.set_env(inner)
    model.learn(32)
    with pytest.warns(UserWarning, match="VecMonitor between PPO"):
        model.set_env(VecMonitor(inner), force_reset=False)
        model.learn(32, reset_num_timesteps=False)
    with pytest.raises(AssertionError, match="number of environments"):
        model.set_env(IsaacVecEnv(PENDULUM, num_envs=5))


class Own(RolloutBuffer):
    """A user's own."""


def test_a_rollout_buffer_of_ones_own_is_told() -> None:
    env = VecNormalize(IsaacVecEnv(PENDULUM, num_envs=4))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, device="cpu", rollout_buffer_class=Own)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(32)
    told = [str(each.message) for each in caught if "rollout_buffer_class" in str(each.message)]
    assert len(told) == 1 and "Own" in told[0] and isinstance(model.rollout_buffer, Own)


# ---- making, pickling, closing

@pytest.mark.parametrize("seed", [np.int64(3), 3])
def test_seeds_may_be_numpys(seed: Any) -> None:
    first, second = IsaacVecEnv(PENDULUM, num_envs=np.int64(2), seed=seed), IsaacVecEnv(PENDULUM, num_envs=2)
    second.seed(3)
    np.testing.assert_array_equal(first.reset(), second.reset())
    for wrong in (1.5, -1, True, "1"):
        with pytest.raises(UserError, match="seed is"):
            second.seed(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "words"), [([], "0 seeds for 2"), ([1, 2, 3], "3 seeds for 2"),
                                             (1.5, r"seed is 1\.5"), ([1.5, 2], r"seed is 1\.5"),
                                             ("ab", "seed is 'ab'")])
def test_seeds_of_gymnasium_are_one_or_one_each(seed: Any, words: str) -> None:
    env: Any = gymnasium.make_vec(PENDULUM, num_envs=2)
    with pytest.raises(UserError, match=words):
        env.reset(seed=seed)
    a, b = env.reset(seed=[5, 6])[0], env.reset(seed=np.int64(5))[0]
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy], ids=["pickle", "copy"])
def test_gymnasiums_environments_are_made_anew_from_a_pickle(copied: Any) -> None:
    one: Any = gymnasium.make(QUADRUPED, threads=1, episode_length_s=1.0).unwrapped
    many: Any = gymnasium.make_vec(PENDULUM, num_envs=2, stagger=False).unwrapped
    for env in (one, many):
        again = copied(env)
        np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])
        action = env.action_space.sample()
        np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])
        assert again.env.max_steps == env.env.max_steps and again.env is not env.env


def test_use_after_close_is_a_sentence() -> None:
    vec, one, many = (IsaacVecEnv(QUADRUPED, num_envs=2, threads=1), gymnasium.make(PENDULUM).unwrapped,
                      gymnasium.make_vec(PENDULUM, num_envs=2).unwrapped)
    vec.reset()
    for env in (vec, one, many):
        env.close()
        env.close()
    for call in (vec.reset, lambda: vec.step(np.zeros((2, 12), np.float32)), vec.get_images, one.reset,  # type: ignore
                 lambda: one.step(np.zeros(2)), many.reset, lambda: many.step(np.zeros((2, 2)))):  # type: ignore
        with pytest.raises(UserError, match="used after its close"):
            call()


def test_a_simulator_brings_its_own_options() -> None:
    sim = make_simulator("mujoco", get_robot("quadruped"), 2, threads=1)
    assert IsaacVecEnv(QUADRUPED, num_envs=2, sim=sim).num_envs == 2  # type: ignore[arg-type]
    wrong: Any
    for name, wrong in {"robot": "anymal", "physics_dt": 0.005, "substeps": 4, "threads": 1, "device": "cpu"}.items():
        with pytest.raises(UserError, match=f"brings its own {name}: leave it out"):
            IsaacVecEnv(QUADRUPED, num_envs=2, sim=sim, **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="of 2 robots, which brings its own num_envs"):
        QuadrupedFlat(3, sim=sim)
    with pytest.raises(UserError, match="give the name of a simulator, or a Simulator"):
        QuadrupedFlat(sim=3)  # type: ignore[arg-type]


def test_the_entry_point_for_plug_ins_exists() -> None:
    lines = (Path(__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8").split("gymnasium.envs =")[1]
    module, name = lines.split("__root__ = ")[1].splitlines()[0].split(":")
    assert callable(getattr(import_module(module), name))
