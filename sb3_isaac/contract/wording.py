"""How numbers are told to a person: counts of steps, and units by the ends of names."""

from __future__ import annotations

UNITS = {"_m_s": "m/s", "_rad_s": "rad/s", "_rad": "rad", "_m": "m"}
"""By the end of a command's name."""
MILLIONS_FROM = 100_000
"""Steps are counted in millions from here on."""


def steps(count: int) -> str:
    """Such as ``3,072`` or ``1.20M``."""
    return f"{count:,}" if count < MILLIONS_FROM else f"{count / 1e6:.2f}M"


def reached(count: int, total: int) -> str:
    """Such as ``3,072 of 10,000`` or ``1.20M of 98.3M``."""
    return f"{count:,} of {total:,}" if total < MILLIONS_FROM else f"{count / 1e6:.2f}M of {total / 1e6:g}M"


def unit_of(name: str) -> str:
    """The unit that a name ends in, such as m/s of ``forward_m_s``; empty where it ends in none."""
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
