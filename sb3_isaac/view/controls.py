"""What a person may do to robots that play: steer, push, pause, look at another one. From keys or from a page."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence

from sb3_isaac.contract.errors import is_number
from sb3_isaac.contract.stage import Stage, Steering
from sb3_isaac.contract.wording import UNITS, unit_of

PUSH_M_S = 1.0
"""Speed that a push gives, sideways in the world."""
STEPS = 10
"""Presses of a key from one end of a command's range to the other."""
PUSH, PAUSE, NEXT, PREVIOUS, STOP = "Enter", "Space", "PageDown", "PageUp", "End"
AXIS_KEYS = (("Up", "Down"), ("Left", "Right"), (",", "."))
"""What raises and what lowers the first, the second and the third number of a command."""


class Controls:
    """The state of what is pressed, and its effect on a stage.

    :param stage: what is steered and pushed.
    :param robots: how many can be looked at.
    :param ranges: {name: (low, high)} of a command's numbers that the policy was trained for, where known.
    """

    def __init__(self, stage: Stage, robots: int, ranges: Optional[Mapping[str, Sequence[float]]] = None) -> None:
        self._stage, self._robots = stage, robots
        self._ranges = dict(ranges or {})
        self.paused, self.robot, self._pushes = False, 0, 0
        self.axes: List[Steering] = []
        self.follow()

    def follow(self) -> bool:
        """Take over what the robot that is looked at is told now; whether it is anything new."""
        before = self.axes
        self.axes = [_ranged(axis, self._ranges.get(axis.name)) for axis in self._stage.steering(self.robot)]
        return self.axes != before

    def press(self, key: str) -> None:
        """Take in a key of a window, by name; others than ours do nothing."""
        if key == PAUSE:
            self.paused = not self.paused
        elif key == PUSH:
            self.push()
        elif key in (NEXT, PREVIOUS):
            self.robot = (self.robot + (1 if key == NEXT else -1)) % self._robots
        elif key == STOP:
            self.command([0.0] * len(self.axes))
        for axis, (up, down) in zip(self.axes, AXIS_KEYS):
            if key in (up, down):
                step = (axis.high - axis.low) / STEPS * (1 if key == up else -1)
                self.command([other.value + step * (other is axis) for other in self.axes])

    def act(self, action: Mapping[str, Any]) -> None:
        """Take in what was pressed on a page: ``command`` a list, ``push`` and ``paused`` booleans. What is not that is
        left alone: anybody may write it."""
        command = action.get("command")
        if isinstance(command, list) and len(command) == len(self.axes) and all(map(is_number, command)):
            self.command(command)
        if action.get("push") is True:
            self.push()
        if isinstance(action.get("paused"), bool):
            self.paused = action["paused"]

    def command(self, values: Sequence[float]) -> None:
        """Tell all robots these numbers, each within its range."""
        self.axes = [axis._replace(value=min(max(float(value), axis.low), axis.high))
                     for axis, value in zip(self.axes, values)]
        if self.axes:
            self._stage.command([axis.value for axis in self.axes])

    def push(self) -> None:
        """Push all robots, from another side each time."""
        angle = math.pi / 2 + math.pi * (self._pushes % 2) + 0.5 * self._pushes
        self._pushes += 1
        self._stage.push((PUSH_M_S * math.cos(angle), PUSH_M_S * math.sin(angle)))

    def state(self) -> Dict[str, Any]:
        """What a page shows of it."""
        return {"command": [axis.value for axis in self.axes], "paused": self.paused}

    def help(self) -> List[str]:
        """Which keys there are, in lines."""
        lines = [f"{up} / {down}  {_told(axis)}" for axis, (up, down) in zip(self.axes, AXIS_KEYS)]
        other = [f"{PREVIOUS} / {NEXT}  robot {self.robot + 1} of {self._robots}"] if self._robots > 1 else []
        stop = [f"{STOP}  command 0"] if self.axes else []
        return [*lines, *stop, f"{PUSH}  push", f"{PAUSE}  {'go on' if self.paused else 'pause'}", *other]


def _told(axis: Steering) -> str:
    """Such as ``forward 0.60 m/s`` of ``forward_m_s``."""
    end = next((end for end in UNITS if axis.name.endswith(end)), "")
    return f"{axis.name[:len(axis.name) - len(end)].replace('_', ' ')} {axis.value:.2f} {unit_of(axis.name)}".rstrip()


def _ranged(axis: Steering, ends: Optional[Sequence[float]]) -> Steering:
    return axis if ends is None else axis._replace(low=min(ends[0], axis.value), high=max(ends[1], axis.value))
