"""A program that asks torch for CUDA devices, on the CPU. For programs that name their devices in code."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Mapping, Optional, Sequence

import torch
from torch.overrides import TorchFunctionMode


class CudaToCpu(TorchFunctionMode):
    """While it is entered, torch functions that are given a CUDA device use the CPU.

    It sees calls such as ``torch.zeros(3, device="cuda:0")``, ``tensor.to("cuda")``, ``module.to(device)`` and
    ``tensor.cuda()``, and devices that scripted functions are called with; not ``torch.cuda``'s own functions, nor
    devices that are written inside scripted functions. What ``torch.compile`` made runs uncompiled meanwhile, because
    compiling does not go together with this mode. Files that were saved on a GPU are loaded onto the CPU.
    """

    _registered = False
    _entered = 0

    def __enter__(self) -> "CudaToCpu":
        if not CudaToCpu._registered:  # once: torch cannot sort two of one priority
            # Asked before torch's own, which have priorities from 10 on.
            torch.serialization.register_package(0, lambda storage: None, _stay_on_cpu)
            CudaToCpu._registered = True
        CudaToCpu._entered += 1
        self._undo = contextlib.ExitStack()
        set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6 and newer
        if set_stance is not None:
            self._undo.enter_context(set_stance("force_eager"))
        self._undo.enter_context(_scripted_calls_on_cpu())
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        self._undo.close()
        CudaToCpu._entered -= 1

    def __torch_function__(self, func: Any, types: Sequence[Any], args: Sequence[Any] = (),
                           kwargs: Optional[Mapping[str, Any]] = None) -> Any:
        """Call `func` with its devices exchanged."""
        if func is torch.Tensor.cuda:
            return args[0]
        return func(*(_exchanged(arg) for arg in args), **{k: _exchanged(v) for k, v in (kwargs or {}).items()})


@contextlib.contextmanager
def _scripted_calls_on_cpu() -> Any:
    """Scripted functions get the CPU in place of a CUDA device among their arguments: no mode sees their calls."""
    kind: Any = torch.jit.ScriptFunction
    call = kind.__call__

    def on_cpu(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self, *(_exchanged(arg) for arg in args), **{k: _exchanged(v) for k, v in kwargs.items()})

    kind.__call__ = on_cpu
    try:
        yield
    finally:
        kind.__call__ = call


def _stay_on_cpu(storage: Any, location: str) -> Optional[Any]:
    return storage if CudaToCpu._entered and location.startswith("cuda") else None


def _exchanged(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and re.fullmatch(r"cuda(:\d+)?", value) else value
