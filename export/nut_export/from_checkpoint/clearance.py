"""A threshold that lies on a picture's score, moved off it by less than anyone can tell.

anomalib's adaptive threshold is the score of a validation picture. Where that picture is judged again, rounding
decides: anomalib in another batch size, or another engine, may find it a millionth above or below. The exported
threshold therefore keeps a distance from the scores of the pictures it is proven on, on the side that anomalib's own
verdict asks for.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nut_runtime.scoring import Scale
from nut_train.predict import Prediction

__all__ = ["keep_clear", "rounding"]

# Features that another engine sums in another order move a distance by about 1e-6 of itself; ten times that.
_FEATURES = 1e-5
# anomalib computes |p|^2 + |b|^2 - 2pb in float32, which is off by about eps |b|^2 / distance. Four times that: a
# random ResNet18 was seen to be off by 1.2 times.
_CANCELLATION = 4 * float(np.finfo(np.float32).eps)


def rounding(threshold: float, bank: NDArray[np.float32]) -> float:
    """Return how far apart two float32 computations of a raw score near the threshold can be taken to be.

    Args:
        threshold: Raw distance, above 0.
        bank: Memory bank, float32 (M, D).
    """
    largest = float((bank.astype(np.float64) ** 2).sum(axis=1).max())
    return max(_FEATURES * threshold, _CANCELLATION * largest / threshold)


def keep_clear(scale: Scale, predictions: Sequence[Prediction], distance: float) -> Scale:
    """Return the scale with its threshold at least `distance` away from every raw score.

    It is moved by `distance` at most, and not at all where no score is near. Where a good and a defective part leave
    less room than that, the middle between them is taken.

    Args:
        scale: Threshold and range of the image score.
        predictions: Raw scores with anomalib's own verdicts.
        distance: In raw distances, from `rounding`.
    """
    near = [one for one in predictions if abs(one.raw_score - scale.threshold) < 2 * distance]
    lowest = max((one.raw_score + distance for one in near if not one.pred_label), default=-math.inf)
    highest = min((one.raw_score - distance for one in near if one.pred_label), default=math.inf)
    if lowest > highest:
        return replace(scale, threshold=(lowest + highest) / 2)
    return replace(scale, threshold=min(max(scale.threshold, lowest), highest))
