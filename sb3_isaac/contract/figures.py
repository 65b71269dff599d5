"""The style that all pictures of numbers share: colours, fonts, grid; how they are made and saved."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, Iterator

from sb3_isaac.contract.files import write_bytes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Of Okabe and Ito (2008), who chose them so that colour-blind readers tell them apart."""
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS
GREY = "#8a8f98"
"""Of what is there to compare with: a goal, a trial that was stopped early."""
DPI = 110
PICTURES = (".png", ".pdf", ".svg")
"""How the name of a picture of numbers may end."""
STYLE: Any = {
    "font.family": ["DejaVu Sans"], "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 9, "xtick.labelsize": 8,
    "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False, "lines.linewidth": 1.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#5b6168", "axes.linewidth": 0.8,
    "axes.axisbelow": True, "axes.grid": True, "grid.color": "#d9dce0", "grid.linewidth": 0.6,
    # A name of a file or a label of a user is no formula.
    "text.parse_math": False,
}


def colour(number: int) -> str:
    """The colour of the group of this number, from 0; they come again after seven."""
    return COLOURS[number % len(COLOURS)]


def line_style(number: int) -> str:
    """Whole lines for the first seven groups, dashed ones for the next, so that no two look the same."""
    return ("-", "--", ":", "-.")[number // len(COLOURS) % 4]


def plain_log(axis: Any) -> None:
    """Numbers at 1, 2 and 5 of each power of ten of a logarithmic axis, such as ``figure.axes[0].xaxis``.

    matplotlib's own labels are formulas, which the style does not read, and run into each other on a short axis.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=5))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


@contextlib.contextmanager
def figure_of(width_in: float, height_in: float) -> Iterator[Any]:
    """An empty figure in the common style. No window and no backend of the caller's is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


@contextlib.contextmanager
def drawing(width_in: float, height_in: float, rows: int = 1, columns: int = 1, **settings: Any) -> Iterator[Any]:
    """A figure and its axes (rows, columns), an array of objects."""
    with figure_of(width_in, height_in) as figure:
        yield figure, figure.subplots(rows, columns, squeeze=False, **settings)


def png(figure: Any) -> bytes:
    """The figure as a PNG file, within the ``with`` that made it."""
    return drawn(figure, "png")


def drawn(figure: Any, kind: str) -> bytes:
    """The figure as a file of this format, such as ``svg``."""
    stream = io.BytesIO()
    with warnings.catch_warnings():  # a label may have letters that no font at hand has: they are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(stream, format=kind, dpi=DPI)
    return stream.getvalue()


def save(figure: Any, out: Path) -> None:
    """Write the figure in the format of its name's ending, one of ``PICTURES``, a PNG unless; it appears only when
    complete."""
    kind = out.suffix.lower()
    write_bytes(out, drawn(figure, kind[1:] if kind in PICTURES else "png"))
