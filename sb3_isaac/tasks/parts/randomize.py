"""Randomisation: parameters of the simulation that each robot has of its own, drawn from a table of ranges."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import torch

from sb3_isaac.contract.device import copy_where, known_empty
from sb3_isaac.contract.errors import UserError, brief, is_number, number_above_zero, unknown

WHEN = ("startup", "reset", "interval")
"""Drawn once in a training, at the start of each episode, or at moments of each robot's own."""
_SETTINGS = ("range", "each", "when", "interval_s", "first")
INTERVAL_S = 5.0


class Uniform(NamedTuple):
    """A range, drawn from uniformly, each number by itself.

    :param when: ``startup``, ``reset`` or ``interval``; None: as the parameter's own.
    :param interval_s: mean seconds between two draws at ``interval``.
    :param first: the range to begin training with; both ends widen to the whole one while commands are followed, by all
        robots on average.
    """

    low: float
    high: float
    when: Optional[str] = None
    interval_s: float = INTERVAL_S
    first: Optional[Tuple[float, float]] = None


class Each(NamedTuple):
    """Values that are told out in turn, robot i having number i, from the beginning on."""

    values: Tuple[float, ...]
    when: Optional[str] = None
    interval_s: float = INTERVAL_S


Draw = Union[Uniform, Each]


class Parameter(NamedTuple):
    """What can be randomised.

    :param width: k numbers of one robot, of the task.
    :param neutral: what each of them is without randomisation.
    :param when: see :data:`WHEN`.
    :param least, most: bounds of what may be given.
    :param mirror: kind of mirror image, see :mod:`~sb3_isaac.tasks.parts.mirror`; None keeps it from the critic.
    :param apply: ``apply(task, mask)`` makes the draws of the robots of `mask` act; None: the task reads them.
    :param needs: what it sets in the simulator.
    """

    width: Callable[[Any], int]
    neutral: float
    when: str
    least: float
    most: float
    mirror: Optional[str]
    apply: Optional[Callable[[Any, torch.Tensor], None]] = None
    needs: Tuple[str, ...] = ()


class Together:
    """Parameters that are drawn at the same moments: one tensor of all their numbers.

    :param table: parameter -> what it is drawn from.
    :param parameters: the same ones.
    """

    def __init__(self, task: Any, table: Mapping[str, Draw], parameters: Mapping[str, Parameter]) -> None:
        self._task = task
        widths = [parameters[name].width(task) for name in table]
        self._raw, self._values = (task.zeros(sum(widths)) for _ in range(2))
        self.draws = dict(zip(table, self._values.split(widths, dim=1)))
        """Parameter -> what each robot has now, (N, k)."""
        self._told: List[Tuple[torch.Tensor, torch.Tensor]] = []
        numbers, robot = self._raw.split(widths, dim=1), torch.arange(task.num_envs, device=task.device)
        for (name, draw), raw in zip(table.items(), numbers):
            self.draws[name].fill_(parameters[name].neutral)
            if isinstance(draw, Each):
                values = torch.tensor(draw.values, device=task.device)
                self._told.append((raw, values[robot % len(values)][:, None]))
        rows = [(*ends(draw), *(getattr(draw, "first", None) or ends(draw)))
                for draw, width in zip(table.values(), widths) for _ in range(width)]
        self._low, self._high, self._first_low, self._first_high = torch.tensor(
            rows, device=task.device).reshape(-1, 4).unbind(dim=1)
        self._widens = any(getattr(draw, "first", None) is not None for draw in table.values())
        self._apply = [apply for apply in dict.fromkeys(parameters[name].apply for name in table) if apply is not None]

    def draw(self, mask: torch.Tensor, reach: torch.Tensor) -> None:
        """Draw for the robots of `mask` (N,) bool, from ranges that have widened to `reach` (), from 0 to 1."""
        if known_empty(mask):
            return
        low, high = self._low, self._high
        if self._widens:
            low, high = (torch.lerp(first, last, reach) for first, last in ((self._first_low, low),
                                                                           (self._first_high, high)))
        numbers = self._task.uniform(self._raw).mul_(0.5 * (high - low)).add_(0.5 * (low + high))
        for own, told in self._told:
            own.copy_(told)
        copy_where(mask, numbers.t(), self._values.t())
        for apply in self._apply:
            apply(self._task, mask)


