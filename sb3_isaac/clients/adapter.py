"""What all adapters of clients share: spaces, seeds, staggered first episodes, time-outs, copies of reused buffers."""

from __future__ import annotations

import random
from types import MappingProxyType
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.errors import UserError, number_above_zero, truth
from sb3_isaac.contract.tensor_env import Display, Obs, Panel, Shown, Step, TensorEnv

Groups = Dict[str, torch.Tensor]


class ClientStep(NamedTuple):
    """What a client's step gave, in its own buffers.

    ========== ================= =================================================================================
    field      shape             what
    ========== ================= =================================================================================
    obs        {group: (N, k)}   where an episode ended: of the next one
    reward     (N,)
    over       (N,)              whether the episode ended and the next one began, bool or 0 and 1
    time_out   (N,) or None      whether it ran out of time; may be left over from an earlier step, which `over` tells
    final_obs  {group: (N, k)}   of an episode that ended, its last observation; None where the client loses it
               or None
    log        {name: (N,)}      what the client tells of this step, such as ``reward/<term>``; the same names always
    ========== ================= =================================================================================
    """

    obs: Groups
    reward: torch.Tensor
    over: torch.Tensor
    time_out: Optional[torch.Tensor] = None
    final_obs: Optional[Groups] = None
    log: Mapping[str, torch.Tensor] = MappingProxyType({})


