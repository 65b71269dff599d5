"""The true last observations of the episodes that ran out of time in a rollout."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import torch

from sb3_isaac.contract.errors import UserError


class FinalObservationsOnDevice:
    """A table of the few rows that are needed of each step's ``final_obs``, in the order of the steps.

    Adding waits for no device: a row's place comes of a cumulative sum, and the rows of all other robots go to one
    spare row behind the table.

    :param capacity: rows at most; exceeding it is an error when the table is read.
    :param allocate: makes the table, a tensor (rows, ...) or a dict of them {group: (rows, ...)}.
    """

    def __init__(self, capacity: int, allocate: Callable[[int], Any], device: torch.device) -> None:
        self.capacity = capacity
        self._rows = allocate(capacity + 1)
        self._places = torch.zeros(capacity + 1, dtype=torch.int64, device=device)
        self._count = torch.zeros((), dtype=torch.int64, device=device)

    def clear(self) -> None:
        """Begin a new rollout."""
        self._count.zero_()

    def add(self, truncated: torch.Tensor, final_obs: Any, places: torch.Tensor) -> None:
        """Keep the observations (N, ...) of the robots of `truncated` (N,) bool, with their `places` (N,) int64."""
        row = self._count + truncated.cumsum(0) - 1
        row = torch.where(truncated, row, self.capacity).clamp_(max=self.capacity)
        if isinstance(self._rows, dict):
            for group, rows in self._rows.items():
                _write(rows, row, final_obs[group])
        else:
            _write(self._rows, row, final_obs)
        self._places.index_copy_(0, row, places)
        self._count += truncated.sum()

    def read(self) -> Tuple[int, Any, torch.Tensor]:
        """How many were added, their observations and their places; waits for the device."""
        count = int(self._count)
        if count > self.capacity:
            raise UserError(f"{count} episodes ran out of time in a rollout with room for {self.capacity}: each robot "
                            "may do so once in max_steps steps, so give the environment the max_steps that it keeps "
                            "to, or None.")
        rows = ({group: rows[:count] for group, rows in self._rows.items()} if isinstance(self._rows, dict)
                else self._rows[:count])
        return count, rows, self._places[:count]


def _write(rows: torch.Tensor, index: torch.Tensor, values: Any) -> None:
    values = torch.as_tensor(values, dtype=rows.dtype, device=rows.device)
    rows.index_copy_(0, index, values.reshape(len(index), *rows.shape[1:]))
