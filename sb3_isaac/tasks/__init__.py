"""Tasks by id. A task is a TensorEnv; its constructor's keywords are its options."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Tuple, Type

from sb3_isaac.contract.errors import UserError, unknown, whole_number
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.contract.tensor_env import TensorEnv, check_observation_space, constructor_parameters, missing_members


def task_class(env_id: str) -> Type[TensorEnv]:
    """The class of a task; raises UserError with the nearest ids for an unknown one."""
    if env_id not in TASKS:
        raise unknown("environment id", env_id, TASKS)
    module, name = TASKS[env_id].split(":")
    try:
        found: Type[TensorEnv] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{env_id} is registered as {TASKS[env_id]}, which cannot be imported ({error}): correct "
                        "register_task.") from error
    return found


def task_options(env_id: str) -> Tuple[str, ...]:
    """Names of the keywords that a task's constructor takes, ``num_envs`` left out."""
    return tuple(name for name in constructor_parameters(task_class(env_id)) if name != "num_envs")


def soft_options(env_id: str) -> Tuple[str, ...]:
    """Names of the options that ``change_options`` of a task changes without building it anew."""
    return tuple(task_class(env_id).SOFT_OPTIONS)


def make_task(env_id: str, num_envs: int = 1, **options: Any) -> TensorEnv:
    """A task with `num_envs` environments; raises UserError for unknown ids and options, and where the class that is
    registered is no TensorEnv of that many."""
    num_envs = whole_number("num_envs", num_envs)
    valid = task_options(env_id)
    for name in options:
        if name not in valid:
            raise unknown("task option", name, valid, where=env_id)
    made_by = task_class(env_id)
    try:
        inspect.signature(made_by).bind(num_envs, **options)
    except TypeError as error:
        raise UserError(f"{env_id} is a {made_by.__name__} that cannot be made with {made_by.__name__}(num_envs"
                        f"{''.join(f', {name}=...' for name in options)}) ({error}): let its constructor take these.") \
            from error
    env = made_by(num_envs, **options)  # type: ignore[call-arg]
    if missing_members(env):
        raise UserError(f"{env_id} is a {type(env).__name__} without {', '.join(missing_members(env))}: make it a "
                        "subclass of sb3_isaac.TensorEnv, and set what that leaves open.")
    check_observation_space(env, env_id)
    if env.num_envs != num_envs:
        raise UserError(f"{env_id} has {env.num_envs} environments and was asked for {num_envs}: let its constructor "
                        "make as many as num_envs, and with a simulator of your own ask for as many as that has.")
    return env
