"""``metrics.csv``: every logged value, an iteration a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

import numpy as np
from stable_baselines3.common.logger import KVWriter

from sb3_isaac.contract.files import write_text


class MetricsCsv(KVWriter):
    """``metrics.csv``: a row an iteration, a column for each key that was ever logged, empty where it was not.

    On a resumed run the rows after `from_step` are dropped, since those iterations are run again.
    """

    def __init__(self, path: Path, from_step: int = 0) -> None:
        self.path = path
        self._columns: List[str] = ["step"]
        self._rows: List[Dict[str, Any]] = []
        if path.exists() and from_step > 0:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                self._rows = [row for row in reader if int(row["step"]) <= from_step]

    def write(self, key_values: Dict[str, Any], key_excluded: Dict[str, Tuple[str, ...]], step: int = 0) -> None:
        """Add a row, or to the last one if it is of the same step; called by SB3's logger."""
        row = {k: v for k, v in key_values.items() if isinstance(v, (int, float, np.number))}
        self._columns += [k for k in sorted(row) if k not in self._columns]
        if self._rows and int(self._rows[-1]["step"]) == step:
            self._rows[-1].update(row)
        else:
            self._rows.append({"step": step, **row})
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue())

    def close(self) -> None:
        """Nothing stays open between rows."""


def read_metrics(path: Union[str, Path]) -> Dict[str, np.ndarray]:
    """Columns of a ``metrics.csv`` as arrays, NaN where a row has no value."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = rows[0].keys() if rows else ()
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in columns}
