"""The rollout as tensors on one device: preallocated, written in place, read in contiguous minibatches."""

from __future__ import annotations

from typing import Any, Callable, Dict, Generator, NamedTuple, Optional, Union

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.algo.final_observations import FinalObservationsOnDevice
from sb3_isaac.rl.algo.final_observations_cpu import FinalObservationsOnCpu

Array = Union[np.ndarray, torch.Tensor]
Observations = Union[torch.Tensor, Dict[str, torch.Tensor]]
FEW_ROWS = 1024  # room for as many time-outs costs next to nothing


class Minibatch(NamedTuple):
    """A part of a rollout, of B transitions; SB3's ``RolloutBufferSamples`` under its own names.

    ============== ==================== =======================================
    field          shape                what
    ============== ==================== =======================================
    observations   (B, ...) or a dict   as the policy saw them
    actions        (B, A)               before clipping
    old_values     (B,)
    old_log_prob   (B,)
    advantages     (B,)                 GAE(λ)
    returns        (B,)                 advantages + old_values
    ============== ==================== =======================================
    """

    observations: Observations
    actions: torch.Tensor
    old_values: torch.Tensor
    old_log_prob: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


def generalized_advantage(rewards: torch.Tensor, values: torch.Tensor, episode_starts: torch.Tensor,
                          last_values: torch.Tensor, dones: torch.Tensor, gamma: float, gae_lambda: float,
                          out: torch.Tensor) -> torch.Tensor:
    """GAE(λ) (Schulman et al. 2015, arXiv 1506.02438, eq. 16) of a rollout (T, N), into `out`.

    Values of true final observations at time-outs are in `rewards` already, so an episode's end stops the sum.

    :param episode_starts: (T, N), 1 where the observation is an episode's first.
    :param last_values, dones: (N,), value of the observation after the rollout, and whether an episode ended there.
    """
    carried = torch.zeros_like(last_values)
    next_values, running = last_values, 1.0 - dones.to(values.dtype)
    for t in range(len(rewards) - 1, -1, -1):
        delta = torch.addcmul(rewards[t] - values[t], next_values, running, value=gamma)
        carried = torch.addcmul(delta, carried, running, value=gamma * gae_lambda)
        out[t] = carried
        next_values, running = values[t], 1.0 - episode_starts[t]
    return out


