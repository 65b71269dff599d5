"""What the page is sent: shapes, poses and numbers as JSON; arrays as base64 of little-endian numbers."""

from __future__ import annotations

import base64
import math
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from sb3_isaac.contract.stage import Mesh, Stage

POINTS = 400
"""Of a curve, at most: then every second of those there are is left out."""


def encoded(array: np.ndarray, dtype: str) -> str:
    """`array` as base64 of numbers of this type, such as ``<f4``."""
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode("ascii")


def scene(stage: Stage, robots: int, title: str, what: str) -> Dict[str, Any]:
    """The event ``scene``: what is drawn, and what can be told."""
    return {"title": title, "what": what, "robots": robots, "level": stage.level,
            "bodies": [_mesh(mesh) for mesh in stage.meshes()],
            "steering": [axis._asdict() for axis in stage.steering()]}


def _mesh(mesh: Optional[Mesh]) -> Optional[Dict[str, str]]:
    if mesh is None:
        return None
    return {"vertices": encoded(mesh.vertices, "<f4"), "normals": encoded(np.round(127.0 * mesh.normals), "i1"),
            "colours": encoded(mesh.colours, "u1"), "faces": encoded(mesh.faces, "<u4")}


def clip(stage: Stage, snapshots: Sequence[np.ndarray], seconds: float) -> Dict[str, Any]:
    """The event ``clip``: some frames of poses, to be shown in so many seconds."""
    frames = np.stack([stage.poses(snapshot) for snapshot in snapshots])
    return {"frames": len(frames), "poses": encoded(frames, "<f4"), "seconds": round(seconds, 3)}


def number(value: Any) -> Optional[float]:
    """For JSON, which has no NaN: such a number is None; others with five digits."""
    return float(f"{float(value):.5g}") if math.isfinite(value) else None


class Curves:
    """The history of some numbers, by key.

    :param shown: key -> title, in the order of the page.
    """

    def __init__(self, shown: Mapping[str, str], x: str) -> None:
        self._titles, self._x = dict(shown), x
        self._points: Dict[str, List[List[float]]] = {key: [] for key in shown}

    def add(self, x: float, values: Mapping[str, Any]) -> None:
        """The numbers of `values` that are shown, at `x`."""
        for key, points in self._points.items():
            if key in values and math.isfinite(values[key]):
                points.append([x, float(f"{float(values[key]):.5g}")])
                if len(points) > POINTS:
                    del points[1:-1:2]

    def content(self) -> Dict[str, Any]:
        """The event ``curves``."""
        return {"x": self._x, "curves": [{"title": self._titles[key], "points": points}
                                         for key, points in self._points.items() if points]}
