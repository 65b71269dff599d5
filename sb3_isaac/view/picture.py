"""One frame as a PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sb3_isaac.contract.files import atomic_file


def write_picture(frame: np.ndarray, path: Path) -> None:
    """Write a frame (h, w, 3) uint8; its folder is made if it is not there."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as unfinished:
        imsave(unfinished, frame, format="png")
