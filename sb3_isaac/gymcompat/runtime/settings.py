"""What a user of the emulation chooses once a process, for Isaac Gym's own calls have no room for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from sb3_isaac.contract.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How the emulation runs.

    ============ ===============================================================================================
    field        what
    ============ ===============================================================================================
    cuda_to_cpu  run a program that asks for "cuda:0" on the CPU instead of refusing it
    threads      physics threads, None for one on each available core
    ============ ===============================================================================================
    """

    cuda_to_cpu: bool = False
    threads: Optional[int] = None


class _Chosen:
    """The process's settings. ``gymapi.acquire_gym()`` takes no argument, so they have to lie somewhere."""

    settings = Settings()


def current() -> Settings:
    """The settings in force."""
    return _Chosen.settings


def use(settings: Settings) -> None:
    """Put `settings` in force; simulations created from now on follow them."""
    _Chosen.settings = settings


def device_for(name: str) -> str:
    """The torch device that serves a client's request for `name`; the emulation's tensors live on the CPU.

    :raises UserError: for a CUDA device, unless ``current().cuda_to_cpu``.
    """
    if re.fullmatch(r"(cuda|gpu)(:\d+)?", str(name)) is None:
        return str(name)
    if not current().cuda_to_cpu:
        raise UserError(f"the program asks for the device {str(name)!r}, and the emulation of Isaac Gym runs on the "
                        "CPU: start it with 'sb3-isaac run --cuda-to-cpu', or let it ask for 'cpu'.")
    return "cpu"
