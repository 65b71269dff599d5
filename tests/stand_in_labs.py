"""Environments with the interfaces of mjlab, Isaac Lab and IsaacGymEnvs, written for the tests of their adapters.

A bead on a wire has a position x and a velocity; the action is its acceleration. It starts at random near 0, falls off
where |x| reaches 1 and runs out of time after ``limit`` steps. What is peculiar to each interface is told beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces


class Beads:
    """The physics: ``x`` and ``v`` (N,)."""

    def __init__(self, n: int) -> None:
        self.x, self.v = torch.zeros(n), torch.zeros(n)
        self.start(torch.arange(n))

    def start(self, ids: torch.Tensor) -> None:
        self.x[ids], self.v[ids] = 0.4 * torch.rand(len(ids)) - 0.2, torch.zeros(len(ids))

    def move(self, actions: torch.Tensor) -> None:
        self.v += 0.1 * actions[:, 0]
        self.x += 0.1 * self.v

    def fell(self) -> torch.Tensor:
        return ~(self.x.abs() < 1.0)  # NaN falls too

    def observed(self) -> torch.Tensor:
        return torch.stack((self.x, self.v), dim=1)


@dataclass
class Term:
    """A reward term of a config: an object within a dictionary."""

    weight: float = 1.0
    params: Dict[str, Any] = field(default_factory=lambda: {"std": 0.5, "name": "x"})


@dataclass
class LabCfg:
    """What adapters read and write of a ``ManagerBasedRlEnvCfg``."""

    limit: int = 20
    seed: Optional[int] = None
    auto_reset: bool = True
    is_finite_horizon: bool = False
    scale_rewards_by_dt: bool = True
    compute_final_obs: bool = False
    scene: Any = field(default_factory=lambda: SimpleNamespace(num_envs=4))
    rewards: Dict[str, Term] = field(default_factory=lambda: {"near": Term()})
    gains: Dict[str, float] = field(default_factory=lambda: {"slide": 1.0})


class LabEnv:
    """What mjlab and Isaac Lab have in common: resets inside ``step``; buffers are written in place."""

    step_dt = 0.02

    def __init__(self, cfg: LabCfg, device: str = "cpu") -> None:
        self.cfg, self.device, self.num_envs = cfg, device, cfg.scene.num_envs
        self.max_episode_length = cfg.limit
        self.beads = Beads(self.num_envs)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long)
        self.reward_buf = torch.zeros(self.num_envs)
        self.reward_manager = SimpleNamespace(active_terms=["near"], _step_reward=torch.zeros(self.num_envs, 1))
        self.extras: Dict[str, Any] = {}
        self.closed = False

    def _observations(self) -> Dict[str, Any]:
        raise NotImplementedError

    def _reset_idx(self, ids: torch.Tensor) -> None:
        self.beads.start(ids)
        self.episode_length_buf[ids] = 0

    def _advance(self, action: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        self.beads.move(action)
        self.episode_length_buf += 1
        self.reward_buf[:] = self.cfg.rewards["near"].weight * (1.0 - self.beads.x.abs())
        scale = self.step_dt if self.cfg.scale_rewards_by_dt else 1.0
        self.reward_manager._step_reward[:, 0] = self.reward_buf / scale
        return self.beads.fell(), self.episode_length_buf >= self.max_episode_length

    def close(self) -> None:
        self.closed = True


@dataclass
class MjBox:
    """mjlab's own spaces have no classes of Gymnasium's."""

    shape: Tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf


class MjlabEnv(LabEnv):
    """As mjlab: groups ``actor`` and ``critic``; ``reset(env_ids=)``; with ``auto_reset`` off the caller resets.

    A reset draws the noise of all observations anew, also of the environments that go on.
    """

    metrics_manager = SimpleNamespace()

    def __init__(self, cfg: LabCfg, device: str = "cpu") -> None:
        super().__init__(cfg, device)
        terms = SimpleNamespace(spaces={"true_x": MjBox((1,)), "age": MjBox((1,))})
        self.single_observation_space = SimpleNamespace(spaces={"actor": MjBox((2,)), "critic": terms})
        self.single_action_space = MjBox((1,))
        self.pending = torch.zeros(self.num_envs, dtype=torch.bool)
        self.obs_buf = self._observations()

    @property
    def unwrapped(self) -> "MjlabEnv":
        return self

    def _observations(self) -> Dict[str, Any]:
        noisy = self.beads.observed() + 0.001 * torch.rand(self.num_envs, 2)
        return {"actor": noisy, "critic": {"true_x": self.beads.x[:, None].clone(),
                                           "age": self.episode_length_buf[:, None].float()}}

    def reset(self, *, seed: Optional[int] = None, env_ids: Optional[torch.Tensor] = None,
              options: Any = None) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        ids = torch.arange(self.num_envs) if env_ids is None else env_ids
        self._reset_idx(ids)
        self.pending[ids] = False
        self.reward_buf[ids] = 99.0  # its managers write their buffers as they reset
        self.obs_buf = self._observations()
        return self.obs_buf, self.extras

    def step(self, action: torch.Tensor) -> Tuple[Any, ...]:
        if not self.cfg.auto_reset and bool(self.pending.any()):
            raise RuntimeError("environments must be reset before calling step() again")
        terminated, truncated = self._advance(action)
        over = terminated | truncated
        if self.cfg.auto_reset:
            self._reset_idx(over.nonzero().flatten())
        else:
            self.pending = over.clone()
        self.obs_buf = self._observations()
        return self.obs_buf, self.reward_buf, terminated, truncated, self.extras


class IsaacLabEnv(LabEnv, gymnasium.Env):
    """As Isaac Lab: groups ``policy`` and ``critic``; ``extras["final_obs"]`` with ``cfg.compute_final_obs``, left
    over from the last step in which an episode ended."""

    def __init__(self, cfg: LabCfg, render_mode: Optional[str] = None, **kwargs: Any) -> None:
        super().__init__(cfg)
        box = spaces.Box(-np.inf, np.inf, (2,))
        self.single_observation_space = spaces.Dict({"policy": box, "critic": spaces.Box(-np.inf, np.inf, (1,))})
        self.single_action_space = spaces.Box(-0.8, 2.0, (1,))
        self.observation_space, self.action_space = box, self.single_action_space

    def _observations(self) -> Dict[str, Any]:
        return {"policy": self.beads.observed(), "critic": self.beads.x[:, None].clone()}

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        self._reset_idx(torch.arange(self.num_envs))
        return self._observations(), self.extras

    def step(self, action: torch.Tensor) -> Tuple[Any, ...]:
        terminated, truncated = self._advance(action)
        ids = (terminated | truncated).nonzero().flatten()
        if len(ids):
            if self.cfg.compute_final_obs:
                self.extras["final_obs"] = self._observations()
            self._reset_idx(ids)
        return self._observations(), self.reward_buf, terminated, truncated, self.extras


class VecTask:
    """As IsaacGymEnvs' Ant: an episode's end is told with its last observation, and the step after it begins the next.

    :param inside: as AnymalTerrain: the next episode begins in the step that ends the last; ``time_outs`` are lost.
    """

    def __init__(self, num_envs: int = 4, limit: int = 20, inside: bool = False, num_states: int = 1) -> None:
        self.num_envs, self.inside, self.max_episode_length = num_envs, inside, limit
        self.num_obs, self.num_states, self.num_actions = 2, num_states, 1
        self.device = self.rl_device = "cpu"
        self.dt, self.control_freq_inv, self.sim_params = 0.01, 2, SimpleNamespace(dt=0.01)
        self.clip_obs, self.clip_actions, self.sim = 5.0, 1.0, None
        self.action_space = SimpleNamespace(low=-np.ones(1, np.float32), high=np.ones(1, np.float32))
        self.beads = Beads(num_envs)
        self.obs_buf, self.states_buf = torch.zeros(num_envs, 2), torch.zeros(num_envs, num_states)
        self.rew_buf = torch.zeros(num_envs)
        self.reset_buf, self.progress_buf = (torch.ones(num_envs, dtype=torch.long),
                                             torch.zeros(num_envs, dtype=torch.long))
        self.extras: Dict[str, Any] = {}
        self.seen: List[torch.Tensor] = []

    def reset_idx(self, env_ids: torch.Tensor) -> None:
        self.beads.start(env_ids)
        self.progress_buf[env_ids] = 0
        self.reset_buf[env_ids] = 1 if self.inside else 0

    def compute_observations(self) -> None:
        self.obs_buf[:] = self.beads.observed() + 0.0 * self.actions
        if self.num_states:
            self.states_buf[:] = self.progress_buf[:, None].float()

    def get_state(self) -> torch.Tensor:
        return self.states_buf.clamp(-5.0, 5.0)

    def _given(self) -> Dict[str, torch.Tensor]:
        states = {"states": self.get_state()} if self.num_states else {}
        return {"obs": self.obs_buf.clamp(-self.clip_obs, self.clip_obs), **states}

    def reset(self) -> Dict[str, torch.Tensor]:
        return self._given()

    def step(self, actions: torch.Tensor) -> Tuple[Any, ...]:
        self.seen.append(actions.clone())
        self.actions = actions.clamp(-self.clip_actions, self.clip_actions)  # not there before the first step
        self.beads.move(self.actions)
        self.progress_buf += 1
        if not self.inside:
            self._begin()
        self.rew_buf[:] = 1.0 - self.beads.x.abs()
        late = self.progress_buf >= self.max_episode_length - 1
        self.reset_buf[:] = (self.beads.fell() | late).long()
        if self.inside:
            self._begin()
        self.compute_observations()
        late = (self.progress_buf >= self.max_episode_length - 1) & (self.reset_buf != 0)
        self.extras["time_outs"] = late.clone()
        return self._given(), self.rew_buf, self.reset_buf, self.extras

    def _begin(self) -> None:
        ids = self.reset_buf.nonzero().flatten()
        if len(ids):
            self.reset_idx(ids)


class HandTask(VecTask):
    """As ShadowHand: ``reset_idx`` needs more than the indices."""

    def reset_idx(self, env_ids: torch.Tensor, goal_env_ids: torch.Tensor) -> None:  # type: ignore[override]
        super().reset_idx(env_ids)

    def _begin(self) -> None:
        ids = self.reset_buf.nonzero().flatten()
        self.reset_idx(ids, ids)
