"""Environments of Isaac Lab (https://github.com/isaac-sim/IsaacLab), manager-based or direct.

Written from Isaac Lab's source and documentation (2.x) and tested against a stand-in of its interface: Isaac Lab
cannot be installed without accepting Isaac Sim's licence, and has not been run.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Mapping, Optional

import gymnasium
import torch

from sb3_isaac.clients.config_tree import overwrite
from sb3_isaac.clients.lab import LabEnv
from sb3_isaac.contract.errors import UserError, mapping, unknown, whole_number

adapt = LabEnv
"""A live environment as a TensorEnv."""


def make(package: str, task: str, num_envs: int, *, device: str = "auto", seed: Optional[int] = None,
         cfg: Optional[Mapping[str, Any]] = None, **adapter: Any) -> LabEnv:
    """`num_envs` environments of a task that is registered with Gymnasium, headless.

    Isaac Sim is started first, where that has not happened.

    :param package: ``isaaclab`` or ``isaaclab_tasks``; tasks of other packages are given as live environments.
    :param device: ``auto`` is ``cuda:0`` where torch sees one, else the CPU.
    :param seed: in place of the task's own.
    :param cfg: values in place of those of the task's config, nested as there.
    :param adapter: options of :class:`LabEnv`.
    """
    if device == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        if "omni.kit.app" not in sys.modules:  # Isaac Sim has to run before the rest can be imported
            importlib.import_module("isaaclab.app").AppLauncher(headless=True, device=device)
        importlib.import_module("isaaclab_tasks")  # which registers them
        parse_env_cfg = importlib.import_module("isaaclab_tasks.utils").parse_env_cfg
    except (ImportError, AttributeError) as error:
        raise UserError(f"the client {package!r} cannot be imported ({error}): run this in the Python of an Isaac Lab "
                        "installation.") from error
    tasks = [name for name, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs]
    if task not in tasks:
        raise unknown(f"task of {package}", task, tasks)
    env_cfg = parse_env_cfg(task, device=device, num_envs=num_envs)
    overwrite(env_cfg, mapping("cfg", cfg), f"the config of {package}:{task}")
    if seed is not None:
        env_cfg.seed = whole_number("seed", seed, least=0)
    if hasattr(env_cfg, "compute_final_obs"):
        env_cfg.compute_final_obs = True
    return LabEnv(gymnasium.make(task, cfg=env_cfg), **adapter)
