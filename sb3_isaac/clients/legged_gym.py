"""Environments of the legged_gym family (legged_gym, unitree_rl_gym, humanoid-gym) as a TensorEnv."""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.errors import UserError, mapping, number_above_zero, truth, unknown, whole_number
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.gymcompat.install import install

ADAPTER_OPTIONS = ("action_bound", "stagger", "privileged")
OPTIONS = (*ADAPTER_OPTIONS, "sim", "device", "seed", "threads", "cfg")
_MEMBERS = ("step", "reset", "num_envs", "num_obs", "num_actions", "device", "episode_length_buf", "max_episode_length")


def looks_like_one(env: object) -> bool:
    """Whether `env` has what this adapter needs of an environment of the family."""
    return all(hasattr(env, name) for name in _MEMBERS)


class LeggedGymEnv:
    """A live environment ``env`` whose ``step`` gives ``(obs, privileged_obs or None, reward, reset, extras)``.

    ============== ================== ============================================================================
    group          shape              what
    ============== ================== ============================================================================
    policy         (N, num_obs)       the client's observations
    critic         (N, k)             its privileged observations, where it has them
    ============== ================== ============================================================================

    Actions are bounded, since Stable-Baselines3 clips to the action space and the family's own ±100 bounds nothing:
    the box is ± the smaller of `action_bound` and the client's ``clip_actions``.

    A time-out is what ``extras["time_outs"]`` says of an environment that was reset in this very step: the entry is
    absent before the first reset, and left over from the last one otherwise.

    The family resets inside ``step`` and so loses the last observation of an episode. ``final_obs`` there is the
    observation that the last action was chosen on, one control step before: what a time-out is bootstrapped with is
    V(s_t) in place of V(s_{t+1}), as rsl_rl does it. This is said once, as a warning.

    The client's own state cannot be saved: a resumed run begins with a reset. Its random numbers are torch's, numpy's
    and Python's global ones, which ``reset(seed)`` seeds.

    :param env: the client's environment.
    :param action_bound: largest action either way, in the client's units.
    :param stagger: begin each robot's first episode at a random point, so that time-outs do not come all at once.
    :param privileged: show the privileged observations.
    """

    physics_s = 0.0
    render_mode: Optional[str] = None

    def __init__(self, env: Any, action_bound: float = 10.0, stagger: bool = True, privileged: bool = True) -> None:
        self.client, self.stagger = env, truth("stagger", stagger)
        self.num_envs, self.device = int(env.num_envs), torch.device(env.device)
        self.max_steps = int(env.max_episode_length) + 1
        """Control steps of the longest episode."""
        self.action_bound = bound = min(number_above_zero("action_bound", action_bound), self._own_bound())
        self.action_space: spaces.Space = spaces.Box(-bound, bound, (int(env.num_actions),), np.float32)
        widths = {"policy": int(env.num_obs)}
        if truth("privileged", privileged) and getattr(env, "num_privileged_obs", None):
            widths["critic"] = int(env.num_privileged_obs)
        self.observation_space = spaces.Dict({group: spaces.Box(-np.inf, np.inf, (width,), np.float32)
                                              for group, width in widths.items()})
        self._obs, self._final_obs = ({group: torch.zeros(self.num_envs, width, device=self.device)
                                       for group, width in widths.items()} for _ in range(2))
        warnings.warn(f"{type(env).__name__} resets inside its step and loses the last observation of an episode: "
                      "time-outs are bootstrapped with the observation before it.", stacklevel=2)

    def _own_bound(self) -> float:
        normalization = getattr(getattr(self.client, "cfg", None), "normalization", None)
        return float(getattr(normalization, "clip_actions", float("inf")))

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`. The client makes one step with actions of 0, as it does for itself."""
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        obs, privileged = self.client.reset()
        if self.stagger:
            self.client.episode_length_buf.random_(0, self.max_steps - 1)
        return self._keep(obs, privileged)

    def step(self, actions: torch.Tensor) -> Step:
        """See :meth:`TensorEnv.step`."""
        shape = (self.num_envs, int(self.client.num_actions))
        if tuple(actions.shape) != shape:
            raise UserError(f"actions have shape {tuple(actions.shape)}: give {shape}.")
        for group, before in self._obs.items():
            self._final_obs[group].copy_(before)
        bound = self.action_bound
        obs, privileged, reward, reset, extras = self.client.step(actions.to(self.device).clamp(-bound, bound))
        over = reset.to(torch.bool)
        truncated = over & extras["time_outs"].to(torch.bool) if "time_outs" in extras else torch.zeros_like(over)
        self._keep(obs, privileged)
        for group, now in self._obs.items():
            torch.where(over[:, None], self._final_obs[group], now, out=self._final_obs[group])
        terminated = over & ~truncated
        return Step(self._obs, reward.to(torch.float32).clone(), terminated, truncated, self._final_obs,
                    {"fall": terminated})

    def _keep(self, obs: torch.Tensor, privileged: Optional[torch.Tensor]) -> Obs:
        """Copies: the client goes on writing its own buffers."""
        self._obs["policy"].copy_(obs)
        if "critic" in self._obs:
            if privileged is None:
                raise UserError(f"{type(self.client).__name__} announces {self.client.num_privileged_obs} privileged "
                                "observations and gives none: make the environment with privileged=False.")
            self._obs["critic"].copy_(privileged)
        return self._obs

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`; what the client has of it."""
        env = self.client
        facts: Dict[str, Any] = {"obs_table": {"obs": int(env.num_obs)}}
        if hasattr(env, "dof_names"):
            facts["joint_names"] = list(env.dof_names)
        if hasattr(env, "default_dof_pos"):
            facts["default_joint_pos"] = env.default_dof_pos.flatten().tolist()
        control = getattr(getattr(env, "cfg", None), "control", None)
        if control is not None and hasattr(control, "action_scale"):
            facts["action_scale"] = float(control.action_scale)
        if hasattr(env, "dt"):
            facts["control_dt"] = float(env.dt)
        return facts

    def render(self) -> None:
        """See :meth:`TensorEnv.render`; clients draw into a window of Isaac Gym's alone."""

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`: empty, for it cannot be saved."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        raise UserError(f"the state of {type(self.client).__name__} cannot be restored: begin with a reset.")

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        env = self.client
        if getattr(env, "gym", None) is not None and getattr(env, "sim", None) is not None:
            env.gym.destroy_sim(env.sim)
            env.sim = None


def make(package: str, task: str, num_envs: int, *, sim: str = "auto", device: str = "auto",
         seed: Optional[int] = None, threads: Optional[int] = None, cfg: Optional[Mapping[str, Any]] = None,
         **adapter: Any) -> LeggedGymEnv:
    """`num_envs` environments of a task that a client has registered, headless.

    :param package: ``legged_gym`` (legged_gym and unitree_rl_gym) or ``humanoid`` (humanoid-gym); it and the rsl_rl
        that it needs are found on ``PYTHONPATH``.
    :param sim, threads: see :func:`sb3_isaac.gymcompat.install`.
    :param device: of the simulation; ``auto`` is the CPU for the emulation, else ``cuda:0``.
    :param seed: in place of the client's own.
    :param cfg: values in place of those of the client's environment config, nested as there.
    :param adapter: options of :class:`LeggedGymEnv`.
    """
    which = install(sim, threads=threads)
    if device == "auto":
        device = "cpu" if which == "mujoco" else "cuda:0"
    registry, helpers = _import(package)
    if task not in registry.task_classes:
        raise unknown(f"task of {package}", task, registry.task_classes)
    env_cfg, train_cfg = registry.get_cfgs(task)
    _overwrite(env_cfg, mapping("cfg", cfg), f"the config of {package}:{task}")
    if seed is not None:
        env_cfg.seed = train_cfg.seed = whole_number("seed", seed, least=0)
    flags = ["--task", task, "--num_envs", str(num_envs), "--headless", "--sim_device", device, "--rl_device", device,
             "--pipeline", "cpu" if device == "cpu" else "gpu"]
    with _argv(flags):
        args = helpers.get_args()
    env, _ = registry.make_env(name=task, args=args, env_cfg=env_cfg)
    return LeggedGymEnv(env, **adapter)


def _import(package: str) -> Tuple[Any, Any]:
    """The client's task registry, filled, and its helpers."""
    try:
        importlib.import_module(f"{package}.envs")
        helpers = importlib.import_module(f"{package}.utils.helpers")
        return importlib.import_module(f"{package}.utils.task_registry").task_registry, helpers
    except ImportError as error:
        raise UserError(f"the client {package!r} cannot be imported ({error}): put the folders that hold it and the "
                        "packages it needs, such as rsl_rl, on PYTHONPATH.") from error


def _overwrite(cfg: Any, values: Mapping[str, Any], where: str) -> None:
    """Write `values` into a tree of classes or objects, whose names they must be."""
    for name, value in values.items():
        known: List[str] = [known for known in dir(cfg) if not known.startswith("_")]
        if name not in known:
            raise unknown("key", name, known, where)
        if isinstance(value, Mapping) and not isinstance(getattr(cfg, name), Mapping):
            _overwrite(getattr(cfg, name), value, f"{where}, {name}")
        else:
            setattr(cfg, name, value)


@contextlib.contextmanager
def _argv(flags: List[str]) -> Iterator[None]:
    """The family's programs read their arguments from ``sys.argv`` alone."""
    before = sys.argv
    sys.argv = [before[0], *flags]
    try:
        yield
    finally:
        sys.argv = before
