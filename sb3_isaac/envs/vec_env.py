"""``IsaacVecEnv``: a TensorEnv as a Stable-Baselines3 ``VecEnv``, stepped by numpy arrays or by tensors."""

from __future__ import annotations

import contextlib
import inspect
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Literal, Optional, Sequence, Type, Union, overload

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_isaac.clients import as_tensor_env, is_client, make_tensor_env
from sb3_isaac.contract.device_timer import DeviceTimer
from sb3_isaac.contract.errors import UserError, closed, whole_number
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv, check_observation_space, frames_per_second
from sb3_isaac.envs.statistics import RolloutStatistics

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sb3_isaac.tasks.options import LeggedId, LeggedOptions

_READ = ("metadata", "options", "observe", "report", "mirror", "render", "state_dict")
"""Methods of a TensorEnv that change nothing."""


class IsaacVecEnv(VecEnv):
    """Thousands of simulated robots as one SB3 ``VecEnv``.

    By numpy arrays it is SB3's own: ``reset()``, ``step(actions)``. What they return is a copy, so it may be kept; the
    ``infos`` of finished episodes hold ``terminal_observation`` (the true last one), ``TimeLimit.truncated``,
    ``episode`` (``r``, ``l``, ``t``, as SB3's Monitor writes them) and ``is_success`` where the task logs that.
    By tensors, ``reset_tensor()`` and ``step_tensor(actions)`` give the task's own tensors on its device.

    The observation space is a Box when the task has the group ``policy`` alone, else a Dict of groups.

    :param env: an environment id, a client's task (``legged_gym:go2``), any
        :class:`~sb3_isaac.contract.tensor_env.TensorEnv`,
        or a live environment of a client, such as legged_gym, IsaacGymEnvs, mjlab or Isaac Lab (see
        :mod:`sb3_isaac.clients`).
    :param num_envs: number of robots; 4096 for an id unless given, a TensorEnv brings its own.
    :param sim: ``auto``, ``mujoco``, ``mujoco_warp`` or ``isaacgym``.
    :param device: where the simulation's tensors live.
    :param seed: of the first reset, as in ``seed(seed)``.
    :param task_options: what the task's constructor takes: ``robot``, ``reward``, ``command``, ...
    :raises UserError: for an unknown id, simulator or option, naming the nearest valid ones.
    """

    # The first is for editors, which then complete the options of the quadruped tasks and show their types.
    @overload
    def __init__(self, env: LeggedId = ..., num_envs: Optional[int] = None,
                 sim: Literal["auto", "mujoco", "mujoco_warp", "isaacgym"] = "auto",
                 device: str = "auto", seed: Optional[int] = None, **task_options: Unpack[LeggedOptions]) -> None: ...

    @overload
    def __init__(self, env: Union[str, TensorEnv, object] = ..., num_envs: Optional[int] = None, sim: str = "auto",
                 device: str = "auto", seed: Optional[int] = None, **task_options: Any) -> None: ...

    def __init__(self, env: Union[str, TensorEnv, object] = "IsaacQuadrupedFlat-v0", num_envs: Optional[int] = None,
                 sim: str = "auto", device: str = "auto", seed: Optional[int] = None, **task_options: Any) -> None:
        options = dict(task_options)
        if isinstance(env, str):
            if sim != "auto":
                task_options["sim"] = sim
            if device != "auto":
                task_options["device"] = device
            if seed is not None and is_client(env):
                task_options.setdefault("seed", seed)  # clients draw while they are made, before the first reset
            self.env = make_tensor_env(env, 4096 if num_envs is None else num_envs, **task_options)
        else:
            same_size = num_envs in (None, getattr(env, "num_envs", None))
            asked = {"num_envs": not same_size, "sim": sim != "auto", "device": device != "auto"}
            self.env = as_tensor_env(env, [name for name, given in asked.items() if given], **task_options)
            check_observation_space(self.env, type(self.env).__name__)
        groups = self.env.observation_space.spaces
        self._only_policy = set(groups) == {"policy"}
        observation_space = groups["policy"] if self._only_policy else self.env.observation_space
        super().__init__(self.env.num_envs, observation_space, self.env.action_space)
        metadata: Dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": frames_per_second(self.env)}
        self.metadata = metadata
        self._made_of = (dict(env=env, num_envs=num_envs, sim=sim, device=device, seed=seed, **options)
                         if isinstance(env, str) else None)
        self._closed = False
        self.device = self.env.device
        self._timer = DeviceTimer(self.device)
        self.last_step: Optional[Step] = None
        """What the last step gave, as live tensors; callbacks read its ``log``."""
        self._actions = torch.zeros(0)
        self._start = time.time()
        self.statistics = RolloutStatistics(self.num_envs, self.device, self.env.logged)
        """Means over all environments, steps and finished episodes, whether stepped by arrays or by tensors."""
        if seed is not None:
            self.seed(seed)

    # ---- by tensors

    def reset_tensor(self) -> Obs:
        """Start all episodes; live tensors {group: (N, k)}. A seed given before acts now."""
        self._check_open()
        seed = self._seeds[0]
        self._reset_seeds()
        self._reset_options()
        obs = self.env.reset(seed=seed)
        self.statistics.begin(obs)
        self.last_step = None
        return obs

    def step_tensor(self, actions: torch.Tensor) -> Step:
        """One control step with actions (N, ...) on ``device``; live tensors."""
        self._check_open()
        with self._timer:
            self.last_step = self.env.step(actions)
        self.statistics.add(self.last_step, actions)
        return self.last_step

    @contextlib.contextmanager
    def measuring_what_is_logged(self) -> Iterator[None]:
        """In the block ``Step.log`` holds those measures alone that the statistics read, unless others were asked for
        by ``env.measured``: a report's take a part of a task's time."""
        asked = getattr(self.env, "measured", None)
        if asked is None:
            self.env.measured = self.statistics.reads
        try:
            yield
        finally:
            self.env.measured = asked

    @property
    def step_s(self) -> float:
        """Seconds spent in ``step`` since construction, physics included; reading waits for a GPU."""
        return self._timer.seconds

    def check_finite(self) -> None:
        """Raise NotFinite where an action, observation or reward of this rollout was NaN or infinite, and say which."""
        self.statistics.check_finite(self.env.metadata().get("obs_table", {}))

    # ---- by numpy arrays

    @torch.no_grad()
    def reset(self) -> VecEnvObs:
        """The first observations (N, k), or a dict of them."""
        return self._numpy(self.reset_tensor())

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (N, ...) for ``step_wait``."""
        shape = (self.num_envs, *(self.action_space.shape or ()))
        if np.shape(actions) != shape:
            raise UserError(f"actions have shape {np.shape(actions)}: give one action for each of the "
                            f"{self.num_envs} environments, {shape}.")
        self._actions = torch.as_tensor(np.asarray(actions, dtype=self.action_space.dtype), device=self.device)

    @torch.no_grad()
    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards, dones and infos of the step begun by ``step_async``."""
        step = self.step_tensor(self._actions)
        dones = step.terminated | step.truncated
        return self._numpy(step.obs), step.reward.cpu().numpy().copy(), dones.cpu().numpy(), self.infos(step)

    def infos(self, step: Step) -> List[Dict[str, Any]]:
        """A dict for each environment, as SB3 wants them of the last `step`; filled for finished episodes only."""
        dones = step.terminated | step.truncated
        infos: List[Dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ids = dones.nonzero().flatten()
        if len(ids) == 0:
            return infos
        final = {name: group[ids].cpu().numpy() for name, group in step.final_obs.items()}
        truncated = step.truncated[ids].tolist()
        success = step.log["is_success"][ids].tolist() if "is_success" in step.log else None
        diverged = step.log["bad_world"][ids].tolist() if "bad_world" in step.log else [False] * len(ids)
        returns = self.statistics.episode_return[ids].tolist()
        lengths = self.statistics.episode_length[ids].tolist()
        now = round(time.time() - self._start, 6)
        for k, i in enumerate(ids.tolist()):
            last = {name: group[k] for name, group in final.items()}
            infos[i] = {"terminal_observation": last["policy"] if self._only_policy else last,
                        "TimeLimit.truncated": truncated[k]}
            if success is not None:
                infos[i]["is_success"] = success[k]
            if diverged[k]:
                infos[i]["bad_world"] = True
            else:
                infos[i]["episode"] = {"r": returns[k], "l": lengths[k], "t": now}
        return infos

    def _numpy(self, obs: Obs) -> VecEnvObs:
        """Copies: SB3 keeps an observation over the next step, which writes the live tensors."""
        arrays = {name: group.cpu().numpy().copy() for name, group in obs.items()}
        return arrays["policy"] if self._only_policy else arrays

    # ---- the rest of VecEnv's contract

    def change_options(self, **options: Any) -> None:
        """Other values of the task's ``SOFT_OPTIONS``; ``reset()`` then begins as if it had been made with them."""
        self.env.change_options(**options)
        # A weight of 0 takes its term out of the log.
        self.statistics = RolloutStatistics(self.num_envs, self.device, self.env.logged)

    def seed(self, seed: Optional[int] = None) -> Sequence[Optional[int]]:
        """Of the next reset; None draws one."""
        return super().seed(None if seed is None else whole_number("seed", seed, least=0))

    def close(self) -> None:
        """Release the simulation; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.env.close()

    def __reduce__(self) -> Any:
        """Copied or pickled, it is made anew by the same arguments, and goes on from the same state."""
        if self._made_of is None:
            raise UserError(f"an IsaacVecEnv of a {type(self.env).__name__} that was made before cannot be copied or "
                            "pickled, for how to make it again is not known: make it by an id, see register_task.")
        return _made_again, (self._made_of, None if self._closed else self.state_dict(), self._seeds, self._options)

    @property
    def spec(self) -> Any:
        """What Gymnasium has registered under the id that this was made by, or None."""
        return None if self._made_of is None else gym.registry.get(self._made_of["env"])

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self)

    def get_images(self) -> Sequence[Optional[np.ndarray]]:
        """One picture of the scene, (h, w, 3) uint8; needs ``render_mode="rgb_array"``."""
        self._check_open()
        return [self.env.render()]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> List[Any]:
        """The attribute for each of `indices`: its row where it is a tensor or array of one row an environment."""
        value = getattr(self if attr_name == "spec" else self.env, attr_name)
        return [self._row(value, i) for i in self._rows(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Write rows of a per-environment tensor, or the attribute of all environments at once."""
        if attr_name in ("num_envs", "device"):
            raise UserError(f"{attr_name} is fixed when an IsaacVecEnv is made: make another one.")
        current = self._per_env(getattr(self.env, attr_name, None))
        rows = self._rows(indices)
        if current is not None:
            current[rows] = torch.as_tensor(value, dtype=current.dtype, device=current.device)
        elif len(set(rows)) == self.num_envs:
            setattr(self.env, attr_name, value)
        else:
            raise UserError(f"attribute {attr_name!r} is shared by all environments: set it without indices.")

    def _per_env(self, value: Any) -> Optional[torch.Tensor]:
        """`value` if it is a tensor with a row for each environment."""
        rows = isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == self.num_envs
        return value if rows else None

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None,
                   **method_kwargs: Any) -> List[Any]:
        """Call a method of the one object that all environments are.

        Returns the result for each of `indices`: its row where it is a tensor of one row an environment. With `indices`
        of some environments alone, the method acts on these: it has to be ``reset``, to have a parameter ``mask``
        (N,) bool, or to be one of a TensorEnv's that change nothing.
        """
        rows = self._rows(indices)
        method = getattr(self.env, method_name)
        if method_name == "change_options" and len(set(rows)) == self.num_envs:
            method = self.change_options  # which begins the statistics anew as well
        if len(set(rows)) == self.num_envs or (rows and method_name in _READ):
            result = method(*method_args, **method_kwargs)
            if method_name == "reset":
                self.statistics.begin(result)
        elif not rows:
            return []
        else:
            result = self._of_some(method_name, method, rows, method_args, method_kwargs)
        return [self._row(result, i) for i in rows]

    def _of_some(self, name: str, method: Any, rows: List[int], args: Any, kwargs: Dict[str, Any]) -> Any:
        """Call a method of some environments alone."""
        mask = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        mask[rows] = True
        if name == "reset" and not args and not kwargs:
            self.statistics.restart(mask)
            return self.env.restart(mask)
        if "mask" not in inspect.signature(method).parameters or "mask" in kwargs:
            raise UserError(f"{name} of {type(self.env).__name__} acts on all {self.num_envs} environments, and "
                            f"indices names {len(rows)} of them: call it without indices, or give it a parameter mask.")
        return method(*args, **kwargs, mask=mask)

    def _rows(self, indices: VecEnvIndices) -> List[int]:
        """`indices` as a list of numbers from 0 to N − 1; negative ones count from the end, as Python's do."""
        rows = [int(i) for i in self._get_indices(indices)]
        if any(not -self.num_envs <= i < self.num_envs for i in rows):
            raise UserError(f"indices are {indices}: give numbers from 0 to {self.num_envs - 1}, one for each "
                            "environment that is meant.")
        return [i % self.num_envs for i in rows]

    def _row(self, value: Any, i: int) -> Any:
        """Environment `i`'s part of a tensor with a row for each, or of a dict of them; else the value itself."""
        if isinstance(value, dict):
            return {key: self._row(part, i) for key, part in value.items()}
        table = self._per_env(value)
        return value if table is None else table[i]

    def env_is_wrapped(self, wrapper_class: Type[gym.Wrapper], indices: VecEnvIndices = None) -> List[bool]:
        """True for SB3's Monitor alone, whose ``episode`` infos this VecEnv makes itself."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def state_dict(self) -> Dict[str, Any]:
        """Environment, random state and running episodes, as tensors and builtins."""
        return {"env": self.env.state_dict(), **self.statistics.state_dict()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from ``state_dict()`` in place of a reset."""
        self.env.load_state_dict(state["env"])
        self._reset_seeds()
        self.statistics.load_state_dict(state)


def _made_again(made_of: Dict[str, Any], state: Optional[Dict[str, Any]], seeds: List[Optional[int]],
                options: List[Dict[str, Any]]) -> IsaacVecEnv:
    """A copy of an IsaacVecEnv; a closed one where there is no state."""
    env = IsaacVecEnv(**made_of)
    if state is None:
        env.close()
    else:
        env.load_state_dict(state)
    env._seeds, env._options = list(seeds), list(options)
    return env


def unwrap(env: VecEnv) -> IsaacVecEnv:
    """The IsaacVecEnv below SB3's wrappers; raises UserError where there is none."""
    inner = env.unwrapped
    if not isinstance(inner, IsaacVecEnv):
        raise UserError(f"this needs an IsaacVecEnv below its wrappers and was given a {type(inner).__name__}.")
    return inner
