"""Tasks by id. A task is a TensorEnv; its constructor's keywords are its options."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Tuple

from sb3_isaac.contract.errors import unknown, whole_number
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.contract.tensor_env import TensorEnv


def task_class(env_id: str) -> Any:
    """The class of a task; raises UserError with the nearest ids for an unknown one."""
    if env_id not in TASKS:
        raise unknown("environment id", env_id, TASKS)
    module, name = TASKS[env_id].split(":")
    return getattr(importlib.import_module(module), name)


def task_options(env_id: str) -> Tuple[str, ...]:
    """Names of the keywords that a task's constructor takes, ``num_envs`` left out."""
    return tuple(name for name in inspect.signature(task_class(env_id)).parameters if name != "num_envs")


def soft_options(env_id: str) -> Tuple[str, ...]:
    """Names of the options that ``change_options`` of a task changes without building it anew."""
    return tuple(getattr(task_class(env_id), "SOFT_OPTIONS", ()))


def make_task(env_id: str, num_envs: int = 1, **options: Any) -> TensorEnv:
    """A task with `num_envs` environments; raises UserError for unknown ids and options."""
    whole_number("num_envs", num_envs)
    valid = task_options(env_id)
    for name in options:
        if name not in valid:
            raise unknown("task option", name, valid, where=env_id)
    env: TensorEnv = task_class(env_id)(num_envs, **options)
    return env
