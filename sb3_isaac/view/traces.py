"""Curves of one environment over time, for tasks that draw no scene of their own."""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence, Tuple

import numpy as np
import torch

from sb3_isaac.contract.figures import COLOURS, DPI, drawing
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

        with drawing(width / DPI, height / DPI, len(_NAMES), 1, sharex=True) as (figure, axes):
            figure.set_dpi(DPI)
            for axis, name, rows in zip(axes[:, 0], _NAMES, self._rows):
                axis.set_prop_cycle(color=COLOURS)
                if rows:
                    axis.plot(np.arange(len(rows)), np.stack(list(rows)), linewidth=1.0)
                axis.set_ylabel(name)
            axes[-1, 0].set_xlabel("control steps")
            axes[0, 0].set_title("   ".join(lines), loc="left")
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            return np.asarray(canvas.buffer_rgba())[..., :3].copy()
