"""Running moments as tensors on a device, which SB3's users read, edit, assign and pickle as SB3's own."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple, Union

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from sb3_isaac.contract.mirror import Mirror

Array = Union[np.ndarray, torch.Tensor]
Device = Union[str, torch.device]
Merge = Callable[[torch.Tensor, torch.Tensor, int], Tuple[torch.Tensor, torch.Tensor, int]]
"""Mean, variance and count of a batch -> those of the batches of several processes together."""


class Mirrored:
    """A float64 tensor that others read, edit and assign as a numpy array.

    What was read may be edited until the tensor is next written: then, as with SB3's statistics, that array is one of
    before. Reading waits for the device; nothing else does.
    """

    def __init__(self, value: Any) -> None:
        self._array: Optional[np.ndarray] = np.asarray(value, dtype=np.float64)
        self._seen: Optional[np.ndarray] = None
        """What the tensor was made of; None where there is no tensor of this array yet."""
        self._tensor = torch.zeros(0)

    @property
    def array(self) -> np.ndarray:
        """The value; what is written into it counts."""
        if self._array is None:
            self._array = np.array(self._tensor.cpu().numpy())
            self._seen = self._array.copy()
        return self._array

    def tensor(self, device: Device) -> torch.Tensor:
        """The value on `device`, edits of the array included: the same tensor while shape and device are the same. Not
        to be written to: see :meth:`write`."""
        if self._array is not None and (self._seen is None
                                        or not np.array_equal(self._array, self._seen, equal_nan=True)):
            self._seen = self._array.copy()
            self._put(torch.from_numpy(self._seen.copy()))
        if self._tensor.device != torch.device(device):
            with torch.inference_mode(False):
                self._tensor = self._tensor.to(device)
        return self._tensor

    def write(self, tensor: torch.Tensor) -> None:
        """A new value."""
        self._put(tensor)
        self.written()

    def add(self, change: torch.Tensor) -> None:
        """Add to the tensor that :meth:`tensor` gave last."""
        self._tensor.add_(change)
        self.written()

    def written(self) -> None:
        """The tensor has a new value: an array that was read is one of before."""
        self._array = self._seen = None

    def _put(self, tensor: torch.Tensor) -> None:
        if self._tensor.shape == tensor.shape and self._tensor.dtype == tensor.dtype:
            self._tensor.copy_(tensor)  # in place: a recorded step reads it there
        else:
            with torch.inference_mode(False):  # else it could not be written to outside of that mode
                self._tensor = tensor.clone()


class TensorMeanStd(RunningMeanStd):
    """SB3's RunningMeanStd whose moments are float64 tensors on the device of what it is updated with.

    ``mean``, ``var`` and ``count`` are read, edited in place and assigned as SB3's are (numpy float64 and a float);
    reading them waits for the device, updating with tensors does not. Pickled or copied, it is SB3's own class.
    A batch's own moments are float32, its merging with the running ones (Chan et al. 1979, as in SB3) float64, so that
    10⁹ samples do not drift.
    """

    _mean: Mirrored
    _var: Mirrored
    _count: Mirrored
    mirror: Optional[Mirror] = None
    """Where set, the moments are those of what is taken in and of its mirror image."""
    merge: Optional[Merge] = None
    """Where set, the moments are those of what several processes take in, each the same number of rows."""

    @property
    def mean(self) -> np.ndarray:
        """Running mean, float64."""
        return self._mean.array

    @mean.setter
    def mean(self, value: Any) -> None:
        self._mean = Mirrored(value)

    @property
    def var(self) -> np.ndarray:
        """Running variance, float64."""
        return self._var.array

    @var.setter
    def var(self, value: Any) -> None:
        self._var = Mirrored(value)

    @property
    def count(self) -> float:
        """Samples behind the moments."""
        return float(self._count.array)

    @count.setter
    def count(self, value: float) -> None:
        self._count = Mirrored(value)

    def mirrored(self) -> Tuple[Mirrored, Mirrored, Mirrored]:
        """Mean, variance and count, as they are kept."""
        return self._mean, self._var, self._count

    def update(self, arr: Array) -> None:
        """Take in a batch (N, ...). The moments of a component in which a row is not finite stay as they are."""
        if not isinstance(arr, torch.Tensor):
            if self.mirror is None and self.merge is None:
                super().update(arr)
                return
            arr = torch.as_tensor(arr, dtype=torch.float32)
        mean = arr.mean(dim=0)
        var = (arr - mean).square_().mean(dim=0)
        if self.mirror is not None:  # half of the batch and half of its mirror image
            image = self.mirror.of(mean)
            var = 0.5 * (var + self.mirror.moved(var)) + (0.5 * (mean - image)).square()
            mean = 0.5 * (mean + image)
        rows = len(arr)
        if self.merge is not None:
            mean, var, rows = self.merge(mean, var, rows)
        own_mean, own_var, count = (of.tensor(arr.device) for of in (self._mean, self._var, self._count))
        finite = var < torch.inf  # and no NaN
        mean, var = torch.where(finite, mean, own_mean), torch.where(finite, var, own_var)
        total = count + rows
        share = rows / total
        delta = mean - own_mean
        self._var.add((var - own_var + delta.square() * (count / total)) * share)
        self._mean.add(delta * share)
        self._count.write(total)

    def update_from_moments(self, batch_mean: np.ndarray, batch_var: np.ndarray, batch_count: float) -> None:
        """See SB3; as for :meth:`update`."""
        finite = np.isfinite(batch_var)
        super().update_from_moments(np.where(finite, batch_mean, self.mean), np.where(finite, batch_var, self.var),
                                    batch_count)

    def center_and_scale(self, epsilon: float, device: Device) -> Tuple[torch.Tensor, torch.Tensor]:
        """Mean and 1 / √(var + ε), float32."""
        mean, var = self._mean.tensor(device), self._var.tensor(device)
        return mean.float(), (var + epsilon).rsqrt().float()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.copy().__reduce_ex__(1)  # pickle refuses what later protocols say of another class


def for_tensors(statistics: RunningMeanStd, mirror: Optional[Mirror] = None,
                merge: Optional[Merge] = None) -> RunningMeanStd:
    """The same object, made ready for tensors where its class is SB3's own.

    A class that somebody derived from SB3's is left as it is, since its ``update`` may be another.
    """
    if type(statistics) is RunningMeanStd:
        mean, var, count = statistics.mean, statistics.var, statistics.count
        statistics.__dict__.clear()
        # In place, so that all who share these statistics go on sharing them.
        statistics.__class__ = TensorMeanStd
        statistics.mean, statistics.var, statistics.count = mean, var, count
    if mirror is not None:
        statistics.mirror = mirror  # type: ignore[attr-defined]
    if merge is not None:
        statistics.merge = merge  # type: ignore[attr-defined]
    return statistics


def take_in(statistics: RunningMeanStd, batch: torch.Tensor) -> None:
    """Update statistics of any class with a batch (N, ...)."""
    statistics = for_tensors(statistics)
    statistics.update(batch if isinstance(statistics, TensorMeanStd) else batch.cpu().numpy())  # type: ignore[arg-type]


def center_and_scale(statistics: RunningMeanStd, epsilon: float,
                     device: Device) -> Tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / √(var + ε) of statistics of any class, float32 on `device`."""
    statistics = for_tensors(statistics)
    if isinstance(statistics, TensorMeanStd):
        return statistics.center_and_scale(epsilon, device)
    mean, scale = np.asarray(statistics.mean), 1.0 / np.sqrt(np.asarray(statistics.var) + epsilon)
    return (torch.as_tensor(mean, dtype=torch.float32, device=device),
            torch.as_tensor(scale, dtype=torch.float32, device=device))
