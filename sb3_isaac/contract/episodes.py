"""What evaluation keeps of each environment's first episode, for a task's report to be made of."""

from __future__ import annotations

from typing import Dict, Mapping

import torch

from sb3_isaac.contract.errors import UserError


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
    total        {name: (N, ...)}   sum of each measure of ``Step.log`` over the episode's steps
    least        {name: (N, ...)}   its smallest value
    greatest     {name: (N, ...)}   its largest value
    ============ ================== ======================================================================
    """

    def __init__(self, num_envs: int, device: torch.device, control_dt: float = 1.0) -> None:
        self.control_dt = control_dt
        self.running = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.reward, self.length = torch.zeros(num_envs, device=device), torch.zeros(num_envs, device=device)
        self.terminated, self.diverged = torch.zeros_like(self.running), torch.zeros_like(self.running)
        self.total: Dict[str, torch.Tensor] = {}
        self.least: Dict[str, torch.Tensor] = {}
        self.greatest: Dict[str, torch.Tensor] = {}

    @property
    def good(self) -> torch.Tensor:
        """(N,) bool: episodes that did not diverge."""
        return ~self.diverged

    def mean(self, name: str) -> torch.Tensor:
        """Mean over its steps of measure `name`, of each good episode (M, ...)."""
        total = self.total[name][self.good]
        return total / self.length[self.good].clamp(min=1.0).reshape(-1, *[1] * (total.dim() - 1))

    def sum(self, name: str) -> torch.Tensor:
        """Sum over its steps of measure `name`, of each good episode (M, ...)."""
        return self.total[name][self.good]

    def add(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor,
            log: Mapping[str, torch.Tensor]) -> None:
        """Take in a step of the episodes that run."""
        live = self.running
        diverged = log["bad_world"] if "bad_world" in log else torch.zeros_like(live)
        self.reward += torch.where(live, reward, torch.zeros_like(reward))
        self.length += live
        if not self.total:
            for name, value in log.items():
                number = value.float()
                self.total[name] = torch.zeros_like(number)
                self.least[name] = torch.full_like(number, float("inf"))
                self.greatest[name] = torch.full_like(number, float("-inf"))
        same_names(self.total, log)
        for name, value in log.items():
            number = value.float()
            rows = (live & ~diverged).reshape(-1, *[1] * (number.dim() - 1))
            self.total[name] += torch.where(rows, number, torch.zeros_like(number))
            self.least[name] = torch.where(rows, torch.minimum(self.least[name], number), self.least[name])
            self.greatest[name] = torch.where(rows, torch.maximum(self.greatest[name], number), self.greatest[name])
        self.diverged |= diverged & live
        self.terminated |= terminated & ~diverged & live
        self.running = live & ~(terminated | truncated)