class ClientEnv(TensorEnv):
    """A live environment of a client as a TensorEnv. An adapter writes ``_client_reset`` and ``_client_step``.

    Actions are bounded, since Stable-Baselines3 clips to the action space and clients bound little: the box is
    ± `action_bound` within the client's own bounds. Observations are copied, for clients reuse their buffers. A
    client's own state cannot be saved: a resumed run begins with a reset. Its random numbers are torch's, numpy's and
    Python's global ones, which ``reset(seed)`` seeds.

    Where the client resets inside ``step`` and so loses the last observation of an episode, ``final_obs`` is the
    observation that the last action was chosen on, one control step before: a time-out is bootstrapped with V(s_t) in
    place of V(s_{t+1}), as rsl_rl does it.

    :param client: the client's environment.
    :param widths: numbers in each observation group.
    :param num_actions: A.
    :param device: where the client's tensors live.
    :param max_steps: control steps of the longest episode.
    :param control_dt: seconds of a step.
    :param action_bound: largest action either way, in the client's units.
    :param own_bounds: the client's own bounds, lowest and highest: numbers or (A,), possibly infinite.
    :param stagger: begin each robot's first episode at a random point, so that time-outs do not come all at once.
    """

    logged = ("falls",)
    display = Display(progress=(Shown("falls", "rollout/falls", "{:.0f}"),),
                      panels=(Panel("rollout/falls", "episodes of an iteration\nthat ended in a fall"),))

    def __init__(self, client: Any, *, widths: Mapping[str, int], num_actions: int, device: Any, max_steps: int,
                 control_dt: float, action_bound: float,
                 own_bounds: Tuple[Any, Any] = (float("-inf"), float("inf")), stagger: bool = True) -> None:
        self.client, self.stagger = client, truth("stagger", stagger)
        self.num_envs, self.device = int(client.num_envs), torch.device(device)
        self.max_steps, self.control_dt = int(max_steps), float(control_dt)
        bound, shape = number_above_zero("action_bound", action_bound), (num_actions,)
        low, high = np.maximum(own_bounds[0], -bound), np.minimum(own_bounds[1], bound)
        if not np.all(low < high):
            raise UserError(f"action_bound is {action_bound:g}, and {type(client).__name__} bounds its actions by "
                            f"{own_bounds[0]} and {own_bounds[1]}: give a larger one.")
        self.action_space: spaces.Space = spaces.Box(np.broadcast_to(low, shape).astype(np.float32),
                                                     np.broadcast_to(high, shape).astype(np.float32), shape, np.float32)
        self._low, self._high = (torch.from_numpy(bounds.copy()).to(self.device)
                                 for bounds in (self.action_space.low, self.action_space.high))
        self.observation_space = spaces.Dict({group: spaces.Box(-np.inf, np.inf, (width,), np.float32)
                                              for group, width in widths.items()})
        self._obs, self._final_obs = ({group: torch.zeros(self.num_envs, width, device=self.device)
                                       for group, width in widths.items()} for _ in range(2))

    # ---- what an adapter writes

    def _client_reset(self) -> Groups:
        """Start all episodes; observations by group, which may be the client's own buffers."""
        raise NotImplementedError

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        """One step with actions (N, A) within their bounds."""
        raise NotImplementedError

    def _episode_lengths(self) -> Optional[torch.Tensor]:
        """The client's own count of each episode's steps (N,), which staggering writes; None where it has none."""
        return None

    # ---- TensorEnv

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`."""
        if seed is not None:
            seed_generators(seed)
        obs, lengths = self._client_reset(), self._episode_lengths()
        if self.stagger and lengths is not None:
            lengths.random_(0, max(1, self.max_steps - 1))
        self._keep(obs)
        return self._obs

    def step(self, actions: torch.Tensor) -> Step:
        """See :meth:`TensorEnv.step`."""
        shape = (self.num_envs, *(self.action_space.shape or ()))
        if tuple(actions.shape) != shape:
            raise UserError(f"actions have shape {tuple(actions.shape)}: give {shape}.")
        for group, before in self._obs.items():
            self._final_obs[group].copy_(before)
        done = self._client_step(actions.to(self.device).clamp(self._low, self._high))
        over = done.over.to(torch.bool)
        truncated = torch.zeros_like(over) if done.time_out is None else over & done.time_out.to(torch.bool)
        terminated = over & ~truncated
        self._keep(done.obs)
        for group, now in self._obs.items():
            last = self._final_obs[group] if done.final_obs is None else done.final_obs[group]
            torch.where(over[:, None], last, now, out=self._final_obs[group])
        return Step(self._obs, done.reward.to(torch.float32).clone(), terminated, truncated, self._final_obs,
                    {"falls": terminated, **done.log})

    def _keep(self, obs: Groups, mask: Optional[torch.Tensor] = None) -> None:
        """Copy the client's buffers, which it goes on writing; of the environments of `mask` (N,) if it is given."""
        for group, kept in self._obs.items():
            kept.copy_(obs[group] if mask is None else torch.where(mask[:, None], obs[group], kept))

    def observe(self) -> Obs:
        """The last observations {group: (N, k)}, live."""
        return self._obs

    def restart(self, mask: torch.Tensor) -> Obs:
        """Start the episodes of `mask` (N,) bool anew, where the client can."""
        raise UserError(f"{type(self.client).__name__} cannot restart single environments: call reset() for all.")

    def change_options(self, **options: Any) -> None:
        """A client's options are fixed when it is made."""
        if options:
            raise UserError(f"the options of a {type(self.client).__name__} cannot change while it runs, and "
                            f"{', '.join(options)} was given: make it anew.")

    @classmethod
    def evaluation_options(cls, options: Mapping[str, Any],
                           command: Optional[Sequence[Any]] = None, hold_s: Optional[float] = None) -> Dict[str, Any]:
        """Options for evaluation, from those of training: first episodes are whole."""
        if command is not None:
            raise UserError("a client takes its commands from its own config: leave out the command.")
        return {**options, "stagger": False}

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {"obs_table": {"obs": self._obs["policy"].shape[1]}, "control_dt": self.control_dt}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        raise UserError(f"the state of {type(self.client).__name__} cannot be restored: begin with a reset.")

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        close = getattr(self.client, "close", None)
        if callable(close):
            close()


def seed_generators(seed: int) -> None:
    """Seed the global generators, which clients draw from: Python's, numpy's and torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
