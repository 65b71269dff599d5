"""Logs of a robot's joints that follow targets: read, checked and written as CSV.

============== ========================================================================
column         what
============== ========================================================================
time_s         at even steps, s
target_<joint> where the drive was told to go, rad, held until the next row
pos_<joint>    where the joint was, rad
vel_<joint>    how fast it turned, rad/s
============== ========================================================================

Other columns, such as torques, are not read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence

import numpy as np

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.files import write_text

KINDS = ("target", "pos", "vel")
LEAST_ROWS, LONGEST_PERIOD_S = 200, 0.02


@dataclass(frozen=True)
class MotionLog:
    """T rows of J joints: times (T,) s, target, pos (T, J) rad, vel (T, J) rad/s."""

    times: np.ndarray
    target: np.ndarray
    pos: np.ndarray
    vel: np.ndarray

    @property
    def period_s(self) -> float:
        """Seconds between two rows."""
        return float((self.times[-1] - self.times[0]) / (len(self.times) - 1))


def read_log(path: Path, joints: Sequence[str]) -> MotionLog:
    """The log of a robot with these joints.

    :raises UserError: for other joints, gaps in time, numbers that are missing or not finite, and too few rows.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}): give a log with a line of column names.") from None
    head = rows[0] if rows else []
    wanted = ["time_s", *(f"{kind}_{joint}" for kind in KINDS for joint in joints)]
    for name in wanted:
        if name not in head:
            raise UserError(f"{path} has no column {name!r}: a log of this robot has {', '.join(wanted[:3])}, ... with "
                            f"the joints {', '.join(joints)}.")
    for name in head:
        kind, _, joint = name.partition("_")
        if kind in KINDS and joint not in joints:
            raise unknown("joint", joint, joints, where=str(path))
    if len(rows) - 1 < LEAST_ROWS:
        raise UserError(f"{path} has {len(rows) - 1} rows: give at least {LEAST_ROWS}, better 20 s at 200 Hz.")
    columns = [head.index(name) for name in wanted]
    values = np.array([_numbers(path, line, row, columns, head) for line, row in enumerate(rows[1:], start=2)])
    steps = np.diff(values[:, 0])
    period = float(np.median(steps))
    gap = int(np.argmax(np.abs(steps - period)))
    if period <= 0 or abs(steps[gap] - period) > 0.5 * period:
        raise UserError(f"{path} line {gap + 3}: {steps[gap]:g} s after the line before, where others are {period:g} s "
                        "apart: give a log at even steps without gaps.")
    if period > LONGEST_PERIOD_S:
        raise UserError(f"{path} has a row every {period:g} s: give at least {1.0 / LONGEST_PERIOD_S:g} rows a second, "
                        "better 200.")
    count = len(joints)
    target, pos, vel = (values[:, 1 + i * count:1 + (i + 1) * count] for i in range(3))
    return MotionLog(values[:, 0], target, pos, vel)


def _numbers(path: Path, line: int, row: Sequence[str], columns: Sequence[int], head: Sequence[str]) -> List[float]:
    numbers = []
    for column in columns:
        text = row[column] if column < len(row) else ""
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise UserError(f"{path} line {line}: {head[column]} is {text!r}, which is no finite number: correct it, "
                            "or cut the log there.")
        numbers.append(value)
    return numbers


def write_log(log: MotionLog, joints: Sequence[str], path: Path) -> None:
    """Write a log that :func:`read_log` reads."""
    head = ["time_s", *(f"{kind}_{joint}" for kind in KINDS for joint in joints)]
    values = np.concatenate((log.times[:, None], log.target, log.pos, log.vel), axis=1)
    lines = [",".join(head), *(",".join(f"{value:.6f}" for value in row) for row in values)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")
