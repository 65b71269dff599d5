"""Names that numpy has removed, for programs that were written when it had them."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np


def restore_numpy_names() -> None:
    """Names that numpy 1.24 and 2.0 took away, as they were; those that numpy has stay as they are."""
    old: Dict[str, Any] = {
        "float": float, "int": int, "bool": bool, "object": object, "complex": complex, "str": str, "long": int,
        "unicode": str, "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "string_": np.bytes_,
        "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf, "NINF": -np.inf, "NaN": np.nan,
        "product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any, "round_": np.round,
        "in1d": np.isin, "row_stack": np.vstack, "asfarray": lambda a, dtype=np.float64: np.asarray(a, dtype=dtype),
    }
    for name, value in old.items():
        if name not in vars(np):
            setattr(np, name, value)
