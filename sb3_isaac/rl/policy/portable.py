"""Classes of ours inside SB3's zips: found by name where sb3_isaac is installed, written out for where it is not."""

from __future__ import annotations

import contextlib
import importlib.util
import operator
import pickle
import sys
from types import ModuleType
from typing import Any, Callable, Iterator, Sequence, Tuple

import cloudpickle


@contextlib.contextmanager
def pickled_by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Have cloudpickle, by which SB3 saves a class, write out the classes of `modules` instead of naming them."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


class _Call:
    """Is pickled as a call of `function`, which has to be one of the standard library."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> Tuple[Callable[..., Any], Tuple[Any, ...]]:
        return self._call


def by_name_or_value(cls: type, modules: Sequence[ModuleType]) -> Any:
    """What is pickled in place of a class of ours; unpickled, it is the class.

    It reads ``pickle.loads((by_value, by_name)[find_spec("sb3_isaac") is not None])``: calls of the standard library
    alone, so that where sb3_isaac is installed nothing of the class that is written out is looked at. Bytecode differs
    between minor versions of Python.
    """
    by_name = pickle.dumps(cls)
    with pickled_by_value(modules):
        by_value = cloudpickle.dumps(cls)
    package = cls.__module__.split(".")[0]
    installed = _Call(operator.is_not, _Call(importlib.util.find_spec, package), None)
    return _Call(pickle.loads, _Call(operator.getitem, (by_value, by_name), installed))


@contextlib.contextmanager
def portable_policy_class(model: Any, modules: Sequence[ModuleType]) -> Iterator[None]:
    """While `model` is saved, its policy's class is written by :func:`by_name_or_value` if it is of `modules`.

    A class that a user derived from one of them is written out with its bases, as SB3 does it with the user's own.
    """
    cls: type = model.policy_class
    if cls.__module__ not in [module.__name__ for module in modules] \
            or getattr(sys.modules[cls.__module__], cls.__name__, None) is not cls:
        with pickled_by_value(modules):
            yield
        return
    model.policy_class = by_name_or_value(cls, modules)
    try:
        yield
    finally:
        model.policy_class = cls
