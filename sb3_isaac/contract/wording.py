"""How numbers are told to a person: counts of steps, and units by the ends of names."""

from __future__ import annotations

UNITS = {"_m_s": "m/s", "_rad_s": "rad/s", "_rad": "rad", "_m": "m"}
"""By the end of a command's name."""
MILLIONS_FROM = 1_000_000
"""Steps are counted in millions from here on; below, each iteration is to be seen in its line."""


def steps(count: int) -> str:
    """Such as ``6,144``, ``430,080`` or ``1.20M``."""
    return f"{count:,}" if count < MILLIONS_FROM else f"{count / 1e6:.2f}M"


def reached(count: int, total: int) -> str:
    """Such as ``6,144 of 10.00M``."""
    return f"{steps(count)} of {steps(total)}"


def unit_of(name: str) -> str:
    """The unit that a name ends in, such as m/s of ``forward_m_s``; empty where it ends in none."""
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
