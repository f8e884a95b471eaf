"""The figures of a report, as PNG bytes."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nut_runtime.overlay import draw_heat
from nut_runtime.pictures import encode_png, read_picture
from nut_train.evaluate import Judged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gallery_picture", "roc", "score_histogram"]

_GOOD, _DEFECT, _LINE = "#2b7a4b", "#b3372f", "#333333"
_GALLERY_SIDE_PX = 224


def score_histogram(judged: Sequence[Judged], held_out: Sequence[float], threshold: float) -> bytes:
    """Draw how the raw scores of good and defective parts lie about the threshold.

    Args:
        judged: The test pictures.
        held_out: Raw scores of the good parts that calibrated the threshold.
        threshold: The raw threshold.
    """
    groups = {
        "good, held out of training": (np.asarray(held_out, float), "#9dc9ae"),
        "good, test": (_scores(judged, defective=False), _GOOD),
        "defective, test": (_scores(judged, defective=True), _DEFECT),
    }
    groups = {name: (scores, colour) for name, (scores, colour) in groups.items() if scores.size}
    everything = np.concatenate([scores for scores, _ in groups.values()])
    bins = np.linspace(everything.min(), everything.max() + 1e-9, 31)
    figure = _figure()
    axes = figure.add_subplot()
    for name, (scores, colour) in groups.items():
        axes.hist(scores, bins=list(bins), alpha=0.65, label=f"{name} ({scores.size})", color=colour)
    axes.axvline(threshold, color=_LINE, linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="raw score (distance to the nearest good patch, weighted)", ylabel="pictures")
    axes.legend(frameon=False)
    return _png(figure)


def roc(judged: Sequence[Judged], threshold: float) -> bytes | None:
    """Draw the ROC curve with the calibrated threshold on it; None where a class is missing."""
    from sklearn.metrics import roc_curve

    truth = np.array([item.is_defective for item in judged])
    if truth.all() or not truth.any():
        return None
    scores = np.array([item.prediction.raw_score for item in judged])
    false_rate, true_rate, _ = roc_curve(truth, scores)
    figure = _figure(width=3.5)
    axes = figure.add_subplot()
    axes.plot(false_rate, true_rate, color=_DEFECT)
    axes.plot(
        float((scores[~truth] > threshold).mean()),
        float((scores[truth] > threshold).mean()),
        "o",
        color=_LINE,
        label="at the threshold",
    )
    axes.set(xlabel="good parts rejected", ylabel="defective parts found", xlim=(-0.02, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def gallery_picture(item: Judged) -> bytes:
    """Return the picture beside its heat map, scaled to a common height."""
    import cv2

    frame = read_picture(item.prediction.path)
    heat = draw_heat(frame, item.prediction.anomaly_map, item.prediction.pred_mask)
    pair = [_to_height(part) for part in (frame, heat)]
    if item.mask is not None and item.mask.any():
        truth = _to_height(frame)
        marked = cv2.resize(item.mask.astype(np.uint8), truth.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(pair[0], outlines, -1, (60, 220, 60), 1)
    return encode_png(np.hstack(pair))


def _to_height(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a picture to the gallery's height."""
    import cv2

    height, width = picture.shape[:2]
    wanted = (max(1, round(width * _GALLERY_SIDE_PX / height)), _GALLERY_SIDE_PX)
    return np.ascontiguousarray(cv2.resize(picture, wanted, interpolation=cv2.INTER_AREA))


def _scores(judged: Sequence[Judged], *, defective: bool) -> NDArray[np.float64]:
    return np.array([item.prediction.raw_score for item in judged if item.is_defective == defective])


def _figure(*, width: float = 5.9) -> "Figure":
    """Return an empty figure that needs no display and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.3), layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
