"""Registration of the environment ids with Gymnasium, by strings: nothing heavy is imported before ``make``."""

from __future__ import annotations

import importlib
from typing import Iterable

from gymnasium.envs.registration import register, registry

from sb3_isaac.contract.ids import TASKS, add_task
from sb3_isaac.contract.names import allow_packages

ENTRY_POINT = "sb3_isaac.envs.gym_env:IsaacEnv"


def register_all() -> None:
    """Make every id of ``TASKS`` known to ``gymnasium.make`` and ``make_vec``; ids already registered stay.

    There is no ``max_episode_steps``: a task ends its own episodes and says which of them ran out of time.
    """
    for env_id in TASKS:
        if env_id not in registry:
            register(env_id, entry_point=ENTRY_POINT, vector_entry_point="sb3_isaac.envs.gym_env:IsaacVectorEnv",
                     kwargs={"env_id": env_id})


def register_task(env_id: str, place: str) -> None:
    """Make a task of your own known by an id, to IsaacVecEnv, Gymnasium and every command.

    Call it where your package is imported, and name the package to the command line: ``--gym-packages my_tasks``.

    :param env_id: such as ``MyTask-v0``.
    :param place: ``package.module:Class`` of a :class:`~sb3_isaac.contract.tensor_env.TensorEnv` that is made with
        ``Class(num_envs, **options)``.
    :raises UserError: for an id or place of another form, and for an id that is another task's.
    """
    add_task(env_id, place)
    register_all()


def import_packages(names: Iterable[str]) -> None:
    """Import modules that register tasks, in this process, and let configurations name what is in them."""
    for name in names:
        importlib.import_module(name)
        allow_packages([name])


def is_ours(env_id: str) -> bool:
    """Whether `env_id` is registered as a task of this package, under its own name or another."""
    spec = registry.get(env_id)
    return spec is not None and spec.entry_point == ENTRY_POINT
