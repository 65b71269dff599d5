"""Tasks as Gymnasium environments: ``IsaacEnv`` for one robot, ``IsaacVectorEnv`` for many."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from sb3_isaac.contract.errors import UserError, closed, whole_number
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv, frames_per_second
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks import task_options as task_options_of

Array = Union[np.ndarray, Dict[str, np.ndarray]]
"""The group ``policy`` where it is the only one, else a dict of groups."""

RENDERING: Dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}
"""Of the classes; an environment's own ``render_fps`` is that of its control steps."""
# Gymnasium 1.0 knows no modes, and no key to declare one with.
_AUTORESET = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP} \
    if hasattr(gymnasium.vector, "AutoresetMode") else {}


class IsaacEnv(gymnasium.Env[Array, np.ndarray]):
    """One robot as a Gymnasium ``Env``; ``gymnasium.make("sb3_isaac:<id>")`` makes one.

    ``info`` holds the measures of the step, such as ``reward/<term>``. An episode always begins at its first step
    unless ``stagger=True`` is asked for.

    :param env_id: one of ``sb3_isaac.contract.ids.TASKS``.
    :param render_mode: ``rgb_array`` or None.
    :param task_options: what the task's constructor takes.
    :raises UserError: for an unknown id or option, naming the nearest valid ones.
    """

    metadata: Dict[str, Any] = RENDERING

    def __init__(self, env_id: str, render_mode: Optional[str] = None, **task_options: Any) -> None:
        self._made_of: Dict[str, Any] = {"env_id": env_id, "render_mode": render_mode, **task_options}
        if "num_envs" in task_options:
            raise UserError(f"num_envs={task_options['num_envs']} was given to {env_id} as one robot: "
                            "use gymnasium.make_vec or IsaacVecEnv for several.")
        if "stagger" in task_options_of(env_id):
            task_options.setdefault("stagger", False)
        if render_mode is not None:
            task_options["render_mode"] = render_mode
        self.env = make_task(env_id, 1, **task_options)
        self.render_mode, self.metadata = render_mode, {**RENDERING, "render_fps": frames_per_second(self.env)}
        self.observation_space = _visible_space(self.env)
        self.action_space = self.env.action_space
        self._closed = False

    @torch.no_grad()
    def reset(self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
              ) -> Tuple[Array, Dict[str, Any]]:
        """A new episode's first observation (k,) and an empty info; without a seed the random stream goes on."""
        if self._closed:
            raise closed(self)
        seed = None if seed is None else whole_number("seed", seed, least=0)
        super().reset(seed=seed)
        return _row(self.env.reset(seed=seed), 0), {}

    @torch.no_grad()
    def step(self, action: np.ndarray) -> Tuple[Array, float, bool, bool, Dict[str, Any]]:
        """One control step with an action (a,); at an episode's end the observation is its last one."""
        if self._closed:
            raise closed(self)
        step = self.env.step(_tensor(action, self.action_space, self.env.device)[None])
        info = {name: value[0].item() if value.dim() == 1 else value[0].cpu().numpy().copy()
                for name, value in step.log.items()}
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        obs = step.final_obs if terminated or truncated else step.obs
        return _row(obs, 0), float(step.reward[0]), terminated, truncated, info

    def render(self) -> Any:
        """An image (h, w, 3) uint8, or None without a render mode."""
        return self.env.render()

    def close(self) -> None:
        """Release the simulation; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.env.close()

    def __reduce__(self) -> Any:
        """Pickled or copied, it is made anew with the same arguments, as Gymnasium's ``EzPickle`` does it."""
        return functools.partial(type(self), **self._made_of), ()


