"""How vectors of numbers look in a mirror: each number is another one of them, or its negative."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Sequence, Tuple

import torch

from sb3_isaac.contract.errors import UserError


@dataclass(frozen=True)
class Mirror:
    """The mirror image of a vector x of k numbers: ``mirrored[i] = sign[i] * x[source[i]]``.

    :param source: k indices; mirroring twice changes nothing.
    :param sign: k numbers, 1 or −1.
    :raises UserError: where mirroring twice would change something.
    """

    source: Tuple[int, ...]
    sign: Tuple[int, ...]
    _on: Dict[torch.device, Tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, init=False, repr=False,
                                                                       compare=False)
    """Both as tensors on each device that asked for them: to copy them there again would wait for it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", tuple(self.source))
        object.__setattr__(self, "sign", tuple(self.sign))
        k = len(self.source)
        fits = len(self.sign) == k and all(i in range(k) for i in self.source) and set(self.sign) <= {1, -1}
        if not fits or any(self.source[self.source[i]] != i or self.sign[i] != self.sign[self.source[i]]
                           for i in range(k)):
            raise UserError(f"a mirror has the sources {self.source} and the signs {self.sign}: give as many signs, 1 "
                            "or -1, as sources, such that mirroring twice changes nothing.")

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """The mirror image of x (..., k), a new tensor."""
        return self.moved(x) * self._tensors(x.device)[1].to(x.dtype)

    def moved(self, x: torch.Tensor) -> torch.Tensor:
        """The same without the signs, as for deviations: ``moved[i] = x[source[i]]``."""
        return x.index_select(-1, self._tensors(x.device)[0])

    def _tensors(self, device: torch.device) -> Tuple[torch.Tensor, torch.Tensor]:
        if device not in self._on:
            with torch.inference_mode(False):
                self._on[device] = (torch.tensor(self.source, dtype=torch.long, device=device),
                                    torch.tensor(self.sign, device=device))
        return self._on[device]

    @classmethod
    def same(cls, width: int) -> "Mirror":
        """Of numbers that look the same in a mirror, such as a height."""
        return cls(tuple(range(width)), (1,) * width)

    @classmethod
    def joined(cls, parts: Sequence["Mirror"]) -> "Mirror":
        """Of vectors one after another."""
        source: List[int] = []
        sign: List[int] = []
        for part in parts:
            source += [len(sign) + i for i in part.source]
            sign += part.sign
        return cls(tuple(source), tuple(sign))


class Mirrors(NamedTuple):
    """How an environment's observations and actions look in a mirror.

    ============ ==================== =====================================================================
    field        type                 what
    ============ ==================== =====================================================================
    observation  {group: Mirror}      of width k of each flat group
    action       Mirror               of width A
    ============ ==================== =====================================================================

    The promise: from mirrored states, mirrored actions lead to mirrored states, observations and the same rewards.
    """

    observation: Dict[str, Mirror]
    action: Mirror
