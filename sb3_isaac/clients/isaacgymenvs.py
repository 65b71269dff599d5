"""Environments of IsaacGymEnvs, and of others that derive from its ``VecTask``, as a TensorEnv."""

from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np
import torch

from sb3_isaac.clients.adapter import ClientEnv, ClientStep, Groups, seed_generators
from sb3_isaac.contract.errors import UserError, mapping, truth, unknown, whole_number
from sb3_isaac.contract.tensor_env import Obs
from sb3_isaac.gymcompat.install import install
from sb3_isaac.gymcompat.numpy_names import restore_numpy_names


class VecTaskEnv(ClientEnv):
    """A live ``VecTask``, whose ``step`` gives ``({"obs", "states"?}, reward, reset, extras)``.

    ============== ================== ============================================================================
    group          shape              what
    ============== ================== ============================================================================
    policy         (N, num_obs)       ``obs``
    critic         (N, num_states)    ``states``, where the task has them
    ============== ================== ============================================================================

    Most tasks end a step with the true last observation and start the next episode in the step after, whose action
    then has no effect. Here those episodes start at once, by the task's own ``reset_idx`` and ``compute_observations``,
    so that each has its own first observation. Tasks that reset inside their step (AnymalTerrain) lose the last
    observation. Tasks whose ``reset_idx`` needs more than indices (ShadowHand, AllegroHand) start the next episode
    themselves, in the next step; its first observation is then the last one of the episode before.

    An episode ran out of time if it was as long as the task's longest when it ended: ``extras["time_outs"]`` knows
    nothing of tasks that reset inside their step.

    :param env: the task.
    :param action_bound: largest action either way; the task's own ``clipActions``, mostly 1, bounds it too.
    :param stagger: begin each robot's first episode at a random point, so that time-outs do not come all at once.
    :param privileged: show the states.
    """

    def __init__(self, env: Any, action_bound: float = 10.0, stagger: bool = True, privileged: bool = True) -> None:
        widths = {"policy": int(env.num_obs)}
        if truth("privileged", privileged) and int(env.num_states):
            widths["critic"] = int(env.num_states)
        clip, box = float(env.clip_actions), env.action_space
        self._told = False
        super().__init__(env, widths=widths, num_actions=int(env.num_actions), device=env.rl_device,
                         max_steps=int(env.max_episode_length),
                         control_dt=float(env.sim_params.dt) * env.control_freq_inv * getattr(env, "decimation", 1),
                         action_bound=action_bound, stagger=stagger,
                         own_bounds=(np.maximum(box.low, -clip), np.minimum(box.high, clip)))
        needed = [p for p in inspect.signature(env.reset_idx).parameters.values() if p.default is p.empty]
        self._starts_by_index = len(needed) == 1
        if not self._starts_by_index:
            warnings.warn(f"{type(env).__name__} cannot start single episodes by their indices: the first observation "
                          "of an episode is the last one of the episode before.", stacklevel=2)

    def _client_reset(self) -> Groups:
        """Two steps with actions of 0: in the first the task starts all episodes, as it does for itself; the second
        goes on from there, so that sensors do not tell of what was before."""
        for _ in range(2):
            self.client.reset_buf.fill_(1)
            obs = self.client.step(torch.zeros(self.num_envs, self._low.numel(), device=self.device))[0]
        if self._starts_by_index:
            return self._start(torch.ones(self.num_envs, dtype=torch.bool, device=self.client.device))
        return self._groups(obs)

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        task = self.client
        last_step = task.progress_buf + 1 >= task.max_episode_length - 1
        obs, reward, reset, extras = task.step(actions)
        over = reset != 0
        time_out = over & last_step.to(over.device)
        if "time_outs" in extras:
            time_out |= over & (extras["time_outs"] != 0)
        waits = over & (task.progress_buf > 0).to(over.device)  # to be started anew, where others were already
        now = self._groups(obs)
        final = {name: torch.where(waits[:, None], value, self._obs[name]) for name, value in now.items()}
        if self._starts_by_index and bool(waits.any()):
            reward, first = reward.clone(), self._start(waits.to(task.device))
            now = {name: torch.where(waits[:, None], first[name], value) for name, value in now.items()}
        elif not self._told and bool((over & ~waits).any()):
            self._told = True
            warnings.warn(f"{type(task).__name__} resets inside its step and loses the last observation of an episode: "
                          "time-outs are bootstrapped with the observation before it.", stacklevel=2)
        return ClientStep(now, reward, over, time_out, final)

    def _start(self, mask: torch.Tensor) -> Groups:
        """New episodes in the environments of `mask` (N,); the observations of all."""
        task, ids = self.client, mask.nonzero().flatten()
        task.reset_idx(ids)
        task.reset_buf[ids] = 0  # some tasks set it there
        if hasattr(task, "compute_observations"):
            task.compute_observations()
        obs = {"obs": task.obs_buf.clamp(-task.clip_obs, task.clip_obs).to(self.device)}
        return self._groups({**obs, "states": task.get_state()} if "critic" in self._obs else obs)

    def _groups(self, obs: Mapping[str, Any]) -> Groups:
        """By our names; in memory that the task does not write again, for it clamps into new tensors."""
        groups = {"policy": obs["obs"], **({"critic": obs["states"]} if "critic" in self._obs else {})}
        for name, value in groups.items():
            if not isinstance(value, torch.Tensor):
                raise UserError(f"{type(self.client).__name__} gives its observations {name!r} as a "
                                f"{type(value).__name__}: only tasks that put them into one tensor are supported.")
        return groups

    def _episode_lengths(self) -> torch.Tensor:
        lengths: torch.Tensor = self.client.progress_buf
        return lengths

    def restart(self, mask: torch.Tensor) -> Obs:
        """Start the episodes of `mask` (N,) bool anew, by the task's ``reset_idx``, and observe."""
        if not self._starts_by_index:
            return super().restart(mask)
        if bool(mask.any()):
            self._keep(self._start(mask.to(self.client.device)), mask)
        return self._obs

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        task = self.client
        if task.sim is not None:
            task.gym.destroy_sim(task.sim)
            task.sim = None


