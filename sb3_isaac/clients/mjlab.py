"""Environments of mjlab (https://github.com/mujocolab/mjlab): Isaac Lab's interface on MuJoCo Warp."""

from __future__ import annotations

import importlib
from typing import Any, Mapping, Optional

import torch

from sb3_isaac.clients.adapter import ClientStep, Groups
from sb3_isaac.clients.config_tree import overwrite
from sb3_isaac.clients.lab import LabEnv
from sb3_isaac.contract.errors import UserError, mapping, unknown, whole_number
from sb3_isaac.contract.tensor_env import Obs


class MjlabEnv(LabEnv):
    """A live ``ManagerBasedRlEnv`` as a TensorEnv; see :class:`LabEnv` for groups and parameters.

    ``cfg.auto_reset`` is switched off: a step then ends with the true last observation, and this adapter resets the
    environments whose episode ended. That costs a forward pass and the observations once more in such a step.
    """

    def __init__(self, env: Any, action_bound: float = 10.0, stagger: bool = True, privileged: bool = True) -> None:
        super().__init__(env, action_bound, stagger, privileged)
        self.base.cfg.auto_reset = False

    def _keeps_final_obs(self) -> bool:
        return True

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        done = super()._client_step(actions)
        if not bool(done.over.any()):
            return done
        done = done._replace(reward=done.reward.clone(), final_obs={name: o.clone() for name, o in done.obs.items()})
        return done._replace(obs=self._start(done.over))

    def _start(self, mask: torch.Tensor) -> Groups:
        """New episodes in the environments of `mask` (N,); observations, which are drawn anew in the others too."""
        before = {name: value.clone() for name, value in self._groups(self.base.obs_buf).items()}
        first = self._groups(self.base.reset(env_ids=mask.nonzero().flatten())[0])
        return {name: torch.where(mask[:, None], first[name], before[name]) for name in first}

    def restart(self, mask: torch.Tensor) -> Obs:
        """Start the episodes of `mask` (N,) bool anew."""
        if bool(mask.any()):
            self._keep(self._start(mask), mask)
        return self._obs


adapt = MjlabEnv
"""A live environment as a TensorEnv."""


def make(package: str, task: str, num_envs: int, *, device: str = "auto", seed: Optional[int] = None,
         cfg: Optional[Mapping[str, Any]] = None, **adapter: Any) -> MjlabEnv:
    """`num_envs` environments of a task in mjlab's registry, which those of installed task packages are in, too.

    :param device: ``auto`` is ``cuda:0`` where torch sees one, else the CPU.
    :param seed: in place of a random one.
    :param cfg: values in place of those of the task's ``ManagerBasedRlEnvCfg``, nested as there.
    :param adapter: options of :class:`MjlabEnv`.
    """
    try:
        importlib.import_module(f"{package}.tasks")  # which registers them
        registry = importlib.import_module(f"{package}.tasks.registry")
        env_class = importlib.import_module(f"{package}.envs").ManagerBasedRlEnv
    except (ImportError, AttributeError) as error:
        raise UserError(f"the client {package!r} cannot be imported ({error}): install it, best in an environment of "
                        "its own (pip install mjlab).") from error
    if task not in registry.list_tasks():
        raise unknown(f"task of {package}", task, registry.list_tasks())
    env_cfg = registry.load_env_cfg(task)
    overwrite(env_cfg, mapping("cfg", cfg), f"the config of {package}:{task}")
    env_cfg.scene.num_envs = num_envs
    if seed is not None:
        env_cfg.seed = whole_number("seed", seed, least=0)
    if device == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    return MjlabEnv(env_class(cfg=env_cfg, device=device), **adapter)
