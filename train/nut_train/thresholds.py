"""Where a threshold is put among scores: the rules of `--threshold`."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError

__all__ = ["Rule", "best_f1_threshold", "place_of", "quantile_threshold", "threshold_at"]


class Rule(StrEnum):
    """How the image threshold is found."""

    CONFORMAL = "conformal"
    """From good scores, so that a fresh good part exceeds it with a probability of at most the rate."""
    QUANTILE = "quantile"
    """The plain quantile of the good scores, which promises a little less than the rate says."""
    F1 = "f1"
    """Where F1 over labelled test pictures is largest: it has seen the defects."""
    VALUE = "value"
    """A number that somebody chose."""


def place_of(count: int, false_reject_rate: float, rule: Rule = Rule.CONFORMAL) -> int:
    """Return the rank, from 1, of the good score that the threshold lies just above.

    Args:
        count: Number of good scores.
        false_reject_rate: In (0, 1).
        rule: `CONFORMAL` or `QUANTILE`.

    Returns:
        At least 1; `count + 1` where so few pictures cannot speak for the rate.

    Example:
        >>> place_of(99, 0.01), place_of(98, 0.01), place_of(98, 0.01, Rule.QUANTILE)
        (99, 99, 98)
    """
    among = count + 1 if rule is Rule.CONFORMAL else count
    # 1e-9: (n + 1) (1 - rate) is a whole number for the very n that just suffice, and must not be rounded up past it
    return max(1, int(np.ceil(among * (1 - false_reject_rate) - 1e-9)))


def threshold_at(scores: NDArray[np.float64], false_reject_rate: float) -> float:
    """Return a threshold that rejects at most the stated share of good parts like these.

    It lies above the k-th smallest of the n scores, k = ceil((n + 1) (1 - rate)): a fresh good part, drawn like these,
    then exceeds it with a probability of at most the rate (split conformal prediction, Lei et al. 2018,
    "Distribution-free predictive inference for regression", section 2.2). Where k would be n + 1, n pictures cannot
    speak for the rate, and it lies above all of them.

    The threshold is put half-way between two neighbouring scores, never on one: on a score, float32 rounding
    in another engine would decide that part. Above the largest score it is put 1% of that score higher.

    Args:
        scores: Raw scores of good parts, shape (N,), N >= 1, finite.
        false_reject_rate: In (0, 1).

    Raises:
        InputError: If there are no scores or one is not finite.

    Example:
        >>> threshold_at(np.array([1.0, 2.0, 3.0, 4.0]), 0.4)
        3.5
    """
    return _above(scores, place_of(scores.size, false_reject_rate))


def quantile_threshold(scores: NDArray[np.float64], false_reject_rate: float) -> float:
    """Return a threshold that at most the stated share of these very scores exceeds.

    It lies above the k-th smallest, k = ceil(n (1 - rate)), and is placed as `threshold_at` places it. A fresh part
    exceeds it with a probability of up to rate + (1 - rate) / (n + 1).

    Args:
        scores: As in `threshold_at`.
        false_reject_rate: In (0, 1).

    Raises:
        InputError: If there are no scores or one is not finite.

    Example:
        >>> quantile_threshold(np.array([1.0, 2.0, 3.0, 4.0]), 0.4)
        3.5
        >>> quantile_threshold(np.array([1.0, 2.0, 3.0, 4.0]), 0.25)
        3.5
    """
    return _above(scores, place_of(scores.size, false_reject_rate, Rule.QUANTILE))


def best_f1_threshold(scores: NDArray[np.float64], defective: NDArray[np.bool_]) -> float:
    """Return the threshold at which F1 of the defective class is largest over these pictures.

    Of several the lowest, half-way between two neighbouring scores. It has seen the defects, so that F1 and recall on
    the same pictures are no measurement any more.

    Args:
        scores: Raw scores of labelled pictures, shape (N,), finite.
        defective: The truth, shape (N,).

    Raises:
        InputError: If good or defective pictures are missing, or a score is not finite.

    Example:
        >>> best_f1_threshold(np.array([1.0, 2.0, 4.0, 5.0]), np.array([False, False, True, True]))
        3.0
    """
    if defective.all() or not defective.any():
        raise InputError("the threshold of the best F1 needs good and defective test pictures; choose another rule")
    if not np.isfinite(scores).all():
        raise InputError("a score of a test picture is not a finite number; train again")
    steps = np.unique(scores)
    candidates = (steps[:-1] + steps[1:]) / 2
    if not candidates.size:
        raise InputError("all test pictures have the same score, so no threshold tells them apart")
    rejected = scores[None, :] > candidates[:, None]  # (thresholds, N)
    hits = (rejected & defective).sum(axis=1)
    f1 = 2 * hits / (rejected.sum(axis=1) + defective.sum())
    return float(candidates[np.argmax(f1)])


def _above(scores: NDArray[np.float64], place: int) -> float:
    """Return a number above the score of this rank, from 1, and below the next one that differs."""
    if scores.size == 0 or not np.isfinite(scores).all():
        raise InputError("calibration needs at least one score, and all of them finite")
    ordered = np.sort(scores)
    below = ordered[min(place, ordered.size) - 1]
    above = ordered[ordered > below]
    if above.size == 0:
        return float(below * 1.01) if below > 0 else 1e-6
    return float((below + above[0]) / 2)
