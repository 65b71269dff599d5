"""Environments by name or as they are, whoever wrote them, as a TensorEnv.

``IsaacQuadrupedFlat-v0`` is a task of this package. ``legged_gym:go2`` is the task ``go2`` of the importable package
``legged_gym``: a client, as those are called here that were written against Isaac Gym. No client is imported before it
is asked for.
"""

from __future__ import annotations

from typing import Any, Sequence, Tuple

from sb3_isaac.clients import legged_gym
from sb3_isaac.contract.errors import UserError, unknown, whole_number
from sb3_isaac.contract.tensor_env import TensorEnv
from sb3_isaac.tasks import make_task, task_options


def is_client(env_id: str) -> bool:
    """Whether `env_id` names another package's task, ``package:task``."""
    return ":" in env_id


def env_options(env_id: str) -> Tuple[str, ...]:
    """Names of the options that the environment takes, ``num_envs`` left out."""
    return legged_gym.OPTIONS if is_client(env_id) else task_options(env_id)


def make_tensor_env(env_id: str, num_envs: int = 1, **options: Any) -> TensorEnv:
    """The environments of a task, ours or a client's; raises UserError for unknown ids and options."""
    if not is_client(env_id):
        return make_task(env_id, num_envs, **options)
    whole_number("num_envs", num_envs)
    _check_options(options, legged_gym.OPTIONS, env_id)
    package, task = env_id.split(":", 1)
    return legged_gym.make(package, task, num_envs, **options)


def as_tensor_env(env: Any, asked: Sequence[str] = (), **options: Any) -> TensorEnv:
    """A live environment as a TensorEnv: itself if it is one, else a client's behind its adapter.

    :param asked: what was asked of it besides and only whoever made it could have settled.
    """
    is_one, is_legged = isinstance(env, TensorEnv), legged_gym.looks_like_one(env)
    if not is_one and not is_legged:
        raise UserError(f"env is a {type(env).__name__}: give an environment id, an object with the methods of "
                        "TensorEnv, or a live environment of legged_gym, unitree_rl_gym or humanoid-gym.")
    if asked or (is_one and options):
        raise UserError(f"a {'TensorEnv' if is_one else 'live'} instance brings its own options and number of "
                        f"environments: leave out {', '.join([*asked, *(options if is_one else ())])}.")
    if is_one:
        own: TensorEnv = env
        return own
    _check_options(options, legged_gym.ADAPTER_OPTIONS, type(env).__name__)
    return legged_gym.LeggedGymEnv(env, **options)


def _check_options(options: Any, valid: Sequence[str], where: str) -> None:
    for name in options:
        if name not in valid:
            raise unknown("option", name, valid, where=where)
