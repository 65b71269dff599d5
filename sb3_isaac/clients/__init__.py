"""Environments by name or as they are, whoever wrote them, as a TensorEnv.

``IsaacQuadrupedFlat-v0`` is a task that is registered here, and so is ``sb3_isaac:IsaacQuadrupedFlat-v0``, as Gymnasium
writes it. ``legged_gym:go2`` is the task ``go2`` of the importable package ``legged_gym``: a client, that is a package
with environments of another interface. Each kind of client has an adapter: a row of ``ADAPTERS`` and a module, which is
imported when it is used. This module imports neither torch nor a client.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

from sb3_isaac.contract.errors import UserError, brief, unknown, whole_number
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.contract.names import is_allowed

if TYPE_CHECKING:
    from sb3_isaac.contract.tensor_env import TensorEnv

_OURS = "sb3_isaac"
_ENV_ID = re.compile(r"([A-Za-z_][\w.]*:)?[A-Za-z][\w.-]{0,199}")


@dataclass(frozen=True)
class Adapter:
    """What is known of a kind of client before anything is imported.

    ============ ===============================================================================================
    field        what
    ============ ===============================================================================================
    module       the adapter. It has ``make(package, task, num_envs, **options)`` for a task by its name, and
                 ``adapt(env, **options)`` for a live environment; both give a TensorEnv
    describes    whose live environments it takes, in words
    packages     packages that are clients of this kind
    layout       submodules by which any other package is recognised as one; where there are none, none is
    members      attributes by which a live environment is recognised, also one inside Gymnasium's wrappers
    live_options options of ``adapt``
    make_options options that ``make`` has besides; ``device`` (or ``auto``) and ``seed`` are among them
    ============ ===============================================================================================
    """

    module: str
    describes: str
    packages: Tuple[str, ...]
    layout: Tuple[str, ...]
    members: Tuple[str, ...]
    live_options: Tuple[str, ...]
    make_options: Tuple[str, ...]

    def load(self) -> Any:
        """The adapter's module."""
        return importlib.import_module(self.module)


ADAPTERS: Mapping[str, Adapter] = MappingProxyType({
    "legged_gym": Adapter(
        module="sb3_isaac.clients.legged_gym", describes="legged_gym, unitree_rl_gym, humanoid-gym",
        packages=("legged_gym", "humanoid"), layout=("envs", "utils.helpers", "utils.task_registry"),
        members=("step", "reset", "num_envs", "num_obs", "num_actions", "device", "episode_length_buf",
                 "max_episode_length"),
        live_options=("action_bound", "stagger", "privileged"),
        make_options=("sim", "device", "seed", "threads", "cfg")),
    "isaacgymenvs": Adapter(
        module="sb3_isaac.clients.isaacgymenvs", describes="IsaacGymEnvs",
        packages=("isaacgymenvs",), layout=("tasks.base.vec_task", "utils.rlgames_utils"),
        members=("step", "reset", "reset_idx", "num_envs", "num_obs", "num_states", "num_actions", "rl_device",
                 "progress_buf", "reset_buf", "max_episode_length", "clip_actions"),
        live_options=("action_bound", "stagger", "privileged"),
        make_options=("sim", "device", "seed", "threads", "cfg")),
    "mjlab": Adapter(
        module="sb3_isaac.clients.mjlab", describes="mjlab",
        packages=("mjlab",), layout=(),
        members=("step", "reset", "num_envs", "device", "single_observation_space", "single_action_space",
                 "episode_length_buf", "max_episode_length", "step_dt", "metrics_manager"),
        live_options=("action_bound", "stagger", "privileged"), make_options=("device", "seed", "cfg")),
    "isaaclab": Adapter(
        module="sb3_isaac.clients.isaaclab", describes="Isaac Lab",
        packages=("isaaclab", "isaaclab_tasks"), layout=(),
        members=("step", "reset", "num_envs", "device", "single_observation_space", "single_action_space",
                 "episode_length_buf", "max_episode_length", "step_dt"),
        live_options=("action_bound", "stagger", "privileged"), make_options=("device", "seed", "cfg")),
})
"""Kind of client -> its adapter. The first row that recognises a package or an environment takes it."""


def registered_id(env_id: str) -> Optional[str]:
    """The id of a task of ours that `env_id` means; None where it names a client's task.

    An id may have the prefix that Gymnasium imports: ``sb3_isaac:``, or the package of the task's module.
    """
    package, colon, name = env_id.rpartition(":")
    if not colon:
        return env_id
    task_package = TASKS[name].split(":")[0].split(".")[0] if name in TASKS else None
    return name if package == _OURS or package.split(".")[0] == task_package else None


def is_client(env_id: str) -> bool:
    """Whether `env_id` names a client's task, ``package:task``."""
    return registered_id(env_id) is None


