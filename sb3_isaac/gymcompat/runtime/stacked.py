"""Properties of all actors of some environments as arrays."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.types.enums import DofDriveMode


def stacked(envs: Sequence[Env], get: Callable[[Actor], np.ndarray]) -> np.ndarray:
    """`get` of all actors: one row for each environment, the actors' values behind one another."""
    return np.stack([np.concatenate([get(actor) for actor in env.actors]) for env in envs])


def is_driven(mode: np.ndarray) -> np.ndarray:
    """Whether joints of these drive modes follow targets."""
    return (mode == DofDriveMode.DOF_MODE_POS) | (mode == DofDriveMode.DOF_MODE_VEL)
