"""The threshold from good parts that are not in the memory bank.

Scores of pictures in the bank are biased low, so a share of `train/good` is held out. Defects never take part:
they only measure, and a data set without any calibrates all the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.scoring import OperatingPoint, Scale
from nut_train.digests import digest

__all__ = ["Calibration", "Split", "calibrate", "split_good", "threshold_at"]

_LEAST_HELD_OUT = 5
_LEAST_IN_BANK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How `train/good` was divided.

    Attributes:
        bank: Pictures whose patches make the memory bank.
        held_out: Pictures that calibrate the threshold.
        repeated: Pictures left out because another one has the same bytes.
    """

    bank: tuple[Path, ...]
    held_out: tuple[Path, ...]
    repeated: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """An operating point and what it rests on.

    Attributes:
        false_reject_rate: The rate that was asked for.
        held_out: Number of good pictures that calibrated it.
        smallest_rate: The smallest rate that so many pictures can speak for, 1 / (held_out + 1).
        point: The thresholds and ranges.
    """

    false_reject_rate: float
    held_out: int
    smallest_rate: float
    point: OperatingPoint

    @property
    def is_supported(self) -> bool:
        """Whether there are enough pictures for the rate that was asked for."""
        return self.false_reject_rate >= self.smallest_rate

    def to_json(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        return asdict(self) | {"is_supported": self.is_supported}


def split_good(paths: Sequence[Path], *, holdout: float, seed: int) -> Split:
    """Divide good pictures into those for the bank and those for calibration.

    A picture whose bytes repeat another's is left out first: held out, it would score zero against its twin.

    Args:
        paths: The pictures of `train/good`.
        holdout: Share to hold out, rounded, at least five pictures.
        seed: Fixes the choice.

    Raises:
        InputError: If fewer than ten different pictures are there, or one cannot be read.
    """
    first: dict[str, Path] = {}
    for path in sorted(paths):
        first.setdefault(digest(path), path)
    different = sorted(first.values())
    count = max(_LEAST_HELD_OUT, round(holdout * len(different)))
    if len(different) - count < _LEAST_IN_BANK:
        raise InputError(
            f"{len(different)} different good pictures with {count} held out leave too few for the bank; at least "
            f"{_LEAST_HELD_OUT + _LEAST_IN_BANK} are needed, and a smaller --holdout if it was set high"
        )
    chosen = np.random.default_rng(seed).permutation(len(different))[:count]
    held_out = {different[place] for place in chosen}
    return Split(
        bank=tuple(path for path in different if path not in held_out),
        held_out=tuple(path for path in different if path in held_out),
        repeated=tuple(sorted(set(paths) - set(different))),
    )


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
    if scores.size == 0 or not np.isfinite(scores).all():
        raise InputError("calibration needs at least one score, and all of them finite")
    ordered = np.sort(scores)
    # 1e-9: (n + 1) (1 - rate) is a whole number for the very n that just suffice, and must not be rounded up past it
    place = int(np.ceil((ordered.size + 1) * (1 - false_reject_rate) - 1e-9))
    below = ordered[min(place, ordered.size) - 1]
    above = ordered[ordered > below]
    if above.size == 0:
        return float(below * 1.01) if below > 0 else 1e-6
    return float((below + above[0]) / 2)


def calibrate(
    raw_scores: NDArray[np.float64], map_peaks: NDArray[np.float64], *, false_reject_rate: float
) -> Calibration:
    """Return the operating point at a stated false-reject rate.

    The range is twice the threshold, so a normalised score is `raw / (2 * threshold)`: 0 for a part that is in
    the bank, 0.5 at the threshold, 1 at twice the threshold and beyond. It depends on no defect and not on the
    luck of the smallest and largest good score (docs/decisions/0004).

    Args:
        raw_scores: Raw image scores of held-out good parts, shape (N,).
        map_peaks: The largest value of each one's raw anomaly map, shape (N,): a pixel threshold at the same
            quantile marks pixels on at most that share of good parts.
        false_reject_rate: In (0, 0.5].

    Raises:
        InputError: If there are no scores.
    """
    image = threshold_at(raw_scores, false_reject_rate)
    pixel = threshold_at(map_peaks, false_reject_rate)
    return Calibration(
        false_reject_rate=false_reject_rate,
        held_out=int(raw_scores.size),
        smallest_rate=1 / (raw_scores.size + 1),
        point=OperatingPoint(
            image=Scale(threshold=image, minimum=0.0, maximum=2 * image),
            pixel=Scale(threshold=pixel, minimum=0.0, maximum=2 * pixel),
        ),
    )
