"""Curves of one environment over time, for tasks that draw no scene of their own."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Sequence, Tuple

import numpy as np
import torch

from sb3_isaac.contract.tensor_env import Obs

STEPS = 250
_NAMES = ("observation", "action", "reward")


class Traces:
    """The last steps of the first environment: its observation (group ``policy``), action and reward."""

    def __init__(self) -> None:
        self._rows: Tuple[Deque[np.ndarray], ...] = tuple(deque(maxlen=STEPS) for _ in _NAMES)

    def add(self, obs: Obs, actions: torch.Tensor, reward: torch.Tensor) -> None:
        """Take in a step."""
        for rows, value in zip(self._rows, (obs["policy"], actions, reward)):
            rows.append(value[0].detach().float().flatten().cpu().numpy().copy())

    def draw(self, width: int, height: int, lines: Sequence[str] = ()) -> np.ndarray:
        """A picture (height, width, 3) uint8."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes: Any = figure.subplots(len(_NAMES), 1, sharex=True)
        for axis, name, rows in zip(axes, _NAMES, self._rows):
            if rows:
                axis.plot(np.arange(len(rows)), np.stack(list(rows)), linewidth=1.0)
            axis.set_ylabel(name, fontsize=9)
            axis.grid(alpha=0.3)
        axes[-1].set_xlabel("control steps", fontsize=9)
        axes[0].set_title("   ".join(lines), fontsize=9, loc="left")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
