"""Search spaces: YAML files that name what a trial may change, in the algorithm and in the task."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Protocol, Tuple

from sb3_isaac.config.files import read_entry
from sb3_isaac.config.schema import minibatch_size
from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, truth, unknown

FOLDER = Path(__file__).parent / "spaces"
KINDS = ("float", "int", "categorical")
FIELDS = ("kind", "low", "high", "log", "choices", "condition")
_PLAIN = (bool, int, float, str, type(None))


class Suggests(Protocol):
    """What is asked of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number from `low` to `high`."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number from `low` to `high`."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of `choices`."""


@dataclass(frozen=True)
class Parameter:
    """One thing that trials vary.

    | field | what |
    |---|---|
    | name | dotted key as in ``-params``: gamma, policy_kwargs.log_std_init, env_kwargs.reward.energy, n_minibatches |
    | kind | float, int or categorical |
    | low, high, log | bounds, both included; whether it is drawn by its logarithm |
    | choices | the values of a categorical one; lists and mappings are values too |
    | condition | names and values of parameters above: it is drawn only where all of them have that value |
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: Tuple[Any, ...] = ()
    condition: Tuple[Tuple[str, Any], ...] = ()

    def suggest(self, trial: Suggests) -> Any:
        """The value that `trial` has here."""
        if self.kind == "float":
            return trial.suggest_float(self.name, self.low, self.high, log=self.log)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        labels = [_label(choice) for choice in self.choices]
        return self.choices[labels.index(trial.suggest_categorical(self.name, labels))]

    def encode(self, value: Any, where: str) -> Any:
        """`value` as Optuna stores it; UserError where this parameter cannot have it."""
        if self.kind == "categorical":
            plain = list(value) if isinstance(value, tuple) else value
            for choice in self.choices:
                if choice == plain and isinstance(choice, bool) == isinstance(plain, bool):
                    return _label(choice)
            span = f"one of {', '.join(str(choice) for choice in self.choices)}"
        else:
            if is_number(value) and self.low <= value <= self.high and (self.kind == "float" or value == int(value)):
                return value
            span = f"from {self.low:g} to {self.high:g}"
        raise UserError(f"{self.name} is {brief(value)} in {where}, and the search space wants it {span}: widen the "
                        f"space, or start from another value with -params {self.name}:VALUE.")

    def probes(self) -> List[Any]:
        """The values at the borders of what can be drawn."""
        if self.kind == "categorical":
            return list(self.choices)
        return [int(end) if self.kind == "int" else end for end in (self.low, self.high)]

    def applies(self, drawn: Mapping[str, Any]) -> bool:
        """Whether its condition holds among the values drawn before it."""
        return all(name in drawn and drawn[name] == value for name, value in self.condition)


@dataclass(frozen=True)
class Space:
    """The parameters of one environment's studies, in the order in which they are drawn."""

    parameters: Tuple[Parameter, ...]
    source: str

    def draw(self, trial: Suggests) -> Dict[str, Any]:
        """Values by dotted key; a parameter whose condition does not hold is not among them."""
        drawn: Dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.applies(drawn):
                drawn[parameter.name] = parameter.suggest(trial)
        return drawn

    def of_algorithm(self) -> "Space":
        """Without what reaches into the task."""
        kept = tuple(p for p in self.parameters if not p.name.startswith("env_kwargs."))
        return Space(kept, self.source)

    def description(self) -> Dict[str, Dict[str, Any]]:
        """Builtins that are equal for equal spaces."""
        return {p.name: {"kind": p.kind, "low": p.low, "high": p.high, "log": p.log,
                         "choices": [_label(choice) for choice in p.choices],
                         "condition": {name: value for name, value in p.condition}} for p in self.parameters}


