"""What a user of the emulation chooses once a process, for Isaac Gym's own calls have no room for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


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
