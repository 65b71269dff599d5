"""One kernel for all parameters in an update by Adam."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Dict, Iterator

import torch


@functools.lru_cache(maxsize=None)
def _has_fused_kernel(device_type: str) -> bool:
    """Whether this torch has Adam's fused kernel for a kind of device."""
    parameter = torch.zeros(1, device=device_type, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    try:
        torch.optim.Adam([parameter], fused=True).step()
    except (RuntimeError, TypeError):  # NotImplementedError is a RuntimeError
        return False
    return True


def takes_fused_kernel(optimizer: torch.optim.Optimizer, group: Dict[str, Any]) -> bool:
    """Whether torch's own Adam or AdamW updates a group of parameters, and may do so by its fused kernel."""
    return (type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and group.get("foreach") is None
            and not group.get("differentiable")
            and all(p.is_floating_point() and _has_fused_kernel(p.device.type) for p in group["params"]))


@contextlib.contextmanager
def fused_by_default(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """While it lasts, torch's own Adam and AdamW take their fused kernel where the user left that choice to torch.

    ``optimizer_kwargs`` with ``fused`` or ``foreach``, another optimizer, or a device without that kernel are left as
    they are. Afterwards the optimizer's settings are the user's again, so that a saved model holds those.
    """
    groups = [group for group in optimizer.param_groups
              if group.get("fused") is None and takes_fused_kernel(optimizer, group)]
    for group in groups:
        group["fused"] = True
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if "step" in state:  # saved by another kind of Adam, it may be on the CPU
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=parameter.device)
    try:
        yield
    finally:
        for group in groups:
            group["fused"] = None
