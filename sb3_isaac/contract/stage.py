"""What a person sees of an environment that runs, and may do to it: for live pages and for the keys of a window."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class Mesh(NamedTuple):
    """Triangles in a body's frame.

    ========= ========== ===========================
    field     shape      what
    ========= ========== ===========================
    vertices  (V, 3) f32 m
    normals   (V, 3) f32 of length 1
    colours   (V, 4) u8  red, green, blue, opacity
    faces     (F, 3) u32 indices of vertices
    ========= ========== ===========================
    """

    vertices: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    faces: np.ndarray


class Steering(NamedTuple):
    """A number of a command that a person may change: its name says the unit, ``value`` is what is told now."""

    name: str
    low: float
    high: float
    value: float


class Stage:
    """Shapes, poses and controls of an environment; see :meth:`~sb3_isaac.contract.tensor_env.TensorEnv.stage`.

    This one shows and changes nothing: a task overrides what it has.
    """

    level = True
    """Robots stand on a plane at height 0, which is drawn."""

    def meshes(self) -> List[Optional[Mesh]]:
        """A mesh for each of the B bodies, None for one without shapes; the first is what does not move."""
        return []

    def snapshot(self, robots: int) -> np.ndarray:
        """What :meth:`poses` needs of the first `robots` at this moment, a copy. Cheap: it is taken at each step."""
        return np.zeros((robots, 0))

    def poses(self, snapshot: np.ndarray) -> np.ndarray:
        """Position m and quaternion (w, x, y, z) in the world, (robots, B, 7) float32."""
        return np.zeros((len(snapshot), 0, 7), np.float32)

    def steering(self, robot: int = 0) -> Sequence[Steering]:
        """The numbers of a command that :meth:`command` takes, in order, with what this robot is told now; none where
        nothing can be told. Cheap: it is asked at each step."""
        return ()

    def command(self, values: Sequence[float]) -> None:
        """Tell all robots this from now on, also in episodes to come."""

    def push(self, velocity_m_s: Tuple[float, float]) -> None:
        """Push all robots: this velocity in the world's x and y is added to theirs."""
