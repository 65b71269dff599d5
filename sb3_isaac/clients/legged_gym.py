"""Environments of the legged_gym family (legged_gym, unitree_rl_gym, humanoid-gym) as a TensorEnv."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import torch

from sb3_isaac.clients.adapter import ClientEnv, ClientStep, Groups
from sb3_isaac.clients.config_tree import overwrite, own_copy
from sb3_isaac.contract.errors import UserError, mapping, truth, unknown, whole_number
from sb3_isaac.contract.tensor_env import Obs
from sb3_isaac.gymcompat.install import install


class LeggedGymEnv(ClientEnv):
    """A live environment ``env`` whose ``step`` gives ``(obs, privileged_obs or None, reward, reset, extras)``.

    ============== ================== ============================================================================
    group          shape              what
    ============== ================== ============================================================================
    policy         (N, num_obs)       the client's observations
    critic         (N, k)             its privileged observations, where it has them
    ============== ================== ============================================================================

    The family's own bound of actions, ``cfg.normalization.clip_actions``, is ±100 and bounds nothing.

    A time-out is what ``extras["time_outs"]`` says of an environment that was reset in this very step: the entry is
    absent before the first reset, and left over from the last one otherwise.

    The family resets inside ``step`` and so loses the last observation of an episode. This is said once, as a warning.

    :param env: the client's environment.
    :param action_bound: largest action either way, in the client's units.
    :param stagger: begin each robot's first episode at a random point, so that time-outs do not come all at once.
    :param privileged: show the privileged observations.
    """

    def __init__(self, env: Any, action_bound: float = 10.0, stagger: bool = True, privileged: bool = True) -> None:
        widths = {"policy": int(env.num_obs)}
        if truth("privileged", privileged) and getattr(env, "num_privileged_obs", None):
            widths["critic"] = int(env.num_privileged_obs)
        normalization = getattr(getattr(env, "cfg", None), "normalization", None)
        own_bound = float(getattr(normalization, "clip_actions", float("inf")))
        super().__init__(env, widths=widths, num_actions=int(env.num_actions), device=env.device,
                         max_steps=int(env.max_episode_length) + 1, control_dt=float(getattr(env, "dt", 1.0)),
                         action_bound=action_bound, stagger=stagger, own_bounds=(-own_bound, own_bound))
        warnings.warn(f"{type(env).__name__} resets inside its step and loses the last observation of an episode: "
                      "time-outs are bootstrapped with the observation before it.", stacklevel=2)

    def _client_reset(self) -> Groups:
        """The client makes one step with actions of 0, as it does for itself."""
        return self._groups(*self.client.reset())

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        obs, privileged, reward, over, extras = self.client.step(actions)
        return ClientStep(self._groups(obs, privileged), reward, over, extras.get("time_outs"))

    def _groups(self, obs: torch.Tensor, privileged: Optional[torch.Tensor]) -> Groups:
        groups = {"policy": obs}
        if "critic" in self._obs:
            if privileged is None:
                raise UserError(f"{type(self.client).__name__} announces {self.client.num_privileged_obs} privileged "
                                "observations and gives none: make the environment with privileged=False.")
            groups["critic"] = privileged
        return groups

    def _episode_lengths(self) -> torch.Tensor:
        lengths: torch.Tensor = self.client.episode_length_buf
        return lengths

    def restart(self, mask: torch.Tensor) -> Obs:
        """Start the episodes of `mask` (N,) bool anew, by the client's ``reset_idx``, and observe.
        """
        if not (hasattr(self.client, "reset_idx") and hasattr(self.client, "compute_observations")):
            return super().restart(mask)
        self.client.reset_idx(mask.nonzero().flatten())
        self.client.compute_observations()
        self._keep(self._groups(self.client.obs_buf, getattr(self.client, "privileged_obs_buf", None)), mask)
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

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        env = self.client
        if getattr(env, "gym", None) is not None and getattr(env, "sim", None) is not None:
            env.gym.destroy_sim(env.sim)
            env.sim = None


adapt = LeggedGymEnv
"""A live environment as a TensorEnv."""


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
    # Copies, for the registry hands out its own: the next environment of the task must not see these options.
    env_cfg, train_cfg = (own_copy(cfg) for cfg in registry.get_cfgs(task))
    overwrite(env_cfg, mapping("cfg", cfg), f"the config of {package}:{task}")
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
    except (ImportError, AttributeError) as error:
        raise UserError(f"the client {package!r} cannot be imported ({error}): put the folders that hold it and the "
                        "packages it needs, such as rsl_rl, on PYTHONPATH.") from error


@contextlib.contextmanager
def _argv(flags: List[str]) -> Iterator[None]:
    """The family's programs read their arguments from ``sys.argv`` alone."""
    before = sys.argv
    sys.argv = [before[0], *flags]
    try:
        yield
    finally:
        sys.argv = before
