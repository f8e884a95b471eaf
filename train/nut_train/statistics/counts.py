"""Figures from counts: how many good and defective pictures, or pixels, have each score.

Whole resamples are measured at once that way, and pixels from histograms where millions of values would not fit.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["auroc", "average_precision", "f1", "overlap", "recall_at_rate"]

_Counts = NDArray[np.float64]


def auroc(good: _Counts, defective: _Counts) -> NDArray[np.float64]:
    """Return the area under the ROC curve; equal scores count half.

    Args:
        good: How many have each score, from the lowest score up, shape (..., K).
        defective: The same of the defective ones.

    Example:
        >>> float(auroc(np.array([1.0, 1, 0]), np.array([0.0, 1, 1])))
        0.875
    """
    below = np.cumsum(good, axis=-1) - good / 2
    return np.asarray((defective * below).sum(axis=-1) / (good.sum(axis=-1) * defective.sum(axis=-1)))


def average_precision(good: _Counts, defective: _Counts) -> NDArray[np.float64]:
    """Return the area under the precision-recall curve as scikit-learn's step sum; arguments as in `auroc`."""
    found = np.cumsum(defective[..., ::-1], axis=-1)
    rejected = found + np.cumsum(good[..., ::-1], axis=-1)
    precision = found / np.maximum(rejected, 1e-12)  # above the highest score nothing is found
    return np.asarray((defective[..., ::-1] * precision).sum(axis=-1) / defective.sum(axis=-1))


def recall_at_rate(good: _Counts, defective: _Counts, rate: float) -> NDArray[np.float64]:
    """Return the largest share of defective ones found while at most `rate` of these very good ones are rejected.

    Args:
        good: As in `auroc`.
        defective: As in `auroc`.
        rate: Share of good ones that may be rejected, 0..1.
    """
    false = np.cumsum(good[..., ::-1], axis=-1) / good.sum(axis=-1, keepdims=True)
    found = np.cumsum(defective[..., ::-1], axis=-1) / defective.sum(axis=-1, keepdims=True)
    # 1e-9: a sum of shares that is the rate on paper
    return np.asarray(np.where(false <= rate + 1e-9, found, 0.0).max(axis=-1))


def f1(false_rejects: _Counts, found: _Counts, defective: _Counts) -> NDArray[np.float64]:
    """Return F1 of the defective class, 0 where nothing is rejected; all shapes alike."""
    return np.asarray(2 * found / np.maximum(found + false_rejects + defective, 1e-12))


def overlap(unmarked: _Counts, shares: _Counts, regions: _Counts, limit: float = 0.3) -> NDArray[np.float64]:
    """Return the area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

    The overlap at a threshold is the mean over all marked regions of the share of each that lies above it (Bergmann
    et al. 2021, "The MVTec anomaly detection dataset", section 4.2).

    Args:
        unmarked: How many unmarked pixels have each score, from the lowest up, shape (B, K).
        shares: For each score, the sum over regions of the share of the region's pixels that have it, shape (B, K).
        regions: Number of regions, shape (B,).
        limit: The false-positive rate to integrate to.

    Returns:
        Shape (B,), 0..1.
    """
    start = np.zeros((len(unmarked), 1))
    rate = np.hstack([start, np.cumsum(unmarked[:, ::-1], axis=1) / unmarked.sum(axis=1, keepdims=True)])
    height = np.hstack([start, np.cumsum(shares[:, ::-1], axis=1) / regions[:, None]])
    width = np.diff(rate, axis=1)
    # Of the interval that crosses the limit, the part below it; the curve is straight between two scores.
    part = np.clip((limit - rate[:, :-1]) / np.where(width > 0, width, 1), 0, 1)
    middle = height[:, :-1] + part * np.diff(height, axis=1) / 2
    return np.asarray((middle * part * width).sum(axis=1) / limit)
