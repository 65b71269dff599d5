"""Commands: what a robot is told to do, drawn anew at each start of an episode and every few seconds."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import torch

from sb3_isaac.contract.errors import UserError, is_number, mapping, unknown
from sb3_isaac.contract.names import find_object


class Axis(NamedTuple):
    """One number of a command: the range it is drawn from, uniformly; its name says the unit."""

    low: float
    high: float


class Commands:
    """The axes of a command, and how often it is drawn anew.

    :param axes: axis name -> its default range.
    :param given: axis name -> [low, high] or a single number, in place of the default; an :class:`Axis`, or the name
        of one, adds an axis; ``resample_s`` -> seconds between draws.
    """

    def __init__(self, axes: Mapping[str, Axis], given: Optional[Mapping[str, Any]] = None,
                 resample_s: float = 5.0) -> None:
        self.axes: Dict[str, Axis] = dict(axes)
        self.resample_s = resample_s
        for name, value in mapping("command", given).items():
            if name == "resample_s":
                if not is_number(value) or value <= 0:
                    raise UserError(f"command resample_s is {value!r}: give a number of seconds above 0.")
                self.resample_s = float(value)
                continue
            named = isinstance(value, str) and "." in value
            found = find_object(value, f"command axis {name!r}") if named else value
            if name not in axes and not isinstance(found, Axis):
                raise unknown("command option", name, (*axes, "resample_s"))
            self.axes[name] = _range(name, found)

    def options(self) -> Dict[str, Any]:
        """What would make these commands again."""
        return {**{name: [axis.low, axis.high] for name, axis in self.axes.items()}, "resample_s": self.resample_s}

    def draw(self, command: torch.Tensor, mask: torch.Tensor, generator: torch.Generator) -> None:
        """Draw the rows of `mask` (N,) bool of `command` (N, axes) anew. All draw, so that none depends on others."""
        drawn = torch.rand(len(self.axes), len(mask), generator=generator, device=command.device)
        for column, axis, values in zip(command.unbind(dim=1), self.axes.values(), drawn):
            torch.where(mask, values.mul_(axis.high - axis.low).add_(axis.low), column, out=column)


def _range(name: str, value: Any) -> Axis:
    pair: Tuple[Any, ...] = (value, value) if is_number(value) else value
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(is_number, pair)) or pair[0] > pair[1]:
        raise UserError(f"command {name} is {value!r}: give a number, or [low, high] with low <= high.")
    return Axis(float(pair[0]), float(pair[1]))
