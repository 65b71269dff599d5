"""The shipped settings at any number of environments: they build, and have the minibatches that they say."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
import yaml

from sb3_isaac.config import load_config
from sb3_isaac.config.files import shipped
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.training import build
from sb3_isaac.tasks import task_options

QUADRUPED, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"
MINIBATCHES = {("ppo", QUADRUPED): 4, ("sb3-ppo", QUADRUPED): 4, ("ppo-course", QUADRUPED): 12,
               ("trpo", QUADRUPED): 6, ("ppo", PENDULUM): 4, ("sb3-ppo", PENDULUM): 4,
               ("trpo", PENDULUM): 4, ("ppo-client", QUADRUPED): 8, ("ppo-client", PENDULUM): 8,
               ("ppo_lstm", QUADRUPED): 4, ("ppo_lstm", PENDULUM): 4, ("robust", QUADRUPED): 4}
"""By file and environment, as at the number of environments that the file sets."""
SHIPPED_BATCH = {("ppo", QUADRUPED): 1536, ("sb3-ppo", QUADRUPED): 1536, ("ppo-course", QUADRUPED): 8192,
                 ("trpo", QUADRUPED): 4096, ("ppo", PENDULUM): 1024,
                 ("sb3-ppo", PENDULUM): 1024, ("trpo", PENDULUM): 1024, ("ppo-client", QUADRUPED): 12288,
                 ("ppo-client", PENDULUM): 12288, ("ppo_lstm", QUADRUPED): 2048, ("ppo_lstm", PENDULUM): 512,
                 ("robust", QUADRUPED): 1536}
NUM_ENVS = (1, 64, 256, 1000, 4096)
WITHOUT_MINIBATCHES = ("a2c", "sac", "td3", "tqc", "crossq")


def load(conf: str, env: str, **arguments: Any) -> Any:
    algo = conf if conf in build.ALGORITHMS else "ppo"
    return load_config(env, algo, path=conf, algo_keys=build.algorithm_options(algo), env_keys=task_options(env),
                       seed=0, device="cpu", **arguments)


def cases() -> List[Tuple[str, str]]:
    """Every shipped file with every environment that it has settings of."""
    made = []
    for conf, file in shipped().items():
        if conf in WITHOUT_MINIBATCHES:
            continue
        names = set(yaml.safe_load(file.read_text(encoding="utf-8")))
        made += [(conf, env) for env in (QUADRUPED, PENDULUM) if env in names or "default" in names]
    return made


def test_the_tables_of_this_file_are_complete() -> None:
    assert set(cases()) == set(MINIBATCHES) == set(SHIPPED_BATCH)


@pytest.mark.parametrize(("conf", "env"), cases())
def test_the_batch_size_at_the_shipped_number_of_environments(conf: str, env: str) -> None:
    assert load(conf, env).algo_kwargs["batch_size"] == SHIPPED_BATCH[conf, env]


def test_robust_settings_end_where_their_page_says() -> None:
    """No stop rule ends them: its heading is one that a randomised robot does not hold."""
    page = (Path(__file__).parents[1] / "docs" / "randomisation.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"`n_timesteps: (\S+)` in `robust.yml`", page)
    assert load("robust", QUADRUPED).n_timesteps == float(told) < load("robust", "IsaacQuadrupedRough-v0").n_timesteps


@pytest.fixture(scope="module")
def tasks() -> Any:
    """An environment by id, number and options: made once, because the settings of a learner are what is tested."""
    made: Dict[Any, IsaacVecEnv] = {}

    def get(config: Any) -> IsaacVecEnv:
        key = (config.env, config.n_envs, str(config.env_kwargs))
        if key not in made:
            made[key] = build.make_env(config)
        return made[key]

    yield get
    for env in made.values():
        env.close()


@pytest.mark.parametrize("num_envs", NUM_ENVS)
@pytest.mark.parametrize(("conf", "env"), cases())
def test_every_number_of_environments(conf: str, env: str, num_envs: int, tasks: Any) -> None:
    if conf in ("trpo", "ppo_lstm"):
        pytest.importorskip("sb3_contrib")
    config = load(conf, env, num_envs=num_envs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # SB3 warns of a batch size that does not divide the rollout
        warnings.filterwarnings("ignore", message=".*Box.*precision.*")
        build.check_supported(config)
        model: Any = build.make_model(config, build.wrap_env(config, tasks(config)))
    transitions = model.n_steps * num_envs
    assert transitions % model.batch_size == 0
    assert transitions // model.batch_size == config.minibatches == MINIBATCHES[conf, env]
