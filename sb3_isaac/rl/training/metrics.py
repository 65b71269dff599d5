"""``metrics.csv``: every logged value, one row an iteration."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from stable_baselines3.common.logger import KVWriter

from sb3_isaac.contract.errors import LARGEST_INT, UserError, brief
from sb3_isaac.contract.files import write_error, write_text


class MetricsCsv(KVWriter):
    """``metrics.csv``: a row an iteration, a column for each key that was ever logged, empty where it was not.

    A row is appended. The file is written anew, atomically, only where a key is logged for the first time and where a
    row of the same step is completed. On a resumed run the rows after `from_step` are dropped, since those iterations
    are run again; so is half a line, which a kill in the middle of a write leaves.
    """

    def __init__(self, path: Path, from_step: int = 0) -> None:
        self.path = path
        self._columns: List[str] = ["step"]
        self._last_step = -1
        self._started = False
        if path.exists() and from_step > 0:
            self._columns, rows = _read_rows(path)
            self._rewrite([row for row in rows if int(row["step"]) <= from_step])

    def write(self, key_values: Dict[str, Any], key_excluded: Dict[str, Tuple[str, ...]], step: int = 0) -> None:
        """Add a row, or to the last one if it is of the same step; called by SB3's logger."""
        row: Dict[str, Any] = {"step": step}
        row.update((k, v) for k, v in key_values.items() if isinstance(v, (int, float, np.number)))
        new = [k for k in sorted(row) if k not in self._columns]
        if self._started and not new and step != self._last_step and self.path.exists():
            self._append(row)
        else:
            rows = _read_rows(self.path)[1] if self._started and self.path.exists() else []
            self._columns += new
            if rows and int(rows[-1]["step"]) == step:
                rows[-1].update(row)
            else:
                rows.append(row)
            self._rewrite(rows)
        self._last_step = step

    def _append(self, row: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(_lines(self._columns, [row]))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        header = dict(zip(self._columns, self._columns))
        write_text(self.path, _lines(self._columns, [header, *rows]))
        self._last_step, self._started = int(rows[-1]["step"]) if rows else -1, True

    def close(self) -> None:
        """Nothing stays open between rows."""


def _lines(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read_rows(path: Path) -> Tuple[List[str], List[Dict[str, Any]]]:
    """Columns, and rows of numbers as they are written.

    A last line that does not end was being written when the process was killed: it is left out.

    :raises UserError: when it is not what :class:`MetricsCsv` writes.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
        reader = csv.DictReader(io.StringIO(text[:text.rfind("\n") + 1]), restval="")
        columns = list(reader.fieldnames or ["step"])
        rows = [{key: _cell(key, value) for key, value in row.items()} for row in reader]
        if "step" not in columns or len(set(columns)) < len(columns):
            raise ValueError("its first line is not names of columns with 'step' among them")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check it, or delete it.") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} is not a table that 'sb3-isaac train' wrote ({' '.join(str(error).split())[:100]}): "
                        "delete or correct it.") from error
    return columns, rows


def _cell(key: Optional[str], value: Any) -> Any:
    """`value`, found to be a number or empty; a step as an int."""
    if key is None:  # where csv puts the cells behind the last column
        raise ValueError("a row has more cells than the first line")
    if value == "":
        return value
    number = float(value)
    if key != "step":
        return value
    if not (0 <= number <= LARGEST_INT and number == int(number)):
        raise ValueError(f"step {brief(value)} is not a whole number")
    return int(number)


def read_metrics(path: Union[str, Path]) -> Dict[str, np.ndarray]:
    """Columns of a ``metrics.csv`` as arrays, NaN where a row has no value."""
    columns, rows = _read_rows(Path(path))
    return {key: np.array([float("nan" if row[key] == "" else row[key]) for row in rows])
            for key in columns} if rows else {}
