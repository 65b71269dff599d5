"""Refuses what would wait for a device, on a machine that has none: every way in which torch's numbers reach the host,
and numbers of the host the device."""

from __future__ import annotations

import sys
from typing import Any, Iterable, List, Tuple

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

TO_HOST = ("item", "cpu", "numpy", "tolist", "nonzero", "__bool__")
FROM_HOST = ("tensor", "as_tensor", "from_numpy")


class HostSyncError(AssertionError):
    """A call that waits for the device."""


def _called_by(files: Tuple[str, ...]) -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if files and frame.f_code.co_filename.replace("\\", "/").endswith(files):
            return True
        frame = frame.f_back
    return False


def _host_data(name: str, args: Tuple[Any, ...]) -> bool:
    """Whether a call takes numbers of the host to the device: torch waits until they are copied."""
    if name in ("__getitem__", "__setitem__"):
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(part, (list, np.ndarray)) for part in index)
    return name in FROM_HOST and not isinstance(args[0], torch.Tensor)


class NoSyncByName(TorchFunctionMode):
    """Refuses the Python calls that bring values to the host or from it."""

    def __init__(self, exempt: Tuple[str, ...]) -> None:
        super().__init__()
        self._exempt = exempt

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        refused = name in TO_HOST or (name == "where" and len(args) == 1 and not kwargs) or _host_data(name, args)
        if refused and not _called_by(self._exempt):
            raise HostSyncError(name)
        return func(*args, **(kwargs or {}))


class NoSyncByKernel(TorchDispatchMode):
    """Refuses the kernels that do so, whatever they were called by; counts all others."""

    def __init__(self, exempt: Tuple[str, ...]) -> None:
        super().__init__()
        self._exempt = exempt
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        if (name in ("_local_scalar_dense", "nonzero") or masked) and not _called_by(self._exempt):
            raise HostSyncError(f"{name} by a mask" if masked else name)
        self.kernels += 1
        return func(*args, **(kwargs or {}))


class Guard:
    """Both modes at once.

    :param exempt: ends of the paths of files that may do so, with all that they call.
    """

    def __init__(self, exempt: Iterable[str] = ()) -> None:
        self._exempt = tuple(exempt)
        self.kernels = 0

    def __enter__(self) -> "Guard":
        self._modes: List[Any] = [NoSyncByName(self._exempt), NoSyncByKernel(self._exempt)]
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)
        self.kernels += self._modes[1].kernels
