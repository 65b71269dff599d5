"""Configurations of clients that are written as trees of objects: ``cfg.rewards.scales.torques``.

A section is a nested class, or an instance of one. Both kinds occur: legged_gym makes instances of the classes that its
users write, some of its forks hand out the classes themselves.
"""

from __future__ import annotations

import copy
import inspect
import types
from typing import Any, List, Mapping

from sb3_isaac.contract.errors import is_number, unknown


def own_copy(cfg: Any) -> Any:
    """A copy of a tree that shares nothing with it that can be written. A class becomes a subclass of itself, since
    ``copy.deepcopy`` hands classes back as they are."""
    values = {name: getattr(cfg, name) for name in _fields(cfg)}
    copies = {name: own_copy(value) if _is_section(value) else copy.deepcopy(value) for name, value in values.items()}
    if isinstance(cfg, type):
        return type(cfg.__name__, (cfg,), {"__module__": cfg.__module__, "__qualname__": cfg.__qualname__, **copies})
    own = copy.copy(cfg)
    for name, value in copies.items():
        setattr(own, name, value)
    return own


def overwrite(cfg: Any, values: Mapping[str, Any], where: str) -> None:
    """Write `values`, nested as the tree is, into it.

    A dictionary in the tree is a section too, as mjlab's rewards by name; one of numbers alone, such as gains by
    joint, is a value and replaced whole.

    :raises UserError: for a name that the tree does not have.
    """
    for name, value in values.items():
        known: List[str] = list(cfg) if isinstance(cfg, dict) else [k for k in dir(cfg) if not k.startswith("_")]
        if name not in known:
            raise unknown("key", name, known, where)
        now = cfg[name] if isinstance(cfg, dict) else getattr(cfg, name)
        if isinstance(value, Mapping) and not _is_value(now):
            overwrite(now, value, f"{where}, {name}")
        elif isinstance(cfg, dict):
            cfg[name] = value
        else:
            setattr(cfg, name, value)


def _is_value(node: Any) -> bool:
    return isinstance(node, Mapping) and all(is_number(value) for value in node.values())


def _fields(cfg: Any) -> List[str]:
    """Names of what a section holds: neither methods, nor properties, nor modules."""
    names = [name for name in dir(cfg) if not name.startswith("_")]
    return [name for name in names if not isinstance(inspect.getattr_static(cfg, name), (property, types.ModuleType))
            and (_is_section(getattr(cfg, name)) or not callable(getattr(cfg, name)))]


def _is_section(value: Any) -> bool:
    kind = value if isinstance(value, type) else type(value)
    return type(kind) is type and "." in kind.__qualname__ and hasattr(value, "__dict__")
