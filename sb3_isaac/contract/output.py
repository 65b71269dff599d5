"""Lines for a person who watches: work goes on where nobody can read them any more."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Print a line at once; where that fails (a closed pipe or terminal, a full disk), lines are dropped from then on.
    """
    try:
        print(text, flush=True)
    except OSError:
        drop_output()


def drop_output() -> None:
    """What is printed from now on is dropped, also what waits to be written when Python ends."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
