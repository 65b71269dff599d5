"""Where each environment's actors, bodies, joints and force sensors stand among those of all environments."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from sb3_isaac.gymcompat.model.actors import Env

KINDS = ("actors", "bodies", "dofs", "sensors")


class Layout:
    """First rows and totals, as far as the environments are built: programs ask while they build them."""

    def __init__(self, envs: Sequence[Env]) -> None:
        self._envs = envs
        self._starts: List[Tuple[int, ...]] = [(0,) * len(KINDS)]

    def changed(self, index: int) -> None:
        """Environment `index` has another actor: the rows of those after it move."""
        del self._starts[index + 1:]

    def start(self, index: int, kind: str) -> int:
        """The first row of environment `index` among the `kind` of all."""
        while len(self._starts) <= index:
            last = len(self._starts) - 1
            self._starts.append(tuple(s + n for s, n in zip(self._starts[last], self._envs[last].counts())))
        return self._starts[index][KINDS.index(kind)]

    def total(self, kind: str) -> int:
        """How many there are in all environments."""
        return self.start(len(self._envs), kind)

    def count(self, index: int, kind: str) -> int:
        """How many there are in environment `index`."""
        return self.start(index + 1, kind) - self.start(index, kind)