def env_of_file(env_id: object, where: str) -> str:
    """`env_id`, which a file names, as the id of an environment that may be made: a file has nothing imported.

    A client's task is code in the client's package. It is made where the command line names it, as ``--env`` or as one
    of ``--gym-packages``, or where the caller of a Python function does.

    :raises UserError: for what is no id, and for a client that was not named besides.
    """
    if not isinstance(env_id, str) or not _ENV_ID.fullmatch(env_id):
        raise UserError(f"{where} names the environment {brief(env_id)}, which is no environment id: give --env ID.")
    ours = registered_id(env_id)
    package = env_id.rpartition(":")[0]
    if ours is None and not is_allowed(package):
        raise UserError(f"{where} names the environment {env_id}, and importing {package} would run its code: give "
                        f"--env {env_id} if you trust that package.")
    return ours or env_id


def env_options(env_id: str) -> Tuple[str, ...]:
    """Names of the options that the environment takes, ``num_envs`` left out."""
    ours = registered_id(env_id)
    if ours is not None:
        return _tasks().task_options(ours)
    adapter = _adapter_of(env_id.partition(":")[0])
    return (*adapter.live_options, *adapter.make_options)


def make_tensor_env(env_id: str, num_envs: int = 1, **options: Any) -> "TensorEnv":
    """The environments of a task, ours or a client's; raises UserError for unknown ids and options."""
    ours = registered_id(env_id)
    if ours is not None:
        return _tasks().make_task(ours, num_envs, **options)
    whole_number("num_envs", num_envs)
    package, _, task = env_id.partition(":")
    adapter = _adapter_of(package)
    _check_options(options, (*adapter.live_options, *adapter.make_options), env_id)
    made: TensorEnv = adapter.load().make(package, task, num_envs, **options)
    return made


def as_tensor_env(env: Any, asked: Sequence[str] = (), **options: Any) -> "TensorEnv":
    """A live environment as a TensorEnv: itself if it is one, else a client's behind its adapter.

    :param asked: names of arguments that were given besides, which only the maker of the environment could have used.
    """
    from sb3_isaac.contract.tensor_env import missing_members

    missing = missing_members(env)
    if not missing:
        if asked or options:
            raise _brings_its_own("TensorEnv", [*asked, *options])
        own: TensorEnv = env
        return own
    inner = getattr(env, "unwrapped", env)
    for adapter in ADAPTERS.values():
        if all(hasattr(inner, name) for name in adapter.members):
            break
    else:
        if hasattr(env, "step") and hasattr(env, "observation_space"):
            raise UserError(f"env is a {type(env).__name__} without {', '.join(missing)}: make its class a subclass of "
                            "sb3_isaac.TensorEnv, which has defaults for most, and set what is left.")
        raise UserError(f"env is a {type(env).__name__}: give an environment id, an object with the methods of "
                        f"TensorEnv, or a live environment of {_described()}.")
    if asked:
        raise _brings_its_own("live", asked)
    _check_options(options, adapter.live_options, type(env).__name__)
    adapted: TensorEnv = adapter.load().adapt(env, **options)
    return adapted


def _tasks() -> Any:
    return importlib.import_module("sb3_isaac.tasks")


def _brings_its_own(what: str, given: Sequence[str]) -> UserError:
    return UserError(f"a {what} instance brings its own options and number of environments: "
                     f"leave out {', '.join(given)}.")


def _described() -> str:
    *most, last = (adapter.describes for adapter in ADAPTERS.values())
    return f"{', '.join(most)} or {last}"


def _adapter_of(package: str) -> Adapter:
    """The adapter for a package, which is looked at and not imported.

    :raises UserError: when there is no such package, or none of the known kinds.
    """
    for adapter in ADAPTERS.values():
        if package in adapter.packages:
            return adapter
    spec = _spec(package)
    if spec is None:
        raise UserError(f"there is no package {package!r} to take the environment from: put the folder that holds it "
                        "and those of the packages it needs on PYTHONPATH.")
    for adapter in ADAPTERS.values():
        if adapter.layout and all(_has_submodule(spec, name) for name in adapter.layout):
            return adapter
    raise UserError(f"package {package!r} is of no kind that is known as a client ({_described()}): give the id of a "
                    f"task that is registered, of which there are {', '.join(TASKS)}, or the task of a client.")


def _spec(package: str) -> Optional[importlib.machinery.ModuleSpec]:
    """Where a package is; a dotted name would be imported to find out, and is taken for none."""
    try:
        return importlib.util.find_spec(package) if package.isidentifier() else None
    except ValueError:  # a module that was made by hand
        return None


def _has_submodule(spec: Optional[importlib.machinery.ModuleSpec], name: str) -> bool:
    """Whether a package has the submodule `name`, ``a.b``, found without executing any of it."""
    for part in name.split("."):
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = importlib.machinery.PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec is not None


def _check_options(options: Dict[str, Any], valid: Sequence[str], where: str) -> None:
    for name in options:
        if name not in valid:
            raise unknown("option", name, valid, where=where)
