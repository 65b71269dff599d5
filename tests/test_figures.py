"""The common style of pictures of numbers."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.image

from sb3_isaac.contract import figures

ROOT = Path(__file__).resolve().parents[1]


def luminance(colour: str) -> float:
    """Of sRGB, as WCAG 2 defines it."""
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
             for value in matplotlib.colors.to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_every_picture_of_numbers_is_drawn_in_the_common_style() -> None:
    """Figures are made in one file, and nothing changes the backend of a caller's notebook."""
    makers = [path.relative_to(ROOT).as_posix() for path in (ROOT / "sb3_isaac").rglob("*.py")
              if any(word in path.read_text(encoding="utf-8") for word in ("pyplot", "matplotlib.figure", ".use("))]
    assert makers == ["sb3_isaac/contract/figures.py"]


def test_drawing_leaves_the_caller_s_settings_and_figures_alone(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    before, backend, open_figures = dict(matplotlib.rcParams), matplotlib.get_backend(), plt.get_fignums()
    with figures.drawing(4.0, 3.0) as (figure, axes):
        axes[0, 0].plot([1, 2], label="$")
        axes[0, 0].legend()
        figures.save(figure, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend and plt.get_fignums() == open_figures
    assert matplotlib.image.imread(tmp_path / "a.png").shape[:2] == (330, 440), "inches times 110 dots"


def test_no_two_groups_look_the_same_and_all_are_seen_on_white() -> None:
    looks = {(figures.colour(k), figures.line_style(k)) for k in range(28)}
    assert len(looks) == 28
    # On white, (1 + 0.05) / (L + 0.05); the palest of them, orange and sky, are still twice as dark.
    assert all(1.05 / (luminance(colour) + 0.05) > 2.0 for colour in figures.COLOURS)


def test_labels_of_a_logarithmic_axis_are_plain_numbers() -> None:
    with figures.drawing(2.0, 2.0) as (figure, axes):
        axis = axes[0, 0]
        axis.semilogx([3e-4, 4e-3], [0, 1])
        figures.plain_log(axis.xaxis)
        figure.draw_without_rendering()
        low, high = axis.get_xlim()
        shown = [text.get_text() for text in axis.get_xticklabels(which="both")
                 if low <= text.get_position()[0] <= high and text.get_text()]
    assert shown == ["0.0005", "0.001", "0.002"], "5 labels at most on each of three decades"
