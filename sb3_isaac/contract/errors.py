"""One sentence for everything a user can get wrong: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import math
import numbers
from typing import Any, Iterable, Mapping


class UserError(ValueError):
    """A mistake of the caller's. The command line prints its sentence and exits with code 2."""


class NotFinite(UserError):
    """Training has met a number that is NaN or infinite, and has stopped: where it came from, and what to try."""


def unknown(what: str, given: object, allowed: Iterable[object], where: str = "") -> UserError:
    """An error that names an unknown `given` and its nearest valid neighbours.

    `what` is the kind of thing ("reward term", "environment id"), `where` the file or argument it stood in.
    """
    valid = sorted(str(a) for a in allowed)
    near = difflib.get_close_matches(str(given), valid, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    place = f" in {where}" if where else ""
    return UserError(f"unknown {what} {str(given)!r}{place}: {hint}valid are {', '.join(valid) or 'none'}.")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, Python's or numpy's; True and False are not numbers here."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def number_above_zero(name: str, value: object) -> float:
    """`value` as a float, or a sentence."""
    if not is_number(value) or not value > 0:  # type: ignore[operator]
        raise UserError(f"{name} is {value!r}: give a finite number above 0.")
    return float(value)  # type: ignore[arg-type]


def whole_number(name: str, value: object, least: int = 1) -> int:
    """`value` as an int of at least `least`, or a sentence."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise UserError(f"{name} is {value!r}: give a whole number of at least {least}.")
    return int(value)


def truth(name: str, value: object) -> bool:
    """`value` as a bool, or a sentence."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}: give true or false.")
    return value


def mapping(name: str, value: object) -> Mapping[str, Any]:
    """`value` as a mapping, empty for None, or a sentence."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is {value!r}: give a mapping of names to values.")
    return value
