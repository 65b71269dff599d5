"""Tables of terms: functions of a step's features, given as they are or by name, each checked once when a task is made.

A term takes the task's features ``f`` and returns a tensor of one row an environment: (N,) for rewards and
terminations, (N,) or (N, k) for observations.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

import torch

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, unknown
from sb3_isaac.contract.names import find_object

Function = Callable[[Any], torch.Tensor]


class Term(NamedTuple):
    """A reward term: its weight for one control step, and the function of the features that it weighs."""

    weight: float
    value: Function


def function(given: object, what: str) -> Function:
    """`given` if it can be called, else what it names."""
    found: Function = given if callable(given) else find_object(given, what)
    if not callable(found):
        raise UserError(f"{what} is {given!r}, which is not a function: give a function of the features.")
    return found


def reward_terms(table: Mapping[str, Term], given: Optional[Mapping[str, Any]],
                 known: Optional[Mapping[str, Term]] = None) -> Dict[str, Term]:
    """`table` with other weights, and with terms of the user's own.

    :param given: term -> weight of a term that is there, or (weight, function or its name) for a new one.
    :param known: terms that were given before, so that their weight alone is enough now.
    """
    terms, known = dict(table), {**(known or {}), **table}
    for name, value in mapping("reward", given).items():
        pair = value if isinstance(value, (list, tuple)) and len(value) == 2 else None
        if pair is None and name not in known:
            if is_number(value):
                raise unknown("reward term", name, known)
            raise UserError(f"reward term {name!r} is {brief(value)}: give a weight, or for a term of your own "
                            "(weight, function).")
        weight = value if pair is None else pair[0]
        if not is_number(weight):
            raise UserError(f"reward weight {name!r} is {weight!r}: give a finite number.")
        value_of = known[name].value if pair is None else function(pair[1], f"reward term {name!r}")
        terms[name] = Term(float(weight), value_of)
    return terms


def with_known_terms(options: Mapping[str, Any], known: Mapping[str, Term]) -> Dict[str, Any]:
    """The saved `options` of a task, without reward terms whose functions are not `known`: a warning names these."""
    weights = options.get("reward", {})
    missing = [name for name in weights if name not in known]
    if missing:
        warnings.warn(f"the saved reward has {', '.join(missing)}, which nobody has given here: it is left out until "
                      "change_options gives it again.", stacklevel=2)
    kept = {"reward": {name: weight for name, weight in weights.items() if name in known}}
    return {**options, **(kept if "reward" in options else {})}


def with_functions(table: Mapping[str, Function], given: Optional[Mapping[str, Any]], what: str) -> Dict[str, Function]:
    """`table` with functions of the user's own added or in place; None takes one out."""
    functions = dict(table)
    for name, value in mapping(what, given).items():
        if value is None:
            if name not in table:
                raise unknown(what, name, table)
            functions.pop(name)
        else:
            functions[name] = function(value, f"{what} {name!r} (None takes one out)" if name in table
                                       else f"{what} {name!r}")
    return functions


def checked(function_of: Function, features: Any, num_envs: int, what: str, most_dims: int = 1,
            boolean: bool = False) -> torch.Tensor:
    """The value of a function, once its shape was found to be (N,), or (N, k) where `most_dims` is 2.

    :param boolean: the value has to be a tensor of bool.
    """
    try:
        value = function_of(features)
    except Exception as error:  # a user's function may raise anything
        raise UserError(f"{what} cannot be computed ({type(error).__name__}: {error}): correct the function.") \
            from error
    if not isinstance(value, torch.Tensor) or not 1 <= value.dim() <= most_dims or len(value) != num_envs:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        wide = f" or ({num_envs}, k)" if most_dims > 1 else ""
        raise UserError(f"{what} gives {shape}: give a tensor ({num_envs},){wide}.")
    if boolean and value.dtype is not torch.bool:
        raise UserError(f"{what} gives {value.dtype}: give a tensor of bool, such as from a comparison.")
    return value


def weights_of(terms: Mapping[str, Term], device: torch.device) -> torch.Tensor:
    """The weights that are not 0, (K, 1)."""
    return torch.tensor([[term.weight] for term in terms.values() if term.weight != 0.0], device=device).view(-1, 1)


def total_reward(features: Any, terms: Mapping[str, Term], weights: torch.Tensor, diverged: torch.Tensor,
                 least: Optional[float]) -> Tuple[Dict[str, torch.Tensor], torch.Tensor]:
    """Each weighted term (N,) under ``reward/<term>``, and their sum (N,), not below `least`; 0 where diverged.

    Terms of weight 0 are not computed.

    :param weights: :func:`weights_of` the terms.
    """
    used = {f"reward/{name}": term.value for name, term in terms.items() if term.weight != 0.0}
    if not used:
        return {}, torch.zeros(diverged.shape, device=diverged.device)
    values = torch.stack([value(features).float() for value in used.values()]).mul_(weights)
    if not known_empty(diverged):
        values.masked_fill_(diverged, 0.0)
    total = values.sum(dim=0)
    return dict(zip(used, values.unbind())), total if least is None else total.clamp_(min=least)
