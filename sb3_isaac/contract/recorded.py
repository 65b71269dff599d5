"""Functions of tensors that are repeated by a recorder once they were called twice and nothing stood against it."""

from __future__ import annotations

import contextlib
import operator
import types
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch

from sb3_isaac.contract.device_timer import DeviceTimer
from sb3_isaac.contract.recorder import Part, Recorder

_NOT_LOOKED_INTO = ("torch", "numpy", "mujoco", "mujoco_warp", "warp", "gymnasium", "builtins", "threading", "logging")
"""Packages whose objects hold nothing that a step of ours may depend on."""
_WAIT, _PROTOTYPE = "called a synchronizing CUDA operation", "Synchronization debug mode is a prototype"


class Recorded:
    """A function of tensors, which writes others in place and gives some back.

    The first call with certain arguments is a plain one, the second is looked at, the third is recorded, and those that
    follow repeat it: they read the same tensors, and give back the same ones, newly written. With other arguments that
    begins anew. Where the second call shows that repeating would be wrong, because it waits for the GPU, or because
    more than the content of tensors changes by it, a warning says so once, and all calls are plain ones.

    :param function: of tensors, dicts and tuples of them, and of settings.
    :param recorder: None, or one that is not enabled: all calls are plain ones.
    :param owner: the object whose attributes the function uses. When one of them is assigned later, or replaced in a
        dict that is one of them, that is noticed; deeper changes are told by ``recorder.forget()``.
    :param copied: so many of the first arguments may be other tensors at each call: they are copied. Other shapes than
        the recorded ones make a plain call.
    """

    def __init__(self, function: Callable[..., Any], recorder: Optional[Recorder], owner: Any = None,
                 copied: int = 0) -> None:
        self._function, self._recorder, self._owner, self._copied = function, recorder, owner, copied
        self.plain = recorder is None or not recorder.enabled
        """Whether all calls are plain ones."""
        self._generators: List[torch.Generator] = []
        self._parts: Optional[List[Part]] = None
        self._known: List[Any] = []
        self._calls = 0

    def __call__(self, *arguments: Any) -> Any:
        """What the function gives."""
        if self.plain or self._recorder.recording:  # type: ignore[union-attr]
            return self._function(*arguments)
        known = self._depends_on(arguments)
        if not _same(known, self._known):
            self._known, self._parts, self._calls = known, None, 0
        if self._parts is None:
            return self._prepare(arguments)
        copied = _leaves(arguments[:self._copied])
        if any(own.shape != given.shape for own, given in zip(self._copies, copied)):
            return self._function(*arguments)
        for own, given in zip(self._copies, copied):
            own.copy_(given)
        for part in self._parts:
            part()
        return self._result

    def forget(self) -> None:
        """What was recorded is out of date."""
        self._known = []

    def _depends_on(self, arguments: Tuple[Any, ...]) -> List[Any]:
        held = list(vars(self._owner).values()) if self._owner is not None else []
        return [self._recorder.version, *_leaves(arguments[self._copied:]), *held,  # type: ignore[union-attr]
                *(value for one in held if type(one) is dict for value in one.values())]

    def _prepare(self, arguments: Tuple[Any, ...]) -> Any:
        self._calls += 1
        if self._calls == 1:
            result = self._function(*arguments)
            self._known = self._depends_on(arguments)  # what the first call made is no change from outside
            return result
        if self._calls == 2:
            return self._watched(arguments)
        try:
            self._record(arguments)
        except (RuntimeError, AssertionError, AttributeError) as error:  # the last from an older torch
            self._give_up(f"it cannot be recorded ({str(error).splitlines()[0]})")
            return self._function(*arguments)
        return self(*arguments)

    def _record(self, arguments: Tuple[Any, ...]) -> None:
        gradients = torch.is_grad_enabled()
        # What is made in inference mode could not be used outside of it later, and these tensors last.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            own = _with_tensors(arguments[:self._copied], lambda tensor: tensor.detach().clone())
            self._parts, self._result = self._recorder.record(  # type: ignore[union-attr]
                lambda: self._function(*own, *arguments[self._copied:]), self._generators)
        self._copies = _leaves(own)

    def _watched(self, arguments: Tuple[Any, ...]) -> Any:
        """A plain call that is looked at."""
        before = Contents(self._owner)
        with _waits(self._recorder.device) as waits:  # type: ignore[union-attr]
            result = self._function(*arguments)
        device = self._recorder.device  # type: ignore[union-attr]
        self._generators = [each for each in before.generators if each.device == device]
        changed = before.changed(Contents(self._owner))
        if waits:
            self._give_up(f"it waits for the GPU at {waits[0]}")
        elif changed:
            self._give_up(f"it changes {changed[0]}, where only what tensors hold may change")
        return result

    def _give_up(self, why: str) -> None:
        self.plain = True
        name = type(self._owner).__name__ if self._owner is not None else self._function.__qualname__
        warnings.warn(f"each step of {name} is told to the GPU by Python, which is slow, because {why}: correct that, "
                      "or pass cuda_graphs=False to expect no more.", stacklevel=4)


