"""Whether a training fits the memory, told before it is allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List, Optional

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.clients import registered_id
from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.cores import processes_here
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.training.build import setting

SURELY_ENOUGH = 200_000
"""Bytes for each robot; where all have that much, nothing is measured."""
PROBE = 512
"""Robots of the simulation that is made to be measured."""


def available_bytes() -> Optional[int]:
    """Memory that this process may still take, of the machine and of its container; None where Linux is not asked."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        cached = next(int(line.split()[1]) for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
                      if line.startswith("inactive_file "))
        return free if most == "max" else min(free, int(most) - used + cached)
    except (OSError, ValueError, StopIteration):
        return free


def check_memory(config: TrainConfig) -> None:
    """Raise a UserError with the number of robots that fit, where those of `config` do not.

    Where that is in doubt, a small simulation is made and measured. Environments of other packages are not, since they
    may allow one simulation in a process.
    """
    available = available_bytes()
    available = None if available is None else available // processes_here()
    if available is None or config.n_envs * SURELY_ENOUGH < available or registered_id(config.env) is None:
        return
    each = bytes_for_each(config)
    if each * config.n_envs > available:
        raise UserError(f"{config.n_envs} robots need about {each * config.n_envs / 1e9:.1f} GB of memory, and "
                        f"{available / 1e9:.1f} GB are free: give at most --num-envs {max(1, int(available / each))}.")


def bytes_for_each(config: TrainConfig) -> float:
    """Bytes that each robot takes: of its simulation by the growth of the process, of the learner by arithmetic."""
    for count in (1, PROBE):  # the first brings in what does not depend on the number
        before = _resident_bytes()
        env = IsaacVecEnv(config.env, num_envs=count, seed=0, **config.env_kwargs)  # type: ignore[call-overload]
        env.step_tensor(torch.as_tensor(np.zeros((count, *(env.action_space.shape or ())), env.action_space.dtype),
                                        device=env.device))
        simulation = max(_resident_bytes() - before, 0) / count
        env.close()
    return simulation + learner_bytes(config, env.observation_space, env.action_space)


def learner_bytes(config: TrainConfig, observation_space: spaces.Space, action_space: spaces.Space) -> float:
    """Bytes for each robot of a rollout, its shuffled copy, and the layers' outputs and gradients for a minibatch.

    0 for algorithms without rollouts.
    """
    n_steps, batch_size = setting(config, "n_steps"), setting(config, "batch_size")
    if not isinstance(n_steps, int) or not isinstance(batch_size, int):
        return 0.0
    observed = sum(spaces.flatdim(space) * min(4, np.dtype(space.dtype).itemsize)
                   for space in _groups(observation_space))
    one_step = observed + 4 * (spaces.flatdim(action_space) + 6)  # and reward, value, advantage ...
    policy_kwargs: Any = config.algo_kwargs.get("policy_kwargs") or {}
    net_arch = policy_kwargs.get("net_arch", [64, 64])
    widths = (sum(map(sum, net_arch.values())) if isinstance(net_arch, dict) else 2 * sum(net_arch))
    return 2.0 * n_steps * one_step + min(1.0, batch_size / (n_steps * config.n_envs)) * n_steps * 4 * 3.0 * widths


def _groups(space: spaces.Space) -> List[Any]:
    return list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
