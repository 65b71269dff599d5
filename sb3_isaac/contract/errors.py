"""One sentence for everything a user can get wrong: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import numbers
import reprlib
from typing import Any, Iterable, Mapping

LARGEST_INT, LARGEST_FLOAT = 2**53, 1e30
"""No number that a user gives may be larger: float64 holds every such whole number, float32 every such float."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 120
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = 12


class UserError(ValueError):
    """A mistake of the caller's. The command line prints its sentence and exits with code 2."""


class NotFinite(UserError):
    """Training has met a number that is NaN or infinite, and has stopped: where it came from, and what to try."""


def brief(value: object) -> str:
    """`value` in one line that is not long, whatever it is; Python itself refuses to print numbers of 5000 digits."""
    try:
        return _REPR.repr(value).replace("\n", " ")
    except Exception:  # the repr of a user's class may raise anything
        return f"a {type(value).__name__} that cannot be printed"


def closed(what: object) -> UserError:
    """An error of what was used after its ``close()``."""
    return UserError(f"this {type(what).__name__} was used after its close(): make a new one.")


def unknown(what: str, given: object, allowed: Iterable[object], where: str = "") -> UserError:
    """An error that names an unknown `given` and its nearest valid neighbours.

    `what` is the kind of thing ("reward term", "environment id"), `where` the file or argument it stood in.
    """
    valid = sorted(str(a) for a in allowed)
    place = f" in {where}" if where else ""
    return UserError(f"unknown {what} {brief(given)}{place}: {nearest(given, valid)}valid are "
                     f"{', '.join(valid) or 'none'}.")


def nearest(given: object, valid: Iterable[str]) -> str:
    """``did you mean 'a' or 'b'? `` where some of `valid` resemble `given`, else nothing."""
    name = given if isinstance(given, str) else brief(given)
    near = difflib.get_close_matches(name[:200], list(valid), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def is_number(value: object) -> bool:
    """Whether `value` is a number up to ``LARGEST_FLOAT``, Python's or numpy's; True and False are not numbers here."""
    return (isinstance(value, numbers.Real) and not isinstance(value, bool)
            and bool(-LARGEST_FLOAT <= value <= LARGEST_FLOAT))  # type: ignore[operator]


def number_above_zero(name: str, value: object, most: float = LARGEST_FLOAT) -> float:
    """`value` as a float of at most `most`, or a sentence."""
    if not is_number(value) or not 0 < value <= most:  # type: ignore[operator]
        span = "" if most == LARGEST_FLOAT else f" and at most {most:g}"
        raise UserError(f"{name} is {brief(value)}: give a finite number above 0{span}.")
    return float(value)  # type: ignore[arg-type]


def whole_number(name: str, value: object, least: int = 1, most: int = LARGEST_INT) -> int:
    """`value` as an int from `least` to `most`, or a sentence."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
        span = "" if most == LARGEST_INT else f" and at most {most}"
        raise UserError(f"{name} is {brief(value)}: give a whole number of at least {least}{span}.")
    return int(value)


def truth(name: str, value: object) -> bool:
    """`value` as a bool, or a sentence."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {brief(value)}: give true or false.")
    return value


def mapping(name: str, value: object) -> Mapping[str, Any]:
    """`value` as a mapping, empty for None, or a sentence."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is {brief(value)}: give a mapping of names to values.")
    return value