def sample(space: Space, trial: Suggests, n_envs: int, n_steps: int,
           base: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """A draw as an entry of rl-zoo's YAML: nested keys, and ``batch_size`` in place of ``n_minibatches``.

    :param n_envs: environments, of which each gives `n_steps` transitions to a rollout where the space does not draw
        ``n_steps`` itself.
    :param base: an entry whose mappings (``policy_kwargs``) keep what the draw does not set.
    """
    return nested(with_batch_size(space.draw(trial), n_envs, n_steps), base)


def with_batch_size(drawn: Mapping[str, Any], n_envs: int, n_steps: int) -> Dict[str, Any]:
    """`drawn` with ``n_minibatches`` turned into the batch size that makes so many of a rollout.

    Where the transitions do not divide, the last minibatch is smaller by fewer transitions than there are minibatches.
    """
    made = dict(drawn)
    minibatches = made.pop("n_minibatches", None)
    if minibatches is not None:
        made["batch_size"] = minibatch_size(n_envs * int(made.get("n_steps", n_steps)), int(minibatches))
    return made


def nested(flat: Mapping[str, Any], base: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``; mappings begin as copies of those in `base`."""
    roots = {dotted.split(".")[0] for dotted in flat if "." in dotted}
    tree: Dict[str, Any] = copy.deepcopy({key: value for key, value in (base or {}).items() if key in roots})
    for dotted, value in flat.items():
        *path, last = dotted.split(".")
        node = tree
        for key in path:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[last] = value
    return tree


def read_space(env: str, algo: str, path: Optional[str] = None) -> Space:
    """The space of `env` from the file `path`, or the one shipped for `algo`.

    The file is a mapping of environment ids (or ``default``) to mappings of parameter names to their fields, of which
    :class:`Parameter` tells.

    :raises UserError: for an unknown or missing field, low > high, a log range that is not above 0, repeated choices,
        or a condition on what is not drawn before.
    """
    file = _find(algo, path)
    entry = read_entry(file, env)
    if not entry:
        raise UserError(f"the search space {file} is empty for {env}: name at least one parameter.")
    parameters: List[Parameter] = []
    for name, fields in entry.items():
        parameters.append(_parameter(str(name), fields, parameters, str(file)))
    return Space(tuple(parameters), str(file))


def _find(algo: str, path: Optional[str]) -> Path:
    shipped = {file.stem: file for file in sorted(FOLDER.glob("*.yml"))}
    if path is not None and Path(path).is_file():
        return Path(path)
    name = path if path is not None else algo[len("sb3-"):] if algo.startswith("sb3-") else algo
    if name in shipped:
        return shipped[name]
    if path is None:
        raise unknown("algorithm", algo, shipped, "the shipped search spaces, so give a file with --space")
    raise UserError(f"search space {path!r} does not exist: give a YAML file or one of {', '.join(shipped)}.")


def _parameter(name: str, given: object, above: List[Parameter], file: str) -> Parameter:
    where = f"parameter {name} of {file}"
    fields = mapping(where, given)
    for key in fields:
        if key not in FIELDS:
            raise unknown("field", key, FIELDS, where)
    if name == "batch_size":
        raise UserError(f"{where} depends on the number of environments: give n_minibatches instead.")
    kind = fields.get("kind")
    if kind not in KINDS:
        raise UserError(f"{where} has kind {kind!r}: give one of {', '.join(KINDS)}.")
    condition = _condition(fields.get("condition"), above, where)
    if kind == "categorical":
        parameter = Parameter(name, kind, choices=_choices(fields, where), condition=condition)
    else:
        parameter = Parameter(name, kind, *_range(fields, kind, where), condition=condition)
    if name == "n_minibatches" and not all(type(value) is int and value >= 1
                                           for value in parameter.choices or (parameter.low,)):
        raise UserError(f"{where} is {brief(dict(fields))}: give whole numbers of at least 1.")
    return parameter


def _range(fields: Mapping[str, Any], kind: str, where: str) -> Tuple[float, float, bool]:
    if "choices" in fields:
        raise UserError(f"{where} is of kind {kind} and has choices: give low and high, or kind categorical.")
    ends = fields.get("low"), fields.get("high")
    for name, value in zip(("low", "high"), ends):
        if not is_number(value) or (kind == "int" and value != int(value)):  # type: ignore[arg-type]
            raise UserError(f"{where} has {name} {brief(value)}: give a {'whole ' if kind == 'int' else ''}number.")
    low, high = (int(end) if kind == "int" else float(end) for end in ends)  # type: ignore[arg-type]
    if low > high:
        raise UserError(f"{where} has low {low:g} above high {high:g}: swap them.")
    log = truth(f"log of {where}", fields.get("log", False))
    if log and low <= 0:
        raise UserError(f"{where} is logarithmic from {low:g}: a log range has to begin above 0.")
    return low, high, log


def _choices(fields: Mapping[str, Any], where: str) -> Tuple[Any, ...]:
    for key in ("low", "high", "log"):
        if key in fields:
            raise UserError(f"{where} is categorical and has {key}: give choices alone, or kind float or int.")
    choices = fields.get("choices")
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{where} has choices {choices!r}: give a list of at least one value.")
    labels = [_label(choice) for choice in choices]
    if len(set(map(repr, labels))) < len(labels):
        raise UserError(f"{where} has a choice twice in {choices!r}: give each once.")
    return tuple(choices)


def _condition(given: object, above: List[Parameter], where: str) -> Tuple[Tuple[str, Any], ...]:
    earlier = {parameter.name: parameter for parameter in above}
    pairs = []
    for name, value in mapping(f"condition of {where}", given).items():
        if name not in earlier:
            raise unknown("parameter", name, earlier, f"the condition of {where}, which has to stand below it")
        earlier[name].encode(value, f"the condition of {where}")
        pairs.append((name, value))
    return tuple(pairs)


def _label(choice: Any) -> Any:
    """A choice as Optuna can store it: lists and mappings as their JSON."""
    return choice if isinstance(choice, _PLAIN) else json.dumps(choice)
