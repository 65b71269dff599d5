"""Gymnasium's view of the tasks: its own checker, registration, autoreset and seeds."""

from __future__ import annotations

import subprocess
import sys
import warnings
from copy import deepcopy

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import sb3_isaac
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.envs.gym_env import IsaacEnv, IsaacVectorEnv
from sb3_isaac.envs.registration import register_all

PENDULUM, QUADRUPED = "IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0"
SMALL = {env_id: {} if env_id == PENDULUM else {"threads": 1} for env_id in TASKS}
needs_autoreset_mode = pytest.mark.skipif(not hasattr(gymnasium.vector, "AutoresetMode"),
                                          reason="Gymnasium 1.0 has no autoreset modes")


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_gymnasium_checks_it(env_id: str) -> None:
    env = gymnasium.make(env_id, **SMALL[env_id]).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity.*")
        check_env(env, skip_render_check=env_id != PENDULUM)
    env.close()
    env.close()


def test_importing_the_package_is_light_and_make_imports_what_it_needs() -> None:
    run("import sys, gymnasium, sb3_isaac; "
        "heavy = {'torch', 'stable_baselines3', 'mujoco'} & set(sys.modules); assert not heavy, heavy; "
        "assert 'IsaacQuadrupedFlat-v0' in gymnasium.registry; "
        "env = gymnasium.make('sb3_isaac:IsaacQuadrupedFlat-v0', threads=1); env.reset(seed=0); "
        "assert env.observation_space.shape == (44,); assert env.step(env.action_space.sample())[0].shape == (44,); "
        "assert 'IsaacVecEnv' in dir(sb3_isaac); assert sb3_isaac.IsaacVecEnv.__name__ == 'IsaacVecEnv'")


