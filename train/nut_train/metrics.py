"""How well scores and maps tell good from defective.

Computed from raw, unclipped values: normalised ones are cut at 1, which makes ties of the worst defects.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageMetrics", "PixelMetrics", "image_auroc", "image_metrics", "pixel_auroc", "pixel_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetrics:
    """How well the image score separates; None where a class is missing.

    Attributes:
        good: Number of good pictures.
        defective: Number of defective pictures.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as a step sum.
        f1: F1 of the defective class at the calibrated threshold.
        best_f1: F1 at the best threshold for these very pictures; an upper bound, not a promise.
        false_reject_rate: Share of good pictures above the threshold.
        recall: Share of defective pictures above the threshold.
    """

    good: int
    defective: int
    auroc: float | None
    average_precision: float | None
    f1: float | None
    best_f1: float | None
    false_reject_rate: float | None
    recall: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMetrics:
    """How well the anomaly map finds the marked pixels.

    Attributes:
        masks: Number of defective pictures with a mask.
        auroc: Area under the pixel ROC curve.
        pro: Area under the per-region-overlap curve up to a false-positive rate of 0.3, divided by 0.3
            (Bergmann et al. 2020, "Uninformed students", section 4).
    """

    masks: int
    auroc: float
    pro: float

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def image_auroc(scores: NDArray[np.floating], defective: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve, or None where a class is missing.

    Args:
        scores: Shape (N,), higher is more defective.
        defective: Shape (N,).
    """
    from sklearn.metrics import roc_auc_score

    if defective.all() or not defective.any():
        return None
    return float(roc_auc_score(defective, scores))


def image_metrics(
    scores: NDArray[np.floating], defective: NDArray[np.bool_], rejected: NDArray[np.bool_]
) -> ImageMetrics:
    """Return the figures of the image score.

    Args:
        scores: Raw scores, shape (N,).
        defective: The truth, shape (N,).
        rejected: The verdicts, shape (N,).
    """
    from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

    both = bool(defective.any() and not defective.all())
    best_f1 = None
    if both:
        precision, recall, _ = precision_recall_curve(defective, scores)
        best_f1 = float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
    return ImageMetrics(
        good=int((~defective).sum()),
        defective=int(defective.sum()),
        auroc=image_auroc(scores, defective),
        average_precision=float(average_precision_score(defective, scores)) if both else None,
        f1=float(f1_score(defective, rejected, zero_division=0.0)) if both else None,
        best_f1=best_f1,
        false_reject_rate=float(rejected[~defective].mean()) if not defective.all() else None,
        recall=float(rejected[defective].mean()) if defective.any() else None,
    )


def pixel_auroc(maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]) -> float | None:
    """Return the area under the ROC curve over all pixels, or None where a class is missing.

    Args:
        maps: Raw anomaly maps, each `[h, w]`.
        masks: The truth at the same size.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.concatenate([mask.ravel() for mask in masks]) if masks else np.empty(0, bool)
    if not truth.any() or truth.all():
        return None
    return float(roc_auc_score(truth, np.concatenate([part.ravel() for part in maps])))


def pixel_metrics(maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]) -> PixelMetrics | None:
    """Return the figures of the anomaly map, or None where no pixel is marked.

    Args:
        maps: Raw anomaly maps, each `[h, w]`.
        masks: The truth at the same size; good pictures have empty ones.
    """
    import torch
    from anomalib.metrics.aupro import _AUPRO

    auroc = pixel_auroc(maps, masks)
    if auroc is None:
        return None
    overlap = _AUPRO(fpr_limit=0.3)
    overlap.update(torch.from_numpy(np.stack(maps)), torch.from_numpy(np.stack(masks)).int())
    return PixelMetrics(masks=sum(bool(mask.any()) for mask in masks), auroc=auroc, pro=float(overlap.compute()))
