"""Final observations on a CPU, where looking at a mask waits for nothing."""

from __future__ import annotations

from typing import Any, List, Tuple

import torch


class FinalObservationsOnCpu:
    """A list of the rows of each step's ``final_obs`` that are needed, in the order of the steps."""

    def __init__(self) -> None:
        self._rows: List[Any] = []
        self._places: List[torch.Tensor] = []

    def clear(self) -> None:
        """Begin a new rollout."""
        self._rows.clear()
        self._places.clear()

    def add(self, truncated: torch.Tensor, final_obs: Any, places: torch.Tensor) -> None:
        """Keep the observations (N, ...) of the robots of `truncated` (N,) bool, with their `places` (N,) int64."""
        index = truncated.nonzero().flatten()
        if len(index):
            self._rows.append({group: value[index] for group, value in final_obs.items()}
                              if isinstance(final_obs, dict) else final_obs[index])
            self._places.append(places[index])

    def read(self) -> Tuple[int, Any, torch.Tensor]:
        """How many were added, their observations and their places."""
        if not self._rows:
            return 0, None, torch.zeros(0, dtype=torch.int64)
        first = self._rows[0]
        rows = ({group: torch.cat([part[group] for part in self._rows]) for group in first}
                if isinstance(first, dict) else torch.cat(self._rows))
        places = torch.cat(self._places)
        return len(places), rows, places
