"""The rollout as tensors on one device: preallocated, written in place, read in contiguous minibatches."""

from __future__ import annotations

from typing import Any, Callable, Dict, Generator, List, NamedTuple, Optional, Union

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.algo.final_observations import FinalObservationsOnDevice
from sb3_isaac.rl.algo.final_observations_cpu import FinalObservationsOnCpu
from sb3_isaac.rl.algo.host_view import HostView

Array = Union[np.ndarray, torch.Tensor]
Observations = Union[torch.Tensor, Dict[str, torch.Tensor]]
FIELDS = ("observations", "actions", "rewards", "returns", "episode_starts", "values", "log_probs", "advantages")
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


class _Field:
    """A part of the rollout as SB3's users know it: read and assigned as numpy."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, buffer: Any, owner: Any = None) -> Any:
        return self if buffer is None else buffer._lend(self._name)

    def __set__(self, buffer: Any, value: Any) -> None:
        buffer._assign(self._name, value)


class TensorRolloutBuffer(RolloutBuffer):
    """SB3's RolloutBuffer and DictRolloutBuffer, kept as ``tensors`` on the learner's device.

    ``add`` copies, so that live tensors may be given, and takes numpy arrays too. ``get`` draws one permutation and
    yields contiguous parts of it. Of final observations only those of time-outs are kept, see
    :meth:`expect_time_outs`.

    ``rewards``, ``values``, ... are numpy arrays (T, N, ...) for those who read them, at any moment of the rollout, and
    may be changed in place. On a CPU that costs nothing.
    """

    observations: Any = _Field()
    actions: Any = _Field()
    rewards: Any = _Field()
    returns: Any = _Field()
    episode_starts: Any = _Field()
    values: Any = _Field()
    log_probs: Any = _Field()
    advantages: Any = _Field()

    final_observations_on_cpu = True
    """Whether a buffer on a CPU makes use of being there; False is for tests of what other devices do."""

    def __init__(self, buffer_size: int, observation_space: spaces.Space, action_space: spaces.Space,
                 device: Union[torch.device, str] = "auto", gae_lambda: float = 1, gamma: float = 0.99,
                 n_envs: int = 1) -> None:
        self.tensors: Dict[str, Any] = {}
        """The rollout: each field's tensor (T, N, ...), or a dict of them; times T, environments N."""
        self._lent: Dict[str, HostView] = {}
        self._final_observations: Union[FinalObservationsOnCpu, FinalObservationsOnDevice, None] = None
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)

    def _make(self, field: str) -> Any:
        if field == "observations":
            return self._observations(self.buffer_size, self.n_envs)
        actions = field == "actions"
        return torch.zeros(self.buffer_size, self.n_envs, *((self.action_dim,) if actions else ()), device=self.device,
                           dtype=_dtype(self.action_space) if actions else torch.float32)

    def _observations(self, *rows: int) -> Any:
        """Room for observations (*rows, ...) in the observation space's own dtype; images stay uint8."""
        if isinstance(self.observation_space, spaces.Dict):
            return {key: torch.zeros(*rows, *shape, dtype=_dtype(self.observation_space[key]), device=self.device)
                    for key, shape in self.obs_shape.items()}  # type: ignore[attr-defined]
        return torch.zeros(*rows, *self.obs_shape, dtype=_dtype(self.observation_space), device=self.device)

    def expect_time_outs(self, value_of: Callable[[Any], torch.Tensor], max_steps: Optional[int] = None) -> None:
        """Make room for the final observations of a rollout's time-outs; called before ``reset``.

        On a CPU the room grows with them; elsewhere it is bounded, since how many they are is not known on the host.

        :param value_of: the critic: observations (n, ...) -> values (n,) or (n, 1).
        :param max_steps: an episode's length at most, in steps, so that a robot runs out of time at most
            ``buffer_size // max_steps + 1`` times; None where it is unknown, and each step may be a time-out.
        """
        self._value_of = value_of
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
        """Begin a new rollout; the memory stays, but for that of arrays which somebody may have kept."""
        for name in FIELDS:
            if name in self._lent or name not in self.tensors:
                self.tensors[name] = self._make(name)
        self._lent.clear()
        self.tensors["rewards"].zero_()  # they are added to: rewards, and values at time-outs
        self._places = torch.arange(self.n_envs, device=self.device)
        if self._final_observations is not None:
            self._final_observations.clear()
        self.pos, self.full, self.generator_ready, self._computed = 0, False, False, False

    def keep_final(self, truncated: torch.Tensor, final_obs: Any) -> None:
        """Keep what the next step to be added led to, where that ended an episode's time.

        :param truncated: (N,) bool, which episodes ran out of time in this step.
        :param final_obs: the observations (N, ...) that the step led to, of which the rows of `truncated` are kept.
        """
        assert self._final_observations is not None, "expect_time_outs comes first"
        self._final_observations.add(truncated, final_obs, self._places + self.pos * self.n_envs)

    def add(self, obs: Any, action: Array, reward: Array, episode_start: Array,
            value: torch.Tensor, log_prob: torch.Tensor) -> None:
        """Write one step of all environments."""
        self._take_back()
        slots = self.tensors
        if isinstance(obs, dict):
            for key, part in slots["observations"].items():
                self._write(part, obs[key])
        else:
            self._write(slots["observations"], obs)
        self._write(slots["actions"], action)
        slots["rewards"][self.pos] += torch.as_tensor(reward, device=self.device).reshape(self.n_envs)
        self._write(slots["episode_starts"], episode_start)
        self._write(slots["values"], value)
        self._write(slots["log_probs"], log_prob)
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _write(self, slots: torch.Tensor, value: Array) -> None:
        slots[self.pos].copy_(torch.as_tensor(value).reshape(slots.shape[1:]))

    def bootstrap(self) -> None:
        """Add γ V(true final observation) to the rewards of the time-outs so far, by one call of the critic."""
        self._take_back()
        if self._final_observations is not None:
            count, rows, places = self._final_observations.read()  # the one wait for the device in a rollout
            if count:
                with torch.no_grad():
                    self.tensors["rewards"].view(-1).index_add_(0, places, self.gamma * self._value_of(rows).flatten())
                self._final_observations.clear()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: Array) -> None:
        """Fill ``advantages`` and ``returns`` from the rewards and values."""
        self._take_back()
        rollout = self.tensors
        generalized_advantage(rollout["rewards"], rollout["values"], rollout["episode_starts"], last_values.flatten(),
                              torch.as_tensor(dones, device=self.device), self.gamma, self.gae_lambda,
                              rollout["advantages"])
        torch.add(rollout["advantages"], rollout["values"], out=rollout["returns"])
        self._computed = True

    # ---- as numpy

    def _lend(self, name: str) -> Any:
        """A field as numpy; what the rollout has not come to yet is 0."""
        if name == "rewards":
            self.bootstrap()
        if name not in self._lent:
            written = self.pos if name not in ("advantages", "returns") else self.buffer_size * self._computed
            for tensor in _tensors(self.tensors[name]) if name != "rewards" else ():  # 0 from the start, and added to
                tensor[written:] = 0
            self._lent[name] = HostView(self.tensors[name])
        return self._lent[name].get()

    def _take_back(self) -> None:
        """Let the tensors follow what was changed in lent arrays."""
        for name, view in self._lent.items():
            view.write_back()
            if self.device.type != "cpu":
                self._lent[name] = HostView(self.tensors[name])

    def _assign(self, name: str, value: Any) -> None:
        arrays = self._lend(name)
        for key in arrays if isinstance(arrays, dict) else (None,):
            array, given = (arrays, value) if key is None else (arrays[key], value[key])
            if np.shape(given) != array.shape:
                raise UserError(f"{name} of the rollout has shape {array.shape} and was assigned {np.shape(given)}: "
                                "give an array of the same shape.")
            array[...] = given

    def get(self, batch_size: Optional[int] = None) -> Generator[Minibatch, None, None]:  # type: ignore[override]
        """One pass over the rollout in random order; the last part may be smaller."""
        self._take_back()
        if not self.full:
            raise UserError(f"the rollout holds {self.pos} of its {self.buffer_size} steps: collect it to its end "
                            "before training on it.")
        total = self.buffer_size * self.n_envs
        order = torch.randperm(total, device=self.device)
        shuffled = [_take(self.tensors[name], order) for name in ("observations", "actions", "values", "log_probs",
                                                                  "advantages", "returns")]
        shuffled[1] = shuffled[1].float()  # as SB3 has the actions of discrete spaces in a minibatch
        size = total if batch_size is None else batch_size
        for start in range(0, total, size):
            yield Minibatch(*(_part(part, slice(start, start + size)) for part in shuffled))


def _dtype(space: Optional[spaces.Space]) -> torch.dtype:
    """The dtype that keeps a space's values: float32, or that of an integer space."""
    dtype = np.dtype(getattr(space, "dtype", None) or np.float32)
    return torch.float32 if dtype.kind == "f" else torch.from_numpy(np.zeros(1, dtype)).dtype


def _tensors(part: Any) -> List[torch.Tensor]:
    return list(part.values()) if isinstance(part, dict) else [part]


def _take(part: Any, order: torch.Tensor) -> Any:
    if isinstance(part, dict):
        return {key: _take(value, order) for key, value in part.items()}
    return part.flatten(0, 1).index_select(0, order)


def _part(part: Any, rows: slice) -> Any:
    return {key: value[rows] for key, value in part.items()} if isinstance(part, dict) else part[rows]