class TensorRolloutBuffer(RolloutBuffer):
    """SB3's RolloutBuffer and DictRolloutBuffer, kept as tensors (T, N, ...) on the learner's device.

    ``add`` copies, so that live tensors may be given, and takes numpy arrays too. ``get`` draws one permutation and
    yields contiguous parts of it. Of final observations only those of time-outs are kept, see
    :meth:`expect_time_outs`.
    """

    final_observations_on_cpu = True
    """Whether a buffer on a CPU makes use of being there; False is for tests of what other devices do."""

    def __init__(self, buffer_size: int, observation_space: spaces.Space, action_space: spaces.Space,
                 device: Union[torch.device, str] = "auto", gae_lambda: float = 1, gamma: float = 0.99,
                 n_envs: int = 1) -> None:
        self._made = False
        self._final_observations: Union[FinalObservationsOnCpu, FinalObservationsOnDevice, None] = None
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)

    def _make(self, *shape: int) -> torch.Tensor:
        return torch.zeros(self.buffer_size, self.n_envs, *shape, device=self.device)

    def _observations(self, *rows: int) -> Any:
        """Room for observations (*rows, ...) in the observation space's own dtype; images stay uint8."""
        if isinstance(self.observation_space, spaces.Dict):
            return {key: torch.zeros(*rows, *shape, dtype=_dtype(self.observation_space[key]), device=self.device)
                    for key, shape in self.obs_shape.items()}  # type: ignore[attr-defined]
        return torch.zeros(*rows, *self.obs_shape, dtype=_dtype(self.observation_space), device=self.device)

    def expect_time_outs(self, max_steps: Optional[int] = None) -> None:
        """Make room for the final observations of a rollout's time-outs; called before ``reset``.

        On a CPU the room grows with them; elsewhere it is bounded, since how many they are is not known on the host.

        :param max_steps: an episode's length at most, in steps, so that a robot runs out of time at most
            ``buffer_size // max_steps + 1`` times; None where it is unknown, and each step may be a time-out.
        """
        if self.device.type == "cpu" and self.final_observations_on_cpu:
            self._final_observations = self._final_observations or FinalObservationsOnCpu()
            return
        every_step = self.buffer_size * self.n_envs
        bound = every_step if not max_steps else self.n_envs * (self.buffer_size // max_steps + 1)
        capacity = min(every_step, max(bound, FEW_ROWS))
        held = self._final_observations
        if not isinstance(held, FinalObservationsOnDevice) or held.capacity != capacity:
            self._final_observations = FinalObservationsOnDevice(capacity, self._observations, self.device)

    def reset(self) -> None:
        """Begin a new rollout; the memory stays."""
        if not self._made:
            self.observations: Any = self._observations(self.buffer_size, self.n_envs)
            self.actions: Any = self._make(self.action_dim)
            self.rewards: Any = self._make()
            self.returns: Any = self._make()
            self.episode_starts: Any = self._make()
            self.values: Any = self._make()
            self.log_probs: Any = self._make()
            self.advantages: Any = self._make()
            self._places = torch.arange(self.n_envs, device=self.device)
            self._made = True
        if self._final_observations is not None:
            self._final_observations.clear()
        self.pos, self.full, self.generator_ready = 0, False, False

    def add(self, obs: Any, action: Array, reward: Array, episode_start: Array,
            value: torch.Tensor, log_prob: torch.Tensor, truncated: Optional[torch.Tensor] = None,
            final_obs: Any = None) -> None:
        """Write one step of all environments.

        :param truncated: (N,) bool, which of their episodes ran out of time in this step.
        :param final_obs: the observations that the step led to, of which the rows of `truncated` are kept.
        """
        if isinstance(self.observations, dict):
            for key, slots in self.observations.items():
                self._write(slots, obs[key])
        else:
            self._write(self.observations, obs)
        self._write(self.actions, action)
        self._write(self.rewards, reward)
        self._write(self.episode_starts, episode_start)
        self._write(self.values, value)
        self._write(self.log_probs, log_prob)
        if truncated is not None:
            if self._final_observations is None:
                self.expect_time_outs()
            assert self._final_observations is not None
            self._final_observations.add(truncated, final_obs, self._places + self.pos * self.n_envs)
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def bootstrap(self, value_of: Callable[[Any], torch.Tensor]) -> None:
        """Add γ V(true final observation) to the rewards of time-outs, by one call for the whole rollout."""
        if self._final_observations is not None:
            count, rows, places = self._final_observations.read()  # the one wait for the device in a rollout
            if count:
                self.rewards.view(-1).index_add_(0, places, self.gamma * value_of(rows).flatten())

    def _write(self, slots: torch.Tensor, value: Array) -> None:
        slots[self.pos].copy_(torch.as_tensor(value).reshape(slots.shape[1:]))

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: Array) -> None:
        """Fill ``advantages`` and ``returns`` from the rewards and values."""
        generalized_advantage(self.rewards, self.values, self.episode_starts, last_values.flatten(),
                              torch.as_tensor(dones, device=self.device), self.gamma, self.gae_lambda, self.advantages)
        torch.add(self.advantages, self.values, out=self.returns)

    def get(self, batch_size: Optional[int] = None) -> Generator[Minibatch, None, None]:  # type: ignore[override]
        """One pass over the rollout in random order; the last part may be smaller."""
        if not self.full:
            raise UserError(f"the rollout holds {self.pos} of its {self.buffer_size} steps: collect it to its end "
                            "before training on it.")
        total = self.buffer_size * self.n_envs
        order = torch.randperm(total, device=self.device)
        shuffled = [_take(part, order) for part in (self.observations, self.actions, self.values, self.log_probs,
                                                       self.advantages, self.returns)]
        size = total if batch_size is None else batch_size
        for start in range(0, total, size):
            yield Minibatch(*(_part(part, slice(start, start + size)) for part in shuffled))


def _dtype(space: Optional[spaces.Space]) -> torch.dtype:
    """The dtype that keeps an observation space's values: float32, or that of an integer space."""
    dtype = np.dtype(getattr(space, "dtype", None) or np.float32)
    return torch.float32 if dtype.kind == "f" else torch.from_numpy(np.zeros(1, dtype)).dtype


def _take(part: Any, order: torch.Tensor) -> Any:
    if isinstance(part, dict):
        return {key: _take(value, order) for key, value in part.items()}
    return part.flatten(0, 1).index_select(0, order)


def _part(part: Any, rows: slice) -> Any:
    return {key: value[rows] for key, value in part.items()} if isinstance(part, dict) else part[rows]
