"""A program that asks torch for CUDA devices, on the CPU. For programs that name their devices in code."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Sequence

import torch
from torch.overrides import TorchFunctionMode


class CudaToCpu(TorchFunctionMode):
    """While it is entered, torch functions that are given a CUDA device use the CPU.

    It sees calls such as ``torch.zeros(3, device="cuda:0")``, ``tensor.to("cuda")``, ``module.to(device)`` and
    ``tensor.cuda()``; not ``torch.cuda``'s own functions, nor what scripted functions do inside. Files that were saved
    on a GPU are loaded onto the CPU from the first time on that it is entered.
    """

    _registered = False

    def __enter__(self) -> "CudaToCpu":
        if not CudaToCpu._registered:  # once: torch cannot sort two of one priority
            # Asked before torch's own, which have priorities from 10 on.
            torch.serialization.register_package(0, lambda storage: None, _stay_on_cpu)
            CudaToCpu._registered = True
        super().__enter__()
        return self

    def __torch_function__(self, func: Any, types: Sequence[Any], args: Sequence[Any] = (),
                           kwargs: Optional[Mapping[str, Any]] = None) -> Any:
        """Call `func` with its devices exchanged."""
        if func is torch.Tensor.cuda:
            return args[0]
        return func(*(_exchanged(arg) for arg in args), **{k: _exchanged(v) for k, v in (kwargs or {}).items()})


def _stay_on_cpu(storage: Any, location: str) -> Optional[Any]:
    return storage if location.startswith("cuda") else None


def _exchanged(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and re.fullmatch(r"cuda(:\d+)?", value) else value
