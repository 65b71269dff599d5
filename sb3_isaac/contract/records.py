"""What a file may hold, declared as a table of keys and checks, and looked at once, where the file is read.

A check takes a name and a value and gives the value back, or raises a sentence. The checks below are made of each
other: ``record("meta.json", value, {"seed": optional(whole(0, 2**32 - 1))})``.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Tuple

from sb3_isaac.contract.errors import LARGEST_FLOAT, LARGEST_INT, UserError, brief

Check = Callable[[str, Any], Any]
MOST_VALUES, DEEPEST = 1_000_000, 60


def refused(name: str, value: object, allowed: str) -> UserError:
    """The sentence for a value that is not `allowed`."""
    return UserError(f"{name} is {brief(value)}: give {allowed}.")


def whole(low: int = 0, high: int = LARGEST_INT) -> Check:
    """A whole number from `low` to `high`."""
    def check(name: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refused(name, value, f"a whole number from {low} to {high}")
        return value
    return check


def number(low: float = -LARGEST_FLOAT, high: float = LARGEST_FLOAT) -> Check:
    """A number from `low` to `high`, as a float; not NaN, and infinity only where that is one of them."""
    def check(name: str, value: Any) -> float:
        infinite = type(value) in (int, float) and abs(value) > LARGEST_FLOAT
        if type(value) not in (int, float) or not low <= value <= high or (infinite and value not in (low, high)):
            raise refused(name, value, f"a number from {low:g} to {high:g}")
        return float(value)
    return check


def text(longest: int = 10_000) -> Check:
    """A string that is not empty and can be written as UTF-8."""
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= longest or "\0" in value or (not value.isascii() \
                and any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise refused(name, value, f"a text of at most {longest} characters")
        return value
    return check


def truth(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise refused(name, value, "true or false")
    return value


def anything(name: str, value: Any) -> Any:
    """Builtins of any kind: see :func:`plain`."""
    return value


def choice(*allowed: Any) -> Check:
    """One of `allowed`."""
    def check(name: str, value: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise refused(name, value, f"one of {', '.join(map(str, allowed))}")
        return value
    return check


def optional(inner: Check) -> Check:
    """None, or what `inner` takes."""
    return lambda name, value: None if value is None else inner(name, value)


def list_of(inner: Check, length: Optional[int] = None) -> Check:
    """A list or tuple, of `length` if that is given, as a list."""
    def check(name: str, value: Any) -> List[Any]:
        if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
            raise refused(name, value, "a list" if length is None else f"a list of {length}")
        return [inner(f"{name}[{i}]", item) for i, item in enumerate(value)]
    return check


def mapping_of(inner: Check) -> Check:
    """A mapping with keys that are strings."""
    def check(name: str, value: Any) -> Dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise refused(name, value, "a mapping of names to values")
        return {key: inner(f"{name}.{brief(key)[1:-1]}", item) for key, item in value.items()}
    return check


def record(name: str, value: Any, fields: Mapping[str, Check], needed: Collection[str] = (),
           others: bool = True) -> Dict[str, Any]:
    """A mapping whose values at the keys of `fields` pass their checks.

    :param needed: keys that have to be there.
    :param others: whether keys besides `fields` are allowed; they are handed on as they are.
    """
    given: Dict[str, Any] = mapping_of(anything)(name, value)
    for key in needed:
        if key not in given:
            raise UserError(f"{name} has no {key}: give a file that sb3_isaac wrote.")
    unknown = [key for key in given if key not in fields]
    if unknown and not others:
        raise UserError(f"{name} has {brief(unknown[0])}: it may have {', '.join(fields)}.")
    return {key: fields[key](f"{key} of {name}", item) if key in fields else item for key, item in given.items()}


def plain(name: str, value: Any, kinds: Tuple[type, ...] = (),
          look: Callable[[Any], None] = lambda part: None) -> Any:
    """`value`, found to be made of builtins (and `kinds`) of a bounded number, depth and size; nothing is copied.

    Parts that are shared are counted each time that they occur, because whoever copies or prints `value` meets them so
    often: a hundred bytes can stand for gigabytes.

    :param look: called with each part that is of `kinds`.
    """
    left = MOST_VALUES

    def visit(part: Any, depth: int) -> None:
        """Look at `part` and at what is in it, `depth` containers deep."""
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise UserError(f"{name} is nested too deeply or has more than {MOST_VALUES} values: give a file that "
                            "sb3_isaac wrote.")
        if isinstance(part, kinds):
            look(part)
        elif isinstance(part, (list, tuple, dict)):
            for item in (*part, *part.values()) if isinstance(part, dict) else part:
                visit(item, depth + 1)
        elif part is not None and type(part) not in (bool, int, float, str):
            raise UserError(f"{name} holds a {type(part).__name__}: give a file that sb3_isaac wrote.")

    visit(value, 0)
    return value