class IsaacVectorEnv(VectorEnv[Array, np.ndarray, np.ndarray]):
    """N robots as a Gymnasium ``VectorEnv``; ``gymnasium.make_vec(<id>, num_envs=N)`` makes one.

    Autoreset mode is SAME_STEP, with ``infos`` as in Gymnasium's own ``SyncVectorEnv``: where an episode ended,
    ``final_obs`` (N,) object and ``final_info`` hold its last observation and measures, ``_final_obs`` (N,) bool says
    where that is, and the measures at the top level leave those rows out.
    As in the task, first episodes are of random length unless ``stagger=False``.

    :param env_id: one of ``sb3_isaac.contract.ids.TASKS``.
    :param num_envs: N.
    :param render_mode: ``rgb_array`` or None.
    :param task_options: what the task's constructor takes.
    :raises UserError: for an unknown id or option, naming the nearest valid ones.
    """

    metadata: Dict[str, Any] = {**RENDERING, **_AUTORESET}

    def __init__(self, env_id: str, num_envs: int = 1, render_mode: Optional[str] = None, **task_options: Any) -> None:
        self._made_of: Dict[str, Any] = {"env_id": env_id, "num_envs": num_envs, "render_mode": render_mode,
                                         **task_options}
        if render_mode is not None:
            task_options["render_mode"] = render_mode
        self.env = make_task(env_id, num_envs, **task_options)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {**type(self).metadata, "render_fps": frames_per_second(self.env)}
        self.single_observation_space = _visible_space(self.env)
        self.single_action_space = self.env.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @torch.no_grad()
    def reset(self, *, seed: Union[int, Sequence[Optional[int]], None] = None,
              options: Optional[Dict[str, Any]] = None) -> Tuple[Array, Dict[str, Any]]:
        """First observations (N, k) and empty infos. One seed is enough for all robots: of N the first acts."""
        self._check_open()
        if options and "reset_mask" in options:
            raise UserError("reset was given a reset_mask: these robots start their next episode by themselves, "
                            "so reset all of them or none.")
        if isinstance(seed, (list, tuple, np.ndarray)):
            if len(seed) != self.num_envs:
                raise UserError(f"reset was given {len(seed)} seeds for {self.num_envs} robots: give one seed, or one "
                                "for each.")
            seed = seed[0]
        first = None if seed is None else whole_number("seed", seed, least=0)
        super().reset(seed=first)
        return _rows(self.env.reset(seed=first)), {}

    @torch.no_grad()
    def step(self, actions: np.ndarray) -> Tuple[Array, np.ndarray, np.ndarray, np.ndarray, Dict[str, Any]]:
        """One control step with actions (N, a): observations (N, k), rewards, terminations, truncations (N,), infos."""
        self._check_open()
        step = self.env.step(_tensor(actions, self.action_space, self.env.device))
        terminated, truncated = step.terminated.cpu().numpy().copy(), step.truncated.cpu().numpy().copy()
        return (_rows(step.obs), step.reward.cpu().numpy().astype(np.float64), terminated, truncated,
                _infos(step, terminated | truncated))

    def render(self) -> Optional[Tuple[Any, ...]]:
        """A picture (h, w, 3) uint8 of each robot, as Gymnasium's wrappers want it; None without a render mode.

        Of a task whose ``render`` takes no ``robot``, one picture of the whole scene.
        """
        self._check_open()
        if self.render_mode is None:
            return None
        if "robot" not in inspect.signature(self.env.render).parameters:
            return (self.env.render(),)
        draw: Any = self.env.render
        return tuple(draw(robot=i) for i in range(self.num_envs))

    def _check_open(self) -> None:
        if self.closed:
            raise closed(self)

    def __reduce__(self) -> Any:
        """See :meth:`IsaacEnv.__reduce__`."""
        return functools.partial(type(self), **self._made_of), ()

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulation."""
        self.env.close()


def _visible_space(env: TensorEnv) -> spaces.Space:
    groups = env.observation_space.spaces
    return groups["policy"] if set(groups) == {"policy"} else env.observation_space


def _tensor(action: np.ndarray, space: spaces.Space, device: torch.device) -> torch.Tensor:
    if np.shape(action) != space.shape:
        raise UserError(f"the action has shape {np.shape(action)}: give {space.shape}.")
    # The actions of a Box as float32, of a Discrete as its integers.
    dtype = np.float32 if space.dtype is None or np.issubdtype(space.dtype, np.floating) else space.dtype
    return torch.as_tensor(np.asarray(action, dtype=dtype), device=device)


def _rows(obs: Obs) -> Array:
    arrays = {name: group.cpu().numpy().copy() for name, group in obs.items()}
    return arrays["policy"] if set(arrays) == {"policy"} else arrays


def _row(obs: Obs, i: int) -> Array:
    return _rows({name: group[i] for name, group in obs.items()})


def _infos(step: Step, done: np.ndarray) -> Dict[str, Any]:
    """Measures of episodes that go on at the top level, those of finished ones below ``final_info``."""
    log = {name: value.cpu().numpy() for name, value in step.log.items()}
    infos: Dict[str, Any] = {}
    if done.any():
        infos["final_obs"] = np.full(len(done), None, dtype=object)
        for i in np.flatnonzero(done):
            infos["final_obs"][i] = _row(step.final_obs, int(i))
        infos["final_info"] = _masked(log, done)
        infos["_final_obs"], infos["_final_info"] = done.copy(), done.copy()
    if not done.all():
        infos.update(_masked(log, ~done))
    return infos


def _masked(log: Dict[str, np.ndarray], rows: np.ndarray) -> Dict[str, np.ndarray]:
    """Copies that are 0 outside of `rows`, each with its mask; scalars become float64, as Gymnasium makes them."""
    infos: Dict[str, np.ndarray] = {}
    for name, value in log.items():
        scalar = value.ndim == 1 and np.issubdtype(value.dtype, np.floating)
        infos[name] = value.astype(np.float64 if scalar else value.dtype)
        infos[name][~rows] = 0
        infos[f"_{name}"] = rows.copy()
    return infos
