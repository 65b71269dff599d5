"""Velocity commands: what a walking robot is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from sb3_isaac.contract.errors import UserError, is_number, mapping, unknown


@dataclass(frozen=True)
class Command:
    """Ranges that commands are drawn from, uniformly, at each reset and every ``resample_s`` seconds."""

    forward_m_s: Tuple[float, float] = (0.0, 1.2)
    yaw_rad_s: Tuple[float, float] = (-0.5, 0.5)
    resample_s: float = 5.0

    @classmethod
    def parse(cls, given: Optional[Mapping[str, Any]]) -> "Command":
        """From a mapping of any of the fields; a single number is a range of that one value."""
        names = tuple(cls.__dataclass_fields__)
        fields: Dict[str, Any] = {}
        for name, value in mapping("command", given).items():
            if name not in names:
                raise unknown("command option", name, names)
            if name == "resample_s":
                if not is_number(value) or value <= 0:
                    raise UserError(f"command resample_s is {value!r}: give a number of seconds above 0.")
                fields[name] = float(value)
                continue
            pair = (value, value) if is_number(value) else value
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(is_number, pair)) \
                    or pair[0] > pair[1]:
                raise UserError(f"command {name} is {value!r}: give a number, or [low, high] with low <= high.")
            fields[name] = (float(pair[0]), float(pair[1]))
        return cls(**fields)