class Randomization:
    """The draws of N robots, by name (N, k); those of parameters that are not randomised are missing.

    All robots draw whenever one does, so that no robot's draws depend on another's, and one seed draws the same.

    :param task: whose numbers come from ``task.uniform`` and whose tensors from ``task.zeros``.
    :param parameters: what there is.
    :param table: parameter -> what it is drawn from.
    """

    def __init__(self, task: Any, parameters: Mapping[str, Parameter], table: Mapping[str, Draw]) -> None:
        self._task, self._parameters = task, parameters
        self.table = {name: draw if draw.when else draw._replace(when=parameters[name].when)
                      for name, draw in table.items()}
        self.widens = any(getattr(draw, "first", None) is not None for draw in table.values())
        self.reach = torch.zeros((), device=task.device)
        """How far ranges with a ``first`` have widened, (): from 0 to 1."""

        def together(names: List[str]) -> Together:
            return Together(task, {name: self.table[name] for name in names}, parameters)

        at = {when: [name for name in table if self.table[name].when == when] for when in WHEN}
        self._begins = {when: together(at[when]) for when in ("startup", "reset") if at[when]}
        self._intervals = {name: together([name]) for name in at["interval"]}
        made = {name: draws for one in (*self._begins.values(), *self._intervals.values())
                for name, draws in one.draws.items()}
        self.draws = {name: made[name] for name in table}
        """What each robot has now."""
        for name in table:
            for param in parameters[name].needs:
                task.sim.get_param(param)  # a simulator without it says so

    def start(self, mask: torch.Tensor, first_time: bool) -> None:
        """Draw for the robots of `mask`, whose episode begins: all there is, `first_time`."""
        for when, drawn in self._begins.items():
            if first_time or when == "reset":
                drawn.draw(mask, self.reach)
        for drawn in self._intervals.values() if first_time else ():
            drawn.draw(mask, self.reach)

    def go_on(self, control_dt: float) -> None:
        """Draw, before a control step, for the robots whose moment it is."""
        for name, drawn in self._intervals.items():
            # Uniform in [−1, 1), so that 2 p of it has the probability p.
            chance = self._task.uniform(self._task.zeros(1))[:, 0]
            drawn.draw(chance < 2.0 * control_dt / self.table[name].interval_s - 1.0, self.reach)

    def widened(self, well: torch.Tensor, share: float) -> None:
        """Widen the ranges with a ``first`` by `share` of their way where commands are followed `well`, () bool."""
        if self.widens:
            self.reach.add_(well * share).clamp_(max=1.0)

    def bounds(self, name: str) -> Tuple[float, float]:
        """Least and largest value that a parameter can take; the neutral one where it is not randomised."""
        if name not in self.table:
            return (self._parameters[name].neutral,) * 2
        return ends(self.table[name])

    def state_dict(self) -> Dict[str, Any]:
        """The draws, and how far ranges have widened."""
        return {"draws": {name: values.clone() for name, values in self.draws.items()}, "reach": self.reach.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``; what the draws act on is the simulator's own state."""
        for name, values in self.draws.items():
            values.copy_(state["draws"][name])
        self.reach.copy_(state["reach"])


def ends(draw: Draw) -> Tuple[float, float]:
    """Least and largest value."""
    return (min(draw.values), max(draw.values)) if isinstance(draw, Each) else (draw.low, draw.high)


def randomize_table(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> Dict[str, Draw]:
    """A table of parameter -> draw, from one of draws, [low, high], numbers, mappings of settings, or None for none.

    :raises UserError: for unknown parameters and settings, and for ranges that cannot be drawn from.
    """
    table: Dict[str, Draw] = {}
    for name, value in given.items():
        if name not in parameters:
            raise unknown("parameter", name, parameters, where="randomize")
        if value is not None:
            table[name] = _checked(name, parameters[name], _read(name, value))
    return table


def whole_ranges(given: Mapping[str, Any]) -> Dict[str, Any]:
    """The same table where no range has to widen: what evaluations draw from."""
    whole: Dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping) and "range" in value:
            value = {key: setting for key, setting in value.items() if key != "first"}
        whole[name] = value._replace(first=None) if isinstance(value, Uniform) else value
    return whole


def _read(name: str, value: Any) -> Draw:
    if isinstance(value, (Uniform, Each)):
        return value
    if not isinstance(value, Mapping):
        return Uniform(*_range(name, value))
    for key in value:
        if key not in _SETTINGS:
            raise unknown("setting", key, _SETTINGS, where=f"randomize {name}")
    if ("range" in value) == ("each" in value):
        raise UserError(f"randomize {name} is {brief(dict(value))}: give it a range [low, high], or with each a list "
                        "of values.")
    settings = {key: value[key] for key in ("when", "interval_s", "first") if key in value}
    if "each" in value:
        if "first" in settings:
            raise UserError(f"randomize {name} has first beside each, and only a range can widen: leave it out.")
        return Each(value["each"], **settings)
    if "first" in settings:
        settings["first"] = _range(f"{name} first", settings["first"])
    return Uniform(*_range(name, value["range"]), **settings)


def _range(name: str, value: Any) -> Tuple[float, float]:
    pair = (value, value) if is_number(value) else value
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(is_number, pair)) or pair[0] > pair[1]:
        raise UserError(f"randomize {name} is {brief(value)}: give a number, or [low, high] with low <= high.")
    return float(pair[0]), float(pair[1])


def _checked(name: str, parameter: Parameter, draw: Draw) -> Draw:
    """`draw` with values that the parameter may have."""
    if draw.when is not None and draw.when not in WHEN:
        raise unknown("moment", draw.when, WHEN, where=f"randomize {name}")
    draw = draw._replace(interval_s=number_above_zero(f"randomize {name} interval_s", draw.interval_s))
    if isinstance(draw, Each):
        values = draw.values
        if not isinstance(values, (list, tuple)) or not values or not all(map(is_number, values)):
            raise UserError(f"randomize {name} each is {brief(values)}: give a list of numbers.")
        draw = draw._replace(values=tuple(map(float, values)))
    else:
        low, high = _range(name, draw[:2])
        draw = draw._replace(low=low, high=high)
    if isinstance(draw, Uniform) and draw.first is not None:
        first = _range(f"{name} first", draw.first)
        if (draw.when or parameter.when) == "startup":
            raise UserError(f"randomize {name} is drawn at startup, so its range cannot widen later: give when: reset "
                            "beside first.")
        if not draw.low <= first[0] <= first[1] <= draw.high:
            raise UserError(f"randomize {name} first is {list(first)}: give a part of [{draw.low:g}, {draw.high:g}].")
        draw = draw._replace(first=first)
    low, high = ends(draw)
    if not parameter.least <= low <= high <= parameter.most:
        raise UserError(f"randomize {name} is from {low:g} to {high:g}: give values from {parameter.least:g} to "
                        f"{parameter.most:g}.")
    return draw
