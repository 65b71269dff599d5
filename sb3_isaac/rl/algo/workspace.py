"""Memory for what a network computes between its layers, used again by the next pass."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import torch

Widths = Tuple[int, ...]
FLOATS: Dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
"""What all of these layers compute in, whatever torch's defaults are."""


class Loan:
    """Matrices of a workspace, which go back to it when nothing holds the loan any more.

    A graph of autograd holds it until it is freed, so passes that are not finished never share memory.
    """

    def __init__(self, free: List[List[torch.Tensor]], matrices: List[torch.Tensor], rows: int) -> None:
        self._free, self._matrices = free, matrices
        self.matrices = [matrix if matrix.shape[0] == rows else matrix[:rows] for matrix in matrices]

    def __del__(self) -> None:
        self._free.append(self._matrices)


class Workspace:
    """Lends matrices, and lends them again: fresh memory is in no cache, and costs the system page by page."""

    def __init__(self) -> None:
        self._free: Dict[Widths, List[List[torch.Tensor]]] = {}

    def lend(self, rows: int, widths: Widths) -> Loan:
        """Float32 matrices (rows, width) on the CPU, one for each of `widths`; what they hold is not said."""
        free = self._free.setdefault(widths, [])
        matrices = free.pop() if free else []
        if not matrices or matrices[0].shape[0] < rows:
            with torch.inference_mode(False):  # else no pass outside of that mode could use them later
                matrices = [torch.empty(rows, width, **FLOATS) for width in widths]
        return Loan(free, matrices, rows)
