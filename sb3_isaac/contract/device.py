"""Where tensors live, by the name that a user gives."""

from __future__ import annotations

import torch

from sb3_isaac.contract.errors import UserError, brief


def known_empty(mask: torch.Tensor) -> bool:
    """Whether `mask` (N,) bool is known to be empty, so that work for it can be left out.

    It is read where that costs nothing: on the CPU. On another device one would wait, and work of masks is done there
    whether there is any or not.
    """
    return mask.device.type == "cpu" and not bool(mask.any())


def copy_where(mask: torch.Tensor, values: torch.Tensor, own: torch.Tensor) -> None:
    """Copy `values` (..., N) into `own` where `mask` (N,) bool holds: of these alone on the CPU, where that is the
    faster the fewer they are, and by going through all elsewhere, which waits for no device."""
    if mask.device.type == "cpu":
        ids = mask.nonzero().flatten()
        own.index_copy_(-1, ids, values.index_select(-1, ids))
    else:
        torch.where(mask, values, own, out=own)


def usable_device(name: str) -> torch.device:
    """The device `name`, ``auto`` being the CPU; raises UserError where this torch has none of that name."""
    try:
        probe = torch.zeros(1, device="cpu" if name == "auto" else name)
        probe.tolist()  # the device "meta" has no numbers
        return probe.device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise UserError(f"device {brief(name)} is not available here: give 'auto', 'cpu', or a device that this "
                        "PyTorch has, such as 'cuda:0'.") from error
