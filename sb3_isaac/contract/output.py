"""Lines for a person who watches: work goes on where nobody can read them any more."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from typing import Optional


def say(text: str, copied: bool = False) -> None:
    """Print a line at once, see :func:`fitted`; where that fails (a closed pipe or terminal, a full disk), lines are
    dropped from then on.

    :param copied: whether a command in it is to be copied, which is one line then, however long.
    """
    try:
        print(text if copied else fitted(text), flush=True)
    except OSError:
        drop_output()


def fitted(text: str) -> str:
    """`text` with lines broken at spaces where the output is a terminal that is too narrow for them."""
    width = terminal_width()
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        indent = line[:len(line) - len(line.lstrip())]
        lines += [line] if len(line) <= width else textwrap.wrap(
            line, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def terminal_width() -> Optional[int]:
    """Columns of the terminal that the output is; None for a file, a pipe, or what a program has put in its place."""
    isatty = getattr(sys.stdout, "isatty", None)
    return max(20, shutil.get_terminal_size().columns) if isatty is not None and isatty() else None


def usable_output() -> None:
    """Let a process print that was started with its output closed, or whose terminal lacks letters that are printed:
    such letters appear as their codes."""
    if sys.stdout is None:
        drop_output()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """What is printed from now on is dropped, also what waits to be written when Python ends."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