def test_every_public_name_can_be_imported() -> None:
    assert sb3_isaac.__version__ == "0.1.0"
    for name in sb3_isaac.__all__:
        assert getattr(sb3_isaac, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sb3_isaac.no_such_name


def test_registration_is_by_string_without_a_step_limit_and_idempotent() -> None:
    before = {env_id: gymnasium.spec(env_id) for env_id in TASKS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()
    for env_id, spec in before.items():
        assert gymnasium.spec(env_id) is spec
        assert spec.entry_point == "sb3_isaac.envs.gym_env:IsaacEnv"
        assert spec.vector_entry_point == "sb3_isaac.envs.gym_env:IsaacVectorEnv"
        assert spec.max_episode_steps is None and spec.kwargs == {"env_id": env_id}


@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_make_vec(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(env_id, num_envs=3, **SMALL[env_id])
    obs, infos = env.reset(seed=1)
    assert infos == {} and obs in env.observation_space and env.num_envs == 3
    kept = deepcopy(obs)
    obs_2, reward, terminated, truncated, infos = env.step(env.action_space.sample())
    assert data_equivalence(obs, kept, exact=True)
    assert obs_2 in env.observation_space and not data_equivalence(obs_2, obs)
    assert reward.shape == terminated.shape == truncated.shape == (3,) and reward.dtype == np.float64
    assert terminated.dtype == truncated.dtype == np.bool_
    env.close()
    env.close()


@needs_autoreset_mode
def test_autoreset_is_declared() -> None:
    assert IsaacVectorEnv.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in IsaacEnv.metadata


def test_final_obs_differs_from_obs_exactly_where_an_episode_ended() -> None:
    env = IsaacVectorEnv(PENDULUM, num_envs=4, stagger=False, episode_length_s=0.2)
    env.reset(seed=0)
    for _ in range(4):
        assert "final_obs" not in env.step(np.zeros((4, 2)))[4]
    env.env.angle[2] = 1.5
    obs, _, terminated, truncated, infos = env.step(np.zeros((4, 2)))
    assert terminated.tolist() == infos["_final_obs"].tolist() == [False, False, True, False] and not truncated.any()
    assert [final is None for final in infos["final_obs"]] == [True, True, False, True]
    assert infos["final_obs"][2][0] > 0.9 and abs(obs[2][0]) < 0.1
    assert infos["falls"].tolist() == [False] * 4 and infos["_falls"].tolist() == [True, True, False, True]
    final = infos["final_info"]
    assert final["falls"].tolist() == final["_falls"].tolist() == [False, False, True, False]
    for _ in range(4):
        assert "final_obs" not in env.step(np.zeros((4, 2)))[4]
    # Tenth step: time is up, but for the one that began anew at the fifth.
    _, _, terminated, truncated, infos = env.step(np.zeros((4, 2)))
    assert truncated.tolist() == infos["_final_obs"].tolist() == [True, True, False, True] and not terminated.any()


@needs_autoreset_mode
def test_one_robot_gives_what_sync_vector_env_gives() -> None:
    """Up to and with the end of the first episode, to the last key, dtype and bit."""
    options = {"stagger": False, "episode_length_s": 0.2}
    ours = IsaacVectorEnv(PENDULUM, num_envs=1, **options)
    theirs = gymnasium.vector.SyncVectorEnv([lambda: IsaacEnv(PENDULUM, **options)], autoreset_mode="SameStep")
    assert data_equivalence(ours.reset(seed=3), theirs.reset(seed=3), exact=True)
    for i in range(10):
        a, b = ours.step(np.full((1, 2), 0.3)), theirs.step(np.full((1, 2), 0.3, dtype=np.float32))
        assert data_equivalence(a[1:4], b[1:4], exact=True)
        assert data_equivalence({**a[4], "final_obs": None}, {**b[4], "final_obs": None}, exact=True)
        assert ("final_obs" in a[4]) == (i == 9)
    np.testing.assert_array_equal(a[4]["final_obs"][0], b[4]["final_obs"][0])


@needs_autoreset_mode
def test_infos_have_sync_vector_envs_layout_when_some_end() -> None:
    ours = IsaacVectorEnv(PENDULUM, num_envs=3, stagger=False)
    theirs = gymnasium.vector.SyncVectorEnv([lambda: IsaacEnv(PENDULUM) for _ in range(3)], autoreset_mode="SameStep")
    ours.reset(seed=0)
    theirs.reset(seed=0)
    ours.env.angle[1] = 1.5
    theirs.envs[1].env.angle[0] = 1.5
    ours, theirs = (env.step(np.zeros((3, 2), dtype=np.float32))[4] for env in (ours, theirs))
    assert layout(ours) == layout(theirs)


def layout(infos: dict) -> dict:
    """Names, dtypes and shapes, and the values of masks."""
    return {name: layout(value) if isinstance(value, dict) else
            value.tolist() if name.startswith("_") else (value.dtype, value.shape) for name, value in infos.items()}


@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_a_seed_gives_the_trajectory_again(env_id: str) -> None:
    env = IsaacEnv(env_id, **SMALL[env_id])
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(15)]

    def trajectory(seed: int) -> list:
        return [env.reset(seed=seed), *[env.step(action) for action in actions]]

    first, again, other = trajectory(7), trajectory(7), trajectory(8)
    assert data_equivalence(first, again, exact=True)
    assert not data_equivalence(first[0], other[0])
    env.close()


def test_reset_without_a_seed_continues_the_random_stream() -> None:
    env = IsaacEnv(PENDULUM)
    first = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    again = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    np.testing.assert_array_equal(first, again)


def test_one_robots_last_observation_is_the_one_it_fell_with() -> None:
    env = IsaacEnv(PENDULUM, episode_length_s=0.06)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env.reset()
    env.env.angle[0] = 1.5
    obs, reward, terminated, truncated, info = env.step(np.zeros(2))
    assert terminated is True and truncated is False and obs[0] > 0.9 and info["falls"] is True
    assert type(reward) is float and reward == pytest.approx(info["reward/height"] + info["reward/effort"])
    assert abs(env.reset()[0][0]) < 0.1


def test_vector_seeds_are_an_int_or_a_list_whose_first_acts() -> None:
    env = IsaacVectorEnv(PENDULUM, num_envs=2)
    first = env.reset(seed=4)[0]
    np.testing.assert_array_equal(first, env.reset(seed=[4, 9])[0])
    assert env.np_random_seed == 4 and not np.array_equal(first, env.reset()[0])


def test_render_modes() -> None:
    assert IsaacEnv(PENDULUM).render() is None
    assert IsaacVectorEnv(PENDULUM, num_envs=2).render() is None
    frames = IsaacVectorEnv(PENDULUM, num_envs=2, render_mode="rgb_array").render()
    assert len(frames) == 2 and frames[0].shape == (240, 240, 3), "one of each robot"


def test_mistakes_are_user_errors() -> None:
    with pytest.raises(UserError, match="given to IsaacDoublePendulum-v0 as one robot"):
        gymnasium.make(PENDULUM, num_envs=3)
    with pytest.raises(UserError, match="did you mean 'episode_length_s'"):
        gymnasium.make(PENDULUM, episode_length=3.0)
    with pytest.raises(UserError, match="render_mode 'human'"):
        IsaacVectorEnv(PENDULUM, render_mode="human")
    env = IsaacVectorEnv(PENDULUM, num_envs=2)
    with pytest.raises(UserError, match=r"give \(2, 2\)"):
        env.step(np.zeros((3, 2)))
    with pytest.raises(UserError, match=r"shape \(1, 2\): give \(2,\)"):
        IsaacEnv(PENDULUM).step(np.zeros((1, 2)))
    with pytest.raises(UserError, match="reset all of them or none"):
        env.reset(options={"reset_mask": np.array([True, False])})
