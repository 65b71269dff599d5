"""What a person sees of a task and may do to it."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import torch

from sb3_isaac.contract.stage import Mesh, Stage, Steering


class TaskStage(Stage):
    """The stage of an :class:`~sb3_isaac.tasks.parts.episode.EpisodicTask`: its simulator's shapes, its commands.

    :param task: whose robots are shown.
    :param simulator: its :class:`~sb3_isaac.sim.Simulator`; None for a task that has none, which shows no shapes.
    """

    def __init__(self, task: Any, simulator: Any) -> None:
        self._task, self._simulator = task, simulator
        self._shapes = None if simulator is None else simulator.make_shapes()
        self.level = self._shapes is None or self._shapes.level

    def meshes(self) -> List[Optional[Mesh]]:
        """See :meth:`Stage.meshes`."""
        return [] if self._shapes is None else self._shapes.meshes()

    def snapshot(self, robots: int) -> np.ndarray:
        """See :meth:`Stage.snapshot`."""
        found: np.ndarray = super().snapshot(robots) if self._shapes is None else self._shapes.snapshot(robots)
        return found

    def poses(self, snapshot: np.ndarray) -> np.ndarray:
        """See :meth:`Stage.poses`."""
        found: np.ndarray = super().poses(snapshot) if self._shapes is None else self._shapes.poses(snapshot)
        return found

    def steering(self, robot: int = 0) -> Sequence[Steering]:
        """See :meth:`Stage.steering`: an axis has the range that the task's table gives it, or what it is told."""
        told, found = self._task.command[robot].tolist(), []
        for (name, column), value in zip(self._task.command_columns.items(), told):
            axis = self._task.COMMAND.get(name)
            low, high = (value, value) if axis is None else (axis.low, axis.high)
            found.append(Steering(name, min(low, value), max(high, value), told[column]))
        return tuple(found)

    def command(self, values: Sequence[float]) -> None:
        """See :meth:`Stage.command`."""
        self._task.steer(values)

    def push(self, velocity_m_s: Tuple[float, float]) -> None:
        """See :meth:`Stage.push`."""
        if self._simulator is not None:
            count, device = self._task.num_envs, self._task.device
            blow = torch.zeros(count, 3, device=device)
            blow[:, 0], blow[:, 1] = velocity_m_s
            self._simulator.push(blow, torch.zeros_like(blow), torch.ones(count, dtype=torch.bool, device=device))
