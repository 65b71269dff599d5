"""Tuning: an Optuna study of the algorithm's and the task's settings, on as many processes and machines as one has."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_isaac.tuning.main import open_study, tune
    from sb3_isaac.tuning.plan import Plan
    from sb3_isaac.tuning.results import write_trial
    from sb3_isaac.tuning.space import Space, read_space, sample

__all__ = ["Plan", "Space", "open_study", "read_space", "sample", "tune", "write_trial"]

_LAZY = {"Plan": "plan", "write_trial": "results", "Space": "space", "read_space": "space", "sample": "space",
         "open_study": "main", "tune": "main"}


def __getattr__(name: str) -> Any:
    """Import a name at its first use (PEP 562): who only reads a space needs no Optuna."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
