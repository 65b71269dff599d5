"""What SB3's callbacks expect as numpy, copied from the device only when it is read."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np


class HostView(Sequence[Any]):
    """A list or array that `fetch` makes when it is first read; ``np.asarray`` and ``np.sum`` take it as an array."""

    def __init__(self, fetch: Callable[[], Any]) -> None:
        self._fetch: Optional[Callable[[], Any]] = fetch
        self._value: Any = None

    def _get(self) -> Any:
        if self._fetch is not None:
            self._value, self._fetch = self._fetch(), None
        return self._value

    def __getitem__(self, index: Any) -> Any:
        return self._get()[index]

    def __len__(self) -> int:
        return len(self._get())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get())

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> np.ndarray:
        return np.array(self._get(), dtype=dtype)
