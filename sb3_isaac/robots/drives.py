"""Gains and torque limits that a file's actuators state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import mujoco
import numpy as np


@dataclass(frozen=True)
class Drives:
    """Of each joint (J,): kp N·m/rad and kd N·m·s/rad, 0 where no actuator has one; torque limit N·m, inf if unsaid."""

    kp: Tuple[float, ...]
    kd: Tuple[float, ...]
    limit: Tuple[float, ...]
    limit_origin: str


def read_drives(model: mujoco.MjModel, joints: Sequence[str]) -> Drives:
    """What the actuators on these joints do, and the joints' own limits.

    An actuator's force is gain · ctrl + b₀ + b₁ l + b₂ l̇ at the length l = gear · q, and acts on the joint as
    gear · force: kp = −b₁ gear², kd = −b₂ gear².
    """
    kp, kd, limits, origins = [], [], [], set()
    for name in joints:
        joint = model.joint(name).id
        actuators = [a for a in range(model.nu)
                     if model.actuator_trntype[a] == mujoco.mjtTrn.mjTRN_JOINT and model.actuator_trnid[a, 0] == joint]
        squared = [float(model.actuator_gear[a, 0]) ** 2 for a in actuators]
        kp.append(_positive(sum(-model.actuator_biasprm[a, 1] * g for a, g in zip(actuators, squared))))
        kd.append(_positive(sum(-model.actuator_biasprm[a, 2] * g for a, g in zip(actuators, squared))))
        said = [limit for a in actuators for limit in _actuator_limits(model, a)]
        if model.jnt_actfrclimited[joint]:
            said.append((_largest(model.jnt_actfrcrange[joint]), "the joints' force ranges or efforts"))
        limit, origin = min(said, default=(float("inf"), ""))
        limits.append(limit)
        origins.add(origin)
    return Drives(tuple(kp), tuple(kd), tuple(limits), ", ".join(sorted(origins - {""})))


def _actuator_limits(model: mujoco.MjModel, actuator: int) -> List[Tuple[float, str]]:
    gear = abs(float(model.actuator_gear[actuator, 0]))
    said = []
    if model.actuator_forcelimited[actuator]:
        said.append((gear * _largest(model.actuator_forcerange[actuator]), "the actuators' force ranges"))
    is_motor = (model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED
                and model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_NONE)
    if is_motor and model.actuator_ctrllimited[actuator]:
        gain = abs(float(model.actuator_gainprm[actuator, 0]))
        said.append((gear * gain * _largest(model.actuator_ctrlrange[actuator]), "the motors' control ranges"))
    return [(limit, origin) for limit, origin in said if limit > 0]


def _largest(limits: np.ndarray) -> float:
    return float(np.abs(limits).max())


def _positive(value: float) -> float:
    return max(float(value), 0.0)
