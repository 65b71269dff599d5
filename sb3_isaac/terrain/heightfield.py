"""A grid of heights as the ground of a MuJoCo model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError

WALKING_MARGIN_M, WALKING_LOWERED_M = 0.02, 0.017
"""For walking robots at physics steps of 10 ms: a foot whose centre sinks below the surface is pushed sideways by the
walls of the collider's prisms (mujoco#2883), 13% of the contacts of a foot of 22 mm. A contact that begins 2 cm above
the surface leaves 0.15%. Robots then stand 17 mm higher, so the field lies lower by that."""
_BASE_M = 1.0
"""Thickness of the ground below its lowest point."""
_LEAST_HEIGHT_M = 1e-3


@dataclass(frozen=True)
class Heightfield:
    """Heights on a regular grid, stored once in a model however many worlds share it.

    ============ ============= ========================================================================
    field        shape         what
    ============ ============= ========================================================================
    heights      (X, Y)        m above `position`, first index along x
    spacing      (2,)          m between samples along x and y
    position     (3,)          m: of sample (0, 0) at height 0, in the world
    ============ ============= ========================================================================
    """

    heights: np.ndarray
    spacing: Tuple[float, float]
    position: Tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.heights.ndim != 2 or min(self.heights.shape) < 2 or not np.isfinite(self.heights).all():
            raise UserError(f"a heightfield has heights of shape {self.heights.shape}: give finite numbers, at least "
                            "2 × 2.")
        if min(self.spacing) <= 0:
            raise UserError(f"a heightfield has samples {self.spacing[0]:g} × {self.spacing[1]:g} m apart: "
                            "give distances above 0.")

    def add_to(self, spec: Any, name: str, *, margin_m: float = 0.0, lowered_m: float = 0.0) -> Any:
        """Add the field to a ``mujoco.MjSpec``; the new geom, on the world's body.

        The collider is two triangles a cell, whose common edge runs from sample (i, j) to (i + 1, j + 1), with vertical
        walls below (see :class:`~sb3_isaac.terrain.height_map.HeightMap` for their exact heights).

        :param margin_m: height above the surface at which contacts begin (see ``WALKING_MARGIN_M``).
        :param lowered_m: how far the field lies below its heights.
        """
        import mujoco  # here, since Isaac Gym's own machines have heights and no MuJoCo

        low, high = float(self.heights.min()), float(self.heights.max())
        half = [0.5 * (n - 1) * step for n, step in zip(self.heights.shape, self.spacing)]
        # Rows along y; the compiler maps the heights to [0, 1] itself.
        spec.add_hfield(name=name, nrow=self.heights.shape[1], ncol=self.heights.shape[0],
                        size=[*half, max(high - low, _LEAST_HEIGHT_M), _BASE_M], userdata=self.heights.T.ravel())
        position = [self.position[0] + half[0], self.position[1] + half[1], self.position[2] + low - lowered_m]
        own = mujoco.MjSpec().default  # else the geom would take the defaults of the root class of the model's file
        return spec.worldbody.add_geom(own, name=name, type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname=name, pos=position,
                                       margin=margin_m)
