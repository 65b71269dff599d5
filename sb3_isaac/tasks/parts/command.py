"""Commands: what a robot is told to do, drawn anew at each start of an episode and every few seconds."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, number_above_zero, truth, unknown
from sb3_isaac.contract.names import find_object


class Axis(NamedTuple):
    """One number of a command: the range it is drawn from, uniformly; its name says the unit.

    ``mirror`` says what a mirror makes of it: 1 the same (forward), −1 its negative (sideways, yaw), None unknown.
    """

    low: float
    high: float
    mirror: Optional[int] = None


class Commands:
    """The axes of a command, how they are drawn, and how often.

    ============ ================================================================================================
    setting      what
    ============ ================================================================================================
    resample_s   seconds between draws
    random_times draw each robot's command at moments of its own instead, ``resample_s`` apart on average: in each
                 control step with the probability ``control_dt / resample_s``
    zero_share   the part of the draws that is 0 on an axis, for each axis by itself
    stand_share  the part of the draws that is 0 on all axes
    edge_share   the part of the draws that is at an end of an axis's range, for each axis by itself: the corners, such
                 as fast ahead, sideways and turning at once, are hardest, and else never drawn
    sequence     commands told in turn, [{axis: value}, ...], in place of draws: robot i begins with number i and goes
                 on to the next every ``resample_s``; after the last comes the first. An axis that is not in them is
                 drawn.
    together     whether all robots begin with number 0 of the sequence
    shuffled     whether robots begin with numbers of the sequence in no order, each number as often: so that what else
                 robots have by turns has nothing to do with their commands
    first        ranges to begin training with, {axis: [low, high]}; while commands are followed they widen to the
                 axes' own, and ``zero_share`` and ``stand_share`` grow from 0 to their own: a robot that earns by
                 standing from the beginning does not learn to step. Those of the task are not for axes whose range
                 the user gives; where no range is left that widens, these shares still grow
    widen_at     how well commands have to be followed, from 0 to 1, for ranges to widen
    widen_s      seconds of commands followed that this takes
    each_end     whether each end of a range widens by itself, as those robots follow that are told the quarter of the
                 present range at it: backward, say, widens no sooner than a robot goes backward. Else all widen as all
                 robots follow
    ============ ================================================================================================

    An axis that is given as a number keeps it, and one whose range is without 0 is never told 0.

    :param axes: axis name -> its default range.
    :param given: axis name -> [low, high] or a single number, in place of the default; an :class:`Axis`, or the name
        of one, adds an axis; and settings.
    :param settings: the task's own settings.
    """

    SETTINGS: Mapping[str, Any] = {"resample_s": 5.0, "random_times": False, "zero_share": 0.0, "stand_share": 0.0,
                                   "edge_share": 0.0, "sequence": (), "together": False, "shuffled": False, "first": {},
                                   "widen_at": 0.6, "widen_s": 10.0, "each_end": False}
    OUTER = 0.25
    """The part of a range at whose following its end widens, with ``each_end``."""

    def __init__(self, axes: Mapping[str, Axis], given: Optional[Mapping[str, Any]] = None,
                 settings: Optional[Mapping[str, Any]] = None) -> None:
        self.axes: Dict[str, Axis] = dict(axes)
        self.settings: Dict[str, Any] = dict(self.SETTINGS)
        self._usual = {**self.SETTINGS, **{name: _setting(name, value) for name, value in (settings or {}).items()
                                           if name in self.SETTINGS}}
        given = mapping("command", given)
        for name, value in {**(settings or {}), **given}.items():
            if name in self.SETTINGS:
                self.settings[name] = _setting(name, value)
                continue
            named = isinstance(value, str) and "." in value
            found = find_object(value, f"command axis {name!r}") if named else value
            if name not in axes and not isinstance(found, Axis):
                raise unknown("command option", name, (*axes, *self.SETTINGS))
            mirror = found.mirror if isinstance(found, Axis) and name not in axes else axes[name].mirror
            self.axes[name] = _range(name, found)._replace(mirror=mirror)
        for share in ("stand_share", "edge_share"):
            if self.settings["zero_share"] + self.settings[share] > 1.0:
                raise UserError(f"command zero_share {self.settings['zero_share']} and {share} {self.settings[share]} "
                                "are more than 1 together: give smaller ones.")
        for name in given.get("first") or ():
            if name not in self.axes:
                raise unknown("command axis", name, self.axes, where="first")
        grows = bool(self.settings["first"])
        self.settings["first"] = {name: value for name, value in self.settings["first"].items()
                                  if name in self.axes and ("first" in given or name not in given)}
        self._first = {name: _within(_range(name, value), self.axes[name])
                       for name, value in self.settings["first"].items()}
        widens = any(first[:2] != self.axes[name][:2] for name, first in self._first.items())
        self._shares_first = float(widens or not grows or not self._mixed())
        self._ends: Optional[Tuple[torch.Tensor, torch.Tensor]] = None
        self._sequence = torch.tensor([self._row(row) for row in self.settings["sequence"]])
        self._begins_with: Optional[torch.Tensor] = None

    def _row(self, row: Any) -> List[float]:
        """A row of the sequence by axis, NaN where it is drawn."""
        for name, value in mapping("a command of the sequence", row).items():
            if name not in self.axes:
                raise unknown("command axis", name, self.axes, where="the sequence")
            if not is_number(value):
                raise UserError(f"command {name} in the sequence is {value!r}: give a finite number.")
        return [float(row.get(name, "nan")) for name in self.axes]

    def options(self) -> Dict[str, Any]:
        """What would make these commands again: ranges, and the settings that differ from all tasks' or this one's."""
        changed = {name: value for name, value in self.settings.items()
                   if value != self.SETTINGS[name] or value != self._usual[name] or name == "resample_s"}
        return {**{name: [axis.low, axis.high] for name, axis in self.axes.items()}, **changed}

    def fix(self, values: Sequence[float]) -> None:
        """Tell these numbers, one for each axis, whenever a command is drawn from now on."""
        told = told_by(list(self.axes), values)
        self.axes = {name: axis._replace(low=told[name], high=told[name]) for name, axis in self.axes.items()}
        self._first, self._shares_first, self._sequence, self._ends = {}, 1.0, torch.tensor([]), None
        self.settings["sequence"] = ()

    def due(self, steps: torch.Tensor, control_dt: float, generator: torch.Generator) -> torch.Tensor:
        """Which robots are to be told anew after `steps` (N,) of their episode, (N,) bool."""
        if self.settings["random_times"]:
            drawn = torch.rand(len(steps), generator=generator, device=steps.device)
            return drawn < control_dt / self.settings["resample_s"]
        return steps % self._every(control_dt) == 0

    def _every(self, control_dt: float) -> int:
        """Control steps between two draws."""
        return max(1, round(self.settings["resample_s"] / control_dt))

    def first_reach(self, device: torch.device) -> torch.Tensor:
        """How far each end of each range is at the beginning of training, (axes + 1, 2): 0 at that of ``first``, 1 at
        its own. The last row is of the shares where no range widens that they could grow with; else it is 1."""
        first, own = self._first_and_own(device)
        return (first == own).float()

    def widened(self, reach: torch.Tensor, followed: torch.Tensor, command: torch.Tensor, control_dt: float) -> None:
        """Let `reach` (axes + 1, 2), from 0 to 1, grow in place.

        :param followed: (N,), how well each robot follows its command, where those that do not count have 0 and the
            others so much more that the mean is theirs; it is compared with ``widen_at``.
        :param command: (N, axes), what they are told.
        """
        if not self._widens():
            return
        well = followed.mean()
        if self.settings["each_end"]:
            counted = followed > 0.0
            low, high = self._reached(reach)[:-1].unbind(dim=1)
            outer = self.OUTER * (high - low)
            at_end = torch.stack((command <= low + outer, command >= high - outer), dim=2) & counted[:, None, None]
            total = (at_end * followed[:, None, None]).sum(dim=0) * counted.float().mean()
            well = torch.cat((total / at_end.sum(dim=0).clamp(min=1), well.expand(1, 2)))
        reach.add_((well > self.settings["widen_at"]) * (control_dt / self.settings["widen_s"])).clamp_(max=1.0)

    def _widens(self) -> bool:
        """Whether anything becomes more in training."""
        return bool(self._first) or self._shares_first < 1.0

    def way(self, reach: torch.Tensor) -> torch.Tensor:
        """How far the ends that widen are on average, (), from 0 to 1; 1 where none widens."""
        first, own = self._first_and_own(reach.device)
        left = ((first != own) * (1.0 - reach)).sum()
        return 1.0 - left / (first != own).sum().clamp(min=1)

    def draw(self, command: torch.Tensor, mask: torch.Tensor, steps: torch.Tensor, control_dt: float,
             generator: torch.Generator, reach: Optional[torch.Tensor] = None) -> None:
        """Tell the rows of `mask` (N,) bool of `command` (N, axes) anew. All draw, so that none depends on others."""
        rows, device, mixed = len(self.axes), command.device, self._mixed()
        drawn = torch.rand(rows + (rows + 1 if mixed else 0), len(mask), generator=generator, device=device)
        if known_empty(mask):
            return
        widens = reach is not None and self._widens()
        reached = self._reached(reach) if widens else None  # type: ignore[arg-type]
        wide: Any = self.way(reach) if widens else 1.0  # type: ignore[arg-type]
        stand = drawn[-1] < wide * self.settings["stand_share"] if mixed else None
        told = self._told(steps, control_dt, device) if len(self._sequence) else None
        for i, (column, axis) in enumerate(zip(command.unbind(dim=1), self.axes.values())):
            low, high = (axis.low, axis.high) if reached is None else reached[i]
            edge = torch.where(drawn[i] < 0.5, low, high) if self.settings["edge_share"] else None
            values = drawn[i].mul_(high - low).add_(low)
            if edge is not None and axis.low < axis.high:
                values = torch.where(drawn[rows + i] > 1.0 - self.settings["edge_share"], edge, values)
            if stand is not None and axis.low <= 0.0 <= axis.high:
                values.masked_fill_(stand | (drawn[rows + i] < wide * self.settings["zero_share"]), 0.0)
            if told is not None:
                values = torch.where(told[:, i].isnan(), values, told[:, i])
            torch.where(mask, values, column, out=column)

    def _reached(self, reach: torch.Tensor) -> torch.Tensor:
        """The ends of each axis's range, (axes + 1, 2), `reach` of the way from the first ones to its own."""
        first, own = self._first_and_own(reach.device)
        return first + reach * (own - first)

    def _first_and_own(self, device: torch.device) -> Tuple[torch.Tensor, torch.Tensor]:
        """The ends of each axis's range at the beginning of training and in the end, (axes + 1, 2) each; the last row
        is the part of the shares."""
        if self._ends is None or self._ends[0].device != device:  # copied once: a copy waits for the device
            first = [self._first.get(name, axis)[:2] for name, axis in self.axes.items()]
            own = [axis[:2] for axis in self.axes.values()]
            self._ends = (torch.tensor([*first, 2 * (self._shares_first,)], device=device),
                          torch.tensor([*own, (1.0, 1.0)], device=device))
        return self._ends

    def _mixed(self) -> bool:
        """Whether a part of the draws is told otherwise than the rest."""
        return any(self.settings[share] for share in ("zero_share", "stand_share", "edge_share"))

    def _told(self, steps: torch.Tensor, control_dt: float, device: torch.device) -> torch.Tensor:
        """The sequence's row for each robot now, (N, axes)."""
        self._sequence = table = self._sequence.to(device)  # copied once: a copy waits for the device
        if self._begins_with is None or len(self._begins_with) != len(steps):
            number = torch.arange(len(steps)) * (not self.settings["together"])
            if self.settings["shuffled"]:
                number = number[torch.randperm(len(steps), generator=torch.Generator().manual_seed(0))]
            self._begins_with = number.to(device)
        return table[(self._begins_with + steps // self._every(control_dt)) % len(table)]


def outside(trained: Mapping[str, Axis], told: Sequence[Mapping[str, float]]) -> List[str]:
    """What of the commands `told` lies beyond the ranges that a policy was trained for, each axis once."""
    names: Dict[str, str] = {}
    for command in told:
        for name, value in command.items():
            if name in trained and not trained[name].low - 1e-6 <= value <= trained[name].high + 1e-6:
                names.setdefault(name, f"{name} {value:g} (trained from {trained[name].low:g} to "
                                       f"{trained[name].high:g})")
    return list(names.values())


def told_by(axes: Sequence[str], command: Sequence[float]) -> Dict[str, float]:
    """The numbers of a command by the names of its axes; UserError where there are too few or too many."""
    if len(command) != len(axes):
        raise UserError(f"the command {', '.join(f'{value:g}' for value in command)} is of length {len(command)}: "
                        f"give {len(axes)} numbers, {', '.join(axes)}.")
    return dict(zip(axes, map(float, command)))


def _within(first: Axis, axis: Axis) -> Axis:
    """The part of the range `first` that lies in that of `axis`, or the end of it that is nearest."""
    return Axis(min(max(first.low, axis.low), axis.high), min(max(first.high, axis.low), axis.high))


def _setting(name: str, value: Any) -> Any:
    if name in ("resample_s", "widen_s"):
        if not is_number(value) or value <= 0:
            raise UserError(f"command {name} is {value!r}: give a number of seconds above 0.")
        return number_above_zero(f"command {name}", value)
    if name in ("random_times", "together", "shuffled", "each_end"):
        return truth(f"command {name}", value)
    if name == "first":
        return {axis: list(_range(f"first {axis}", ends)[:2]) for axis, ends in mapping("command first", value).items()}
    if name == "sequence":
        if not isinstance(value, (list, tuple)):
            raise UserError(f"command sequence is {value!r}: give a list of commands such as {{axis: value}}.")
        return tuple(value)
    if not is_number(value) or not 0.0 <= value <= 1.0:
        raise UserError(f"command {name} is {value!r}: give a number from 0 to 1.")
    return float(value)


def _range(name: str, value: Any) -> Axis:
    pair: Tuple[Any, ...] = (value, value) if is_number(value) else value[:2] if isinstance(value, Axis) else value
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(is_number, pair)) or pair[0] > pair[1]:
        raise UserError(f"command {name} is {brief(value)}: give a number, or [low, high] with low <= high.")
    return Axis(float(pair[0]), float(pair[1]))