class Contents:
    """What an object holds, its parts' parts included: the tensors, by where they are, and plain values."""

    def __init__(self, of: Any) -> None:
        self._found: Dict[str, Any] = {}
        self.generators: List[torch.Generator] = []
        self._seen: Dict[int, Any] = {}
        if of is not None:
            self._look("", of)

    def changed(self, now: Contents) -> List[str]:
        """The names of what is other, new or missing `now`."""
        return [name for name in {**self._found, **now._found}
                if name not in self._found or name not in now._found or self._found[name] != now._found[name]]

    def _look(self, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            self._found[name] = (id(value), value.data_ptr())
            self._seen[id(value)] = value  # kept, so that no other gets its id
        elif value is None or isinstance(value, (bool, int, float, str)):
            self._found[name] = value
        elif isinstance(value, np.ndarray):
            self._found[name] = value.tobytes() if value.size < 1000 else id(value)
        elif isinstance(value, (Recorded, Recorder, DeviceTimer)) or id(value) in self._seen:
            pass
        else:
            self._seen[id(value)] = value
            if isinstance(value, torch.Generator):
                self.generators.append(value)
            for key, part in _parts_of(value):
                self._look(f"{name}{key}" if name else key.lstrip("."), part)


def _parts_of(value: Any) -> List[Tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{i}]", part) for i, part in enumerate(value)]
    if isinstance(value, types.MethodType):
        return [("", value.__self__)]
    if isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or ())
        return [(f".{value.__name__}.{name}", cell.cell_contents) for name, cell in cells if _is_filled(cell)]
    if isinstance(value, (type, types.ModuleType)) or type(value).__module__.split(".")[0] in _NOT_LOOKED_INTO:
        return []
    return [(f".{key}", part) for key, part in getattr(value, "__dict__", {}).items()]


def _is_filled(cell: Any) -> bool:
    with contextlib.suppress(ValueError):
        return cell.cell_contents is not None
    return False


@contextlib.contextmanager
def _waits(device: torch.device) -> Iterator[List[str]]:
    """The places in the code, ``file:line``, that wait for the GPU while it lasts."""
    places: List[str] = []
    if device.type != "cuda":
        yield places
        return
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        if _WAIT in str(warning.message):
            places.append(f"{warning.filename}:{warning.lineno}")
        elif _PROTOTYPE not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _leaves(tree: Any) -> List[Any]:
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [tree]


def _with_tensors(tree: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(tree, dict):
        return {key: _with_tensors(part, change) for key, part in tree.items()}
    if isinstance(tree, tuple):
        parts = [_with_tensors(part, change) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return change(tree)


def _same(left: List[Any], right: List[Any]) -> bool:
    """Whether they are the same tensors and objects, and equal numbers."""
    if len(left) != len(right):
        return False
    return all(map(operator.is_, left, right)) or all(
        a is b or (isinstance(a, (bool, int, float, str)) and type(a) is type(b) and a == b)
        for a, b in zip(left, right))
