"""``task_state.pt``: what SB3's zip leaves out and a training run needs to go on exactly where it stopped."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_isaac.contract.errors import UserError, brief
from sb3_isaac.contract.records import Check, anything, list_of, mapping_of, record, refused, whole
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.policy.torch_files import read_torch


def task_state(model: Any) -> Dict[str, Any]:
    """The state of `model` that is not in its zip, in builtins and CPU tensors only.

    | key | what |
    |---|---|
    | num_timesteps | transitions so far |
    | last_obs | observation (N, ...) that the next action is for, normalised; or a dict of them |
    | last_episode_starts | (N,) whether that observation is the first of its episode |
    | episodes | SB3's buffer of the last episodes |
    | successes | SB3's buffer of whether they succeeded, 0 to 1 each |
    | env | ``state_dict()`` of the IsaacVecEnv |
    | random | states of the global random generators |
    | log | values that wait for the next row of the log: the last update's, and an evaluation's |
    | discounted_returns | (N,) of VecNormalize, if there is one |
    | matrix_libraries | which library computes which product, and activations in which way, if it was measured |
    | last_original_obs | last_obs as an off-policy algorithm keeps it, not normalised |
    | lstm_states | of the actor and of the critic, hidden and cell, (layers, N, width) each, if it is recurrent |
    """
    env: VecEnv = model.get_env()
    normalizer = unwrap_vec_normalize(env)
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "num_timesteps": model.num_timesteps,
        "last_obs": _tensors(model._last_obs),
        "last_episode_starts": torch.as_tensor(model._last_episode_starts),
        "episodes": [{key: float(value) for key, value in info.items()} for info in model.ep_info_buffer or ()],
        "successes": [float(success) for success in model.ep_success_buffer or ()],
        "env": unwrap(env).state_dict(),
        "random": {"torch": torch.get_rng_state(), "python": _lists(random.getstate()),
                   "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                   "numpy": [str(kind), torch.as_tensor(np.asarray(keys, dtype=np.int64)), int(position),
                             int(has_gauss), float(gauss)]},
        "log": _numbers(model.logger.name_to_value) if hasattr(model, "_logger") else {},
    }
    if normalizer is not None:
        state["discounted_returns"] = torch.as_tensor(normalizer.returns)
    if hasattr(model, "matrix_libraries"):
        state["matrix_libraries"] = model.matrix_libraries.state_dict()
    if getattr(model, "_last_original_obs", None) is not None:
        state["last_original_obs"] = _tensors(model._last_original_obs)
    if getattr(model, "_last_lstm_states", None) is not None:
        state["lstm_states"] = [list(of) for of in model._last_lstm_states]
    on_cpu: Dict[str, Any] = to_cpu(state)
    return on_cpu


def load_task_state(path: Path) -> Dict[str, Any]:
    """What :func:`task_state` gave, from a file that any device wrote; loading it executes nothing.

    :raises UserError: when it is another kind of file.
    """
    return record("task_state.pt", read_torch(path, "a task_state.pt"), _FIELDS,
                  needed=[key for key in _FIELDS if key not in ("log", "successes")])


def _tensor(name: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise refused(name, value, "a tensor")
    return value


def _observation(name: str, value: Any) -> Any:
    return _tensor(name, value) if isinstance(value, torch.Tensor) else mapping_of(_tensor)(name, value)


def _float(name: str, value: Any) -> float:
    if type(value) is not float:
        raise refused(name, value, "a float")
    return value


_FIELDS: Dict[str, Check] = {
    "num_timesteps": whole(), "last_obs": _observation, "last_episode_starts": _tensor,
    "episodes": list_of(mapping_of(_float)), "successes": list_of(_float), "log": mapping_of(anything),
    "env": lambda name, value: record(name, value, {"env": mapping_of(anything)}, needed=("env",)),
    "random": lambda name, value: record(name, value, {
        "torch": _tensor, "python": list_of(anything, 3), "cuda": list_of(_tensor), "numpy": list_of(anything, 5),
    }, needed=("torch", "python", "cuda", "numpy")),
}


def restore_task_state(model: Any, state: Mapping[str, Any]) -> None:
    """Put ``task_state(model)`` back, so that ``learn(reset_num_timesteps=False)`` goes on without a reset.

    Tensors go to the devices where `model` and its environment keep theirs. Where the environment could not save its
    own state (an empty ``state_dict()``), the environment is reset.
    """
    state = to_cpu(state)
    env: VecEnv = model.get_env()
    _check_shapes(state, env)
    has_env_state = bool(state["env"]["env"])
    if has_env_state:
        unwrap(env).load_state_dict(state["env"])
    normalizer = unwrap_vec_normalize(env)
    if normalizer is not None and "discounted_returns" in state:
        normalizer.returns = state["discounted_returns"].numpy().copy()
    if hasattr(model, "matrix_libraries"):
        model.matrix_libraries.load_state_dict(state.get("matrix_libraries", {}))
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(state.get("successes", ()), maxlen=model._stats_window_size)
    # As numpy arrays, which stock SB3 expects and sb3_isaac.PPO moves to its device; SB3 resets where there is None.
    model._last_obs = _arrays(state["last_obs"]) if has_env_state else None
    model._last_episode_starts = state["last_episode_starts"].numpy().copy()
    if "last_original_obs" in state:
        model._last_original_obs = _arrays(state["last_original_obs"])
    if "lstm_states" in state:
        moved = [tuple(part.to(model.device) for part in of) for of in state["lstm_states"]]
        model._last_lstm_states = type(model._last_lstm_states)(*moved)
    torch.set_rng_state(state["random"]["torch"])
    if len(state["random"]["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    kind, keys, *rest = state["random"]["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["random"]["python"]
    random.setstate((version, tuple(internal), gauss))


def _check_shapes(state: Mapping[str, Any], env: VecEnv) -> None:
    """Refuse the observations of another environment, or of another number of them."""
    def shapes(value: Any) -> Any:
        return {k: _shape(v) for k, v in value.items()} if isinstance(value, Mapping) else _shape(value)

    space: Any = env.observation_space
    expected = ({key: (env.num_envs, *(group.shape or ())) for key, group in space.spaces.items()}
                if isinstance(space, spaces.Dict) else (env.num_envs, *(space.shape or ())))
    for name, wanted in (("last_obs", expected), ("last_episode_starts", (env.num_envs,))):
        if shapes(state[name]) != wanted:
            raise UserError(f"its {name} has shape {brief(shapes(state[name]))} and the run has {brief(wanted)}")


def _shape(tensor: torch.Tensor) -> Tuple[int, ...]:
    return tuple(tensor.shape)


def to_cpu(value: Any) -> Any:
    """`value` with every tensor inside its dicts, lists and tuples on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: to_cpu(item) for key, item in value.items()}
    return type(value)(map(to_cpu, value)) if type(value) in (list, tuple) else value


def _lists(value: Any) -> Any:
    """`value` with its tuples as lists."""
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _numbers(values: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value if isinstance(value, int) else float(value) for key, value in values.items()
            if isinstance(value, (int, float, np.number))}


def _tensors(obs: Any) -> Any:
    return {k: torch.as_tensor(v) for k, v in obs.items()} if isinstance(obs, dict) else torch.as_tensor(obs)


def _arrays(obs: Any) -> Any:
    return {k: v.numpy().copy() for k, v in obs.items()} if isinstance(obs, dict) else obs.numpy().copy()
