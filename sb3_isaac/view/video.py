"""Frames as a video file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Dict, Iterable

import numpy as np

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.files import atomic_file

VIDEO_SUFFIXES = (".mp4", ".gif")


def write_video(frames: Iterable[np.ndarray], path: str, fps: int) -> None:
    """Write `frames`, each (h, w, 3) uint8, to an .mp4 or .gif that appears under its name only when complete.

    :raises UserError: for another suffix, or where imageio or its ffmpeg plugin is missing (before any frame is taken).
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise unknown("video format", suffix, VIDEO_SUFFIXES, path)
    for package in ("imageio", "imageio_ffmpeg") if suffix == ".mp4" else ("imageio",):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"writing {path} needs {package}, which is not installed: "
                            "run pip install 'sb3_isaac[video]'.")
    import imageio.v2 as imageio

    # H.264 wants even sides. A GIF's option is the milliseconds of each frame.
    options: Dict[str, Any] = {"duration": 1000.0 / fps, "loop": 0}
    if suffix == ".mp4":
        options = {"fps": fps, "quality": 8, "macro_block_size": 2, "ffmpeg_params": ["-preset", "veryfast"]}
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as unfinished:
        writer: Any = imageio.get_writer(str(unfinished), mode="I", **options)
        with writer:
            for frame in frames:
                writer.append_data(frame)
