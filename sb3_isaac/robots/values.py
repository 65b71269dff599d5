"""Values with one number for each joint."""

from __future__ import annotations

from sb3_isaac.contract.errors import is_number


def per_joint(value: object, joints: int) -> tuple[float, ...] | None:
    """The values of all joints: a number stands for each of them. None for what is neither."""
    if is_number(value):
        value = (value,) * joints
    if not isinstance(value, (list, tuple)) or len(value) != joints or not all(map(is_number, value)):
        return None
    return tuple(float(v) for v in value)
