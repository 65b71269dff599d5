"""Numbers of several seeds: their interquartile mean, its uncertainty, and how two groups differ.

As Agarwal et al. 2021 (arXiv 2108.13264) advise for few seeds: interquartile means rather than means or best runs,
bootstrap intervals, and the probability that a run of one group is above a run of the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError

CONFIDENCE = 0.95
RESAMPLES = 2000


class Estimate(NamedTuple):
    """An interquartile mean with the ends of its interval, which are NaN where there is one seed."""

    mean: float
    low: float
    high: float


def interquartile_mean(values: Any, axis: int = -1) -> Any:
    """Mean of the middle half along `axis`; of fewer than four values it is their mean."""
    values = np.sort(np.asarray(values, dtype=float), axis=axis)
    cut = values.shape[axis] // 4
    return np.take(values, range(cut, values.shape[axis] - cut), axis=axis).mean(axis=axis)


def estimate(values: Sequence[float]) -> Estimate:
    """Of one number for each seed; NaN for none."""
    low, mean, high = (float(line[0]) for line in band(np.asarray(values, dtype=float)[:, None]))
    return Estimate(mean, low, high)


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Of the interquartile mean of `second` less that of `first`."""
    if not len(first) or not len(second):
        return Estimate(np.nan, np.nan, np.nan)
    mean = float(interquartile_mean(second) - interquartile_mean(first))
    if len(first) < 2 or len(second) < 2:
        return Estimate(mean, np.nan, np.nan)
    return Estimate(mean, *_interval((np.asarray(first, dtype=float), np.asarray(second, dtype=float)),
                                     lambda a, b, axis: interquartile_mean(b, axis) - interquartile_mean(a, axis)))


def probability_above(first: Sequence[float], second: Sequence[float]) -> float:
    """That a run of `second` is above a run of `first`, ties counted half: Mann-Whitney's U / (n · m)."""
    if not len(first) or not len(second):
        return float("nan")
    gap = np.asarray(second, dtype=float)[:, None] - np.asarray(first, dtype=float)
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def band(curves: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low end, interquartile mean and high end (T,) of curves (seeds, T); the ends are NaN for one seed."""
    if not len(curves):
        nothing = np.full(curves.shape[1], np.nan)
        return nothing, nothing, nothing
    mean = interquartile_mean(curves, axis=0)
    if len(curves) < 2:
        return np.full_like(mean, np.nan), mean, np.full_like(mean, np.nan)
    low, high = _interval((curves,), lambda values, axis: interquartile_mean(values, axis))
    return low, mean, high


def _interval(samples: Tuple[np.ndarray, ...], statistic: Any) -> Tuple[Any, Any]:
    """The percentile bootstrap's interval along axis 0; the same numbers for the same samples."""
    try:
        from scipy.stats import bootstrap
    except ImportError as error:
        raise UserError("intervals over seeds need scipy: pip install scipy.") from error
    result = bootstrap(samples, statistic, axis=0, vectorized=True, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
                       method="percentile", random_state=np.random.default_rng(0))
    return result.confidence_interval.low, result.confidence_interval.high
