"""What evaluation keeps of each environment's first episode, for a task's report to be made of."""

from __future__ import annotations

import copy
from math import inf
from typing import Dict, Mapping, Tuple

import torch

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.errors import UserError, unknown


def same_names(before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise a UserError when the names of a step's log are not those of the step before."""
    if before.keys() != now.keys():
        changed = sorted(set(before) ^ set(now))
        raise UserError(f"the names in Step.log changed ({', '.join(changed)}): give the same names at every step.")


class Episodes:
    """The first episode of each of N environments, summed up step by step.

    ============ ================== ======================================================================
    field        shape, dtype       what
    ============ ================== ======================================================================
    running      (N,) bool          the episode has not ended yet
    reward       (N,) f32           sum of rewards
    length       (N,) f32           steps
    terminated   (N,) bool          it ended by a termination, not by time
    diverged     (N,) bool          the simulation diverged: in no statistic
    ============ ================== ======================================================================

    ``sum mean least greatest`` give what became of a measure of ``Step.log`` in each of the M good episodes.
    """

    def __init__(self, num_envs: int, device: torch.device, control_dt: float = 1.0) -> None:
        self.control_dt = control_dt
        self.running = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.reward, self.length = torch.zeros(num_envs, device=device), torch.zeros(num_envs, device=device)
        self.terminated, self.diverged = torch.zeros_like(self.running), torch.zeros_like(self.running)
        self._shapes: Dict[str, Tuple[int, ...]] = {}
        self._rows: Dict[str, slice] = {}
        # Measures below each other, (W, N): a few operations a step, however many measures there are.
        self._total = self._least = self._greatest = torch.zeros(0, num_envs, device=device)

    @property
    def good(self) -> torch.Tensor:
        """(N,) bool: episodes that did not diverge."""
        return ~self.diverged

    def sum(self, name: str) -> torch.Tensor:
        """Sum over its steps of measure `name`, (M, ...)."""
        return self._of(self._total, name)

    def mean(self, name: str) -> torch.Tensor:
        """Mean over its steps of measure `name`, (M, ...)."""
        total = self.sum(name)
        return total / self.length[self.good].clamp(min=1.0).reshape(-1, *[1] * (total.dim() - 1))

    def least(self, name: str) -> torch.Tensor:
        """Smallest value of measure `name`, (M, ...)."""
        return self._of(self._least, name)

    def greatest(self, name: str) -> torch.Tensor:
        """Largest value of measure `name`, (M, ...)."""
        return self._of(self._greatest, name)

    def copy(self) -> Episodes:
        """These episodes as they are now, whatever is added later."""
        kept = copy.copy(self)
        kept.reward, kept.length, kept._total = self.reward.clone(), self.length.clone(), self._total.clone()
        return kept

    def projected(self, since: Episodes, steps: int) -> Episodes:
        """These episodes as they are after `steps`, if those that run go on at their pace from `since`, a copy, to now.

        Sums and lengths grow so; what is least and greatest stays.
        """
        passed = (self.length - since.length).clamp(min=1.0)
        times = torch.where(self.running, (steps - self.length).clamp(min=0.0) / passed, torch.zeros_like(passed))
        later = copy.copy(self)
        later.reward = self.reward + times * (self.reward - since.reward)
        later.length = self.length + times * passed
        later._total = self._total + times * (self._total - since._total)
        return later

    def _of(self, table: torch.Tensor, name: str) -> torch.Tensor:
        if name not in self._rows:
            raise unknown("measure", name, self._rows, where="Step.log")
        return table[self._rows[name]].t()[self.good].reshape(-1, *self._shapes[name])

    def add(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor,
            log: Mapping[str, torch.Tensor]) -> None:
        """Take in a step of the episodes that run."""
        live = self.running
        diverged = log["bad_world"] if "bad_world" in log else torch.zeros_like(live)
        good = live & ~diverged
        out = ~good
        self.reward += reward.masked_fill(out, 0.0)
        self.length += live
        if log:
            self._add_measures(log, out)
        self.diverged |= diverged & live
        self.terminated |= terminated & good
        self.running = live & ~(terminated | truncated)

    def _add_measures(self, log: Mapping[str, torch.Tensor], out: torch.Tensor) -> None:
        """Take in the measures of the environments that are not in the mask `out` (N,) bool."""
        rows = [value[None] if value.dim() == 1 else value.flatten(1).t() for value in log.values()]
        values = torch.cat(rows).float()  # numbers and booleans together become numbers
        if not self._rows:
            self._lay_out(log, values)
        same_names(self._rows, log)
        all_in = known_empty(out)
        added, low, high = (values if all_in else values.masked_fill(out, nothing) for nothing in (0.0, inf, -inf))
        self._total += added
        self._least = torch.minimum(self._least, low)
        self._greatest = torch.maximum(self._greatest, high)

    def _lay_out(self, log: Mapping[str, torch.Tensor], values: torch.Tensor) -> None:
        start = 0
        for name, value in log.items():
            width = value[:1].numel()
            self._rows[name], self._shapes[name] = slice(start, start + width), tuple(value.shape[1:])
            start += width
        self._total = torch.zeros_like(values)
        self._least = torch.full_like(values, inf)
        self._greatest = torch.full_like(values, -inf)