adapt = VecTaskEnv
"""A live environment as a TensorEnv."""


def make(package: str, task: str, num_envs: int, *, sim: str = "auto", device: str = "auto",
         seed: Optional[int] = None, threads: Optional[int] = None, cfg: Optional[Mapping[str, Any]] = None,
         **adapter: Any) -> VecTaskEnv:
    """`num_envs` environments of a task, headless, by the package's own configuration files and ``make``.

    :param package: ``isaacgymenvs``; it and the packages that it needs (hydra-core, omegaconf, gym, rl-games) are
        found on ``PYTHONPATH``.
    :param sim, threads: see :func:`sb3_isaac.gymcompat.install`.
    :param device: of simulation and learning; ``auto`` is the CPU for the emulation, else ``cuda:0``.
    :param seed: of the random numbers that are drawn while the environments are made.
    :param cfg: values in place of those of the task's YAML file, nested as there.
    :param adapter: options of :class:`VecTaskEnv`.
    """
    which = install(sim, threads=threads)
    if device == "auto":
        device = "cpu" if which == "mujoco" else "cuda:0"
    restore_numpy_names()  # np.Inf, which VecTask uses
    try:
        client = importlib.import_module(package)
        vec_task = importlib.import_module(f"{package}.tasks.base.vec_task")
        config = _config(Path(str(client.__file__)).parent / "cfg", task, num_envs, device, mapping("cfg", cfg))
    except ImportError as error:
        raise UserError(f"the client {package!r} cannot be imported ({error}): put the folders that hold it and the "
                        "packages it needs, such as hydra and rl_games, on PYTHONPATH.") from error
    vars(vec_task)["EXISTING_SIM"] = None  # or it would build these environments into the simulation that it made last
    if seed is not None:
        seed_generators(whole_number("seed", seed, least=0))
    env = client.make(seed=seed or 0, task=config.task_name, num_envs=num_envs, sim_device=device, rl_device=device,
                      graphics_device_id=-1, headless=True, force_render=False, cfg=config)
    return VecTaskEnv(env, **adapter)


def _config(folder: Path, task: str, num_envs: int, device: str, values: Mapping[str, Any]) -> Any:
    """The package's configuration, composed by Hydra; `values` are of its part ``task``."""
    hydra, omegaconf = importlib.import_module("hydra"), importlib.import_module("omegaconf")
    tasks = sorted(file.stem for file in (folder / "task").glob("*.yaml"))
    if task not in tasks:
        raise unknown("task of IsaacGymEnvs", task, tasks)
    overrides = [f"task={task}", f"num_envs={num_envs}", "headless=True", f"sim_device={device}",
                 f"rl_device={device}", f"pipeline={'cpu' if device == 'cpu' else 'gpu'}"]
    with hydra.initialize_config_dir(str(folder), version_base="1.1"):
        config = hydra.compose("config", overrides=overrides)
    try:
        config.task = omegaconf.OmegaConf.merge(config.task, dict(values))
    except omegaconf.errors.OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cfg does not fit the configuration of {task} ({reason}): give keys of its YAML file, nested "
                        "as there.") from error
    return config
