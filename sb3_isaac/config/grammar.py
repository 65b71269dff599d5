"""The small grammar of configuration strings: `dict(...)`, literals, activation names, `key:value` and schedules.

Strings are parsed by hand, never evaluated. Tuples become lists, because YAML has only lists and a
written configuration has to read back equal.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence

from sb3_isaac.contract.errors import LARGEST_FLOAT, LARGEST_INT, UserError, brief

ACTIVATIONS = ("nn.ELU", "nn.ReLU", "nn.Tanh", "nn.LeakyReLU", "nn.SiLU", "nn.GELU")
"""Names a string may contain; they stay strings here, whoever builds the network resolves them to classes."""

SCHEDULES = ("lin",)
LONGEST_TEXT = 10_000
_ALLOWED = (
    "numbers, quoted strings, True, False, None, lists, tuples, dicts with string keys, dict(key=value) "
    f"and {', '.join(ACTIVATIONS)}"
)
_CODE = re.compile(r"""[()\[\]{}'"=,;]|^\s*((torch|th)\.)?nn\.""")


class _Refused(Exception):
    """Carries the syntax node outside the grammar."""

    def __init__(self, node: ast.AST) -> None:
        self.node = node


def parse_literal(text: str, where: str) -> object:
    """The value of `text`; UserError naming `where` for whatever is not in the grammar."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(f"{where}: {brief(text)} cannot be read; write {_ALLOWED}.") from None
    try:
        return _value_of(tree)
    except _Refused as refused:
        part = ast.get_source_segment(text.strip(), refused.node) or text
        raise UserError(f"{where}: {brief(part)} is not allowed, as nothing is evaluated; write {_ALLOWED}.") from None


def parse_value(text: str, where: str) -> object:
    """Like `parse_literal`, but text without brackets, quotes, `=`, commas or `nn.` may be a bare word (`anymal`).

    YAML's `true` and `false` are Python's.
    """
    if text in ("true", "false"):
        return text == "true"
    if _CODE.search(text):
        return parse_literal(text, where)
    try:
        return parse_literal(text, where)
    except UserError:
        return text


def plain(value: object, where: str) -> object:
    """A deep copy of `value` made of dicts with string keys, lists, strings, numbers, booleans and None only."""
    if value is None:
        return None
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # also a numpy.float64, which is a float that YAML cannot write
            return _usable(kind(value), where)
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item, where) for key, item in _str_items(value, where)}
    raise UserError(f"{where} holds {brief(value)} of type {type(value).__name__}; write {_ALLOWED}.")


def _usable(value: object, where: str) -> object:
    """`value`, found to be a number that a computer computes with (or an infinity), or a text that can be written."""
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT or "\0" in value or not _is_text(value):
            raise UserError(f"{where} is {brief(value)}; write a text of at most {LONGEST_TEXT} characters.")
    elif isinstance(value, (int, float)):
        largest = LARGEST_INT if isinstance(value, int) else LARGEST_FLOAT
        if not (abs(value) <= largest or abs(value) == float("inf")):
            raise UserError(f"{where} is {brief(value)}; write a number from -{largest:g} to {largest:g}.")
    return value


def _is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def resolve(value: object, where: str) -> object:
    """A deep copy of `value` whose strings have been parsed until nothing changes, so resolving twice changes nothing.

    `'3e-4'` becomes 0.0003, `'dict(a=1)'` a dict, `'torch.nn.ELU'` `'nn.ELU'`; a bare word stays.
    """
    if isinstance(value, str):
        parsed = parse_value(value, where)
        return plain(value, where) if parsed == value else resolve(parsed, where)
    if isinstance(value, (list, tuple)):
        return [resolve(item, where) for item in value]
    if isinstance(value, Mapping):
        return {key: resolve(item, where) for key, item in _str_items(value, where)}
    return plain(value, where)


def parse_key_values(items: Sequence[str], flag: str) -> dict[str, object]:
    """The `key:value` strings given to a command-line `flag`; dotted keys are kept as given, the last of a key wins."""
    pairs: dict[str, object] = {}
    for item in items:
        key, colon, text = item.partition(":")
        if not (key.strip() and colon and text.strip()):
            raise UserError(f"{flag} was given {brief(item)}; write key:value, for example n_epochs:5.")
        where = f"{flag} {key.strip()}"
        pairs[key.strip()] = plain(parse_value(text.strip(), where), where)
    return pairs


def is_schedule(text: object) -> bool:
    """Whether `text` is meant as a schedule such as `lin_3e-4`; `parse_schedule` says whether it is a valid one."""
    return isinstance(text, str) and text.partition("_")[0] in SCHEDULES and "_" in text


def parse_schedule(text: str, where: str = "schedule") -> tuple[str, float]:
    """`lin_3e-4` as `("lin", 3e-4)`: linear from the value at the start of training to 0 at its end, as in rl-zoo."""
    kind, _, number = text.partition("_")
    if is_schedule(text):
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if 0.0 < value <= LARGEST_FLOAT:
            return kind, value
    raise UserError(f"{where} is {brief(text)}; write a positive number or a linear schedule such as lin_3e-4.")


def _value_of(node: ast.AST) -> object:
    """The value of a syntax node; `_Refused` for every kind of node not listed here."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, float, str))):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value_of(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _mapping(node, [(_key(key, node), item) for key, item in zip(node.keys, node.values)])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return _mapping(node, [(word.arg, word.value) for word in node.keywords])
    return _activation(node)


def _number(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    raise _Refused(node)


def _key(node: ast.AST | None, parent: ast.AST) -> str:
    """A dict display's key; None stands for `**`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _Refused(node or parent)


def _mapping(node: ast.AST, pairs: Sequence[tuple[str | None, ast.AST]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, item in pairs:
        if key is None or key in values:  # `**` and repeated keys
            raise _Refused(node)
        values[key] = _value_of(item)
    return values


def _activation(node: ast.AST) -> str:
    names: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.insert(0, inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        raise _Refused(node)
    names.insert(0, inner.id)
    name = ".".join(names[1:] if names[0] in ("torch", "th") else names)
    if name not in ACTIVATIONS:
        raise _Refused(node)
    return name


def _str_items(value: Mapping[object, object], where: str) -> Iterable[tuple[str, object]]:
    for key, item in value.items():
        if not isinstance(key, str):
            raise UserError(f"{where} has the key {brief(key)}; keys are strings, so put it in quotes.")
        _usable(key, f"a key of {where}")
        yield key, item
