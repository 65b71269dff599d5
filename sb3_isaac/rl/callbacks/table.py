"""Progress on a terminal as a table that stays in its place; it needs the package rich."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Sequence, Tuple

WIDEST = 76
"""Columns of the table, less on a narrower terminal."""


def can_show_table() -> bool:
    """Whether the output is a terminal that rich can write on."""
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


class Table:
    """Rows of label and value below a bar; lines that are said scroll by above it.

    :param console: rich's Console; None is the terminal.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console() if console is None else console
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def show(self, title: str, share: float, rows: Sequence[Tuple[str, str]]) -> None:
        """Draw it anew; `share` of the bar is full."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid
        from rich.text import Text

        width = min(WIDEST, self._console.width)
        grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0), width=width)
        columns = 2 if width < 70 else 4
        for i in range(columns):
            grid.add_column(no_wrap=True, overflow="ellipsis", style="dim" if i % 2 == 0 else "", ratio=1)
        cells = [Text(text) for row in rows for text in row]
        for i in range(0, len(cells), columns):
            grid.add_row(*cells[i:i + columns])
        line = Text(title, no_wrap=True, overflow="ellipsis")
        bar = Padding(ProgressBar(total=1.0, completed=share, width=width), 0)  # which ends its line, as a bar does not
        self._live.update(Group(line, bar, grid), refresh=True)

    def say(self, text: str) -> None:
        """A line above the table."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state where it is."""
        self._live.stop()
