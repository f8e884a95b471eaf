"""From where on it is no chance that a few new values lie above, or below, so many of those seen at calibration.

The count of pairs in which the new value is the larger one is the statistic of H. B. Mann and D. R. Whitney, "On a test
of whether one of two random variables is stochastically larger than the other", Annals of Mathematical Statistics 18
(1947). While nothing has changed, its distribution hangs on the two numbers of values alone and on nothing else: not on
what is measured, nor on how it is distributed. That few values were calibrated with is part of it, and needs no margin.
"""

import functools
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["count_limit", "pair_limit"]

_EXACT_CALIBRATED, _EXACT_WINDOW = 128, 32  # 4,096 steps of 4,096 sums: some 30 ms, once


@functools.lru_cache(maxsize=1024)
def pair_limit(calibrated: int, window: int, rate: float) -> float:
    """Return the least number of pairs, new value above calibrated one, that comes by chance at `rate` at most.

    By symmetry, `calibrated * window` minus it is the most that comes by chance for values that have become smaller.
    For few values the exact distribution is used; for many the normal one, which promises less than it keeps this far
    out (`tests/runtime/test_rank_limits.py`).

    Args:
        calibrated: Number of values that were calibrated with.
        window: Number of new ones.
        rate: In (0, 0.5).

    Returns:
        The limit; infinite where so few values can show nothing at that rate.
    """
    if calibrated < 1 or window < 1:
        return math.inf
    if calibrated <= _EXACT_CALIBRATED and window <= _EXACT_WINDOW:
        tail = np.cumsum(_pairs(calibrated)[window][::-1])[::-1]  # P(at least u pairs), by u
        allowed = np.flatnonzero(tail <= rate)
        return float(allowed[0]) if allowed.size else math.inf
    pairs = calibrated * window
    deviation = math.sqrt(pairs * (calibrated + window + 1) / 12)
    limit = math.ceil(pairs / 2 - NormalDist().inv_cdf(rate) * deviation + 0.5)
    return float(limit) if limit <= pairs else math.inf


@functools.lru_cache(maxsize=16)
def _pairs(calibrated: int) -> tuple[NDArray[np.float64], ...]:
    """Return how likely each number of pairs is, for windows of 0 to `_EXACT_WINDOW` values.

    The largest of all values is a calibrated one with probability i / (i + j), and then adds no pair; else it is a new
    one, and adds i. Only sums of positive terms, so the smallest probabilities are exact too.
    """
    size = calibrated * _EXACT_WINDOW + 1
    row = [np.zeros(size) for _ in range(_EXACT_WINDOW + 1)]
    for start in row:
        start[0] = 1.0  # without calibrated values there are no pairs
    for i in range(1, calibrated + 1):
        for j in range(1, _EXACT_WINDOW + 1):
            share = i / (i + j)
            row[j] = share * row[j]
            row[j][i:] += (1 - share) * row[j - 1][: size - i]
    return tuple(values[: calibrated * j + 1] for j, values in enumerate(row))


@functools.lru_cache(maxsize=1024)
def count_limit(window: int, share: float, rate: float) -> int:
    """Return the least count among `window` that comes by chance at `rate` at most, where each counts with `share`.

    Args:
        window: Number of values.
        share: Probability of each to count, in (0, 1).
        rate: In (0, 1).

    Returns:
        The limit; `window + 1` where not even all of them would show anything.

    Example:
        >>> count_limit(32, 0.1, 1e-6)
        14
    """
    tail = 0.0
    for count in range(window, -1, -1):
        tail += math.comb(window, count) * share**count * (1 - share) ** (window - count)
        if tail > rate:
            return count + 1
    return 0
