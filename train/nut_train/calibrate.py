"""The threshold from good parts that are not in the memory bank that judges them.

Scores of pictures in the bank are biased low, so a share of `train/good` is held out, or each picture is judged by a
model without it (`nut_train.crossfit`). Defects take no part unless that is asked for: they only measure, and a data
set without any calibrates all the same.
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
from nut_train.promise import Promise, promise
from nut_train.promise_words import promise_words
from nut_train.thresholds import Rule, place_of, quantile_threshold, threshold_at

__all__ = ["LEAST_IN_BANK", "Calibration", "Split", "calibrate", "different_pictures", "split_good", "threshold_at"]

_LEAST_HELD_OUT = 5
LEAST_IN_BANK = 5
"""Pictures that a memory bank is made of, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How `train/good` was divided.

    Attributes:
        bank: Pictures whose patches make the memory bank.
        held_out: Pictures that calibrate the threshold; none where they are cross-fitted.
        repeated: Pictures left out because another one has the same bytes.
        folds: Where they are cross-fitted, the pictures of the bank in so many parts; each part is judged by a model of
            the others.
    """

    bank: tuple[Path, ...]
    held_out: tuple[Path, ...]
    repeated: tuple[Path, ...]
    folds: tuple[tuple[Path, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """An operating point and what it rests on.

    Attributes:
        false_reject_rate: The rate that was asked for; of a threshold that was put by F1 or by hand, the one that the
            pictures can speak for.
        held_out: Number of good pictures that calibrated it, held out or cross-fitted.
        smallest_rate: The smallest rate that so many pictures can speak for, 1 / (held_out + 1).
        point: The thresholds and ranges.
        rule: How the image threshold was found.
        method: `holdout` or `crossfit`.
        folds: Models that scored the pictures; 1 for `holdout`.
        review_rate: Share of good parts that may be for review or rejected; None asks for no review.
        is_whitened: Whether the models that scored the pictures whiten patches, each in its own way.
        asked_rate: The rate that was asked for, which the pixel threshold follows under every rule.
        promise: What is known of its false rejects.
        review_promise: The same of good parts that are for review or rejected; None where none is for review.
    """

    false_reject_rate: float
    held_out: int
    smallest_rate: float
    point: OperatingPoint
    promise: Promise
    asked_rate: float
    rule: Rule = Rule.CONFORMAL
    method: str = "holdout"
    folds: int = 1
    review_rate: float | None = None
    is_whitened: bool = False
    review_promise: Promise | None = None

    @property
    def is_supported(self) -> bool:
        """Whether there are enough pictures for the rate that was asked for."""
        return self.false_reject_rate >= self.smallest_rate

    def to_json(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        plain = asdict(self) | {"point": self.point.to_json(), "rule": str(self.rule)}
        plain |= {"is_supported": self.is_supported}
        return plain | {"guarantee": promise_words(plain)}


def different_pictures(paths: Sequence[Path]) -> tuple[list[Path], tuple[Path, ...]]:
    """Return the pictures of different bytes, in order, and those that repeat another one's.

    Raises:
        InputError: If one cannot be read.
    """
    first: dict[str, Path] = {}
    for path in sorted(paths):
        first.setdefault(digest(path), path)
    different = sorted(first.values())
    return different, tuple(sorted(set(paths) - set(different)))


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
    different, repeated = different_pictures(paths)
    count = max(_LEAST_HELD_OUT, round(holdout * len(different)))
    if len(different) - count < LEAST_IN_BANK:
        raise InputError(
            f"{len(different)} different good pictures with {count} held out leave too few for the bank; at least "
            f"{_LEAST_HELD_OUT + LEAST_IN_BANK} are needed, and a smaller --holdout if it was set high"
        )
    chosen = np.random.default_rng(seed).permutation(len(different))[:count]
    held_out = {different[place] for place in chosen}
    return Split(
        bank=tuple(path for path in different if path not in held_out),
        held_out=tuple(path for path in different if path in held_out),
        repeated=repeated,
    )


def calibrate(
    raw_scores: NDArray[np.float64],
    map_peaks: NDArray[np.float64],
    *,
    false_reject_rate: float,
    rule: Rule = Rule.CONFORMAL,
    value: float | None = None,
    review_rate: float | None = None,
    method: str = "holdout",
    folds: int = 1,
    is_whitened: bool = False,
) -> Calibration:
    """Return the operating point at a stated false-reject rate.

    The range is twice the threshold, so a normalised score is `raw / (2 * threshold)`: 0 for a part that is in
    the bank, 0.5 at the threshold, 1 at twice the threshold and beyond. It depends on no defect and not on the
    luck of the smallest and largest good score (docs/decisions/0004).

    Args:
        raw_scores: Raw image scores of good parts, each by a model without it, shape (N,).
        map_peaks: The largest value of each one's raw anomaly map, shape (N,): a pixel threshold at the same
            quantile marks pixels on at most that share of good parts.
        false_reject_rate: In (0, 0.5].
        rule: How the image threshold is found. The pixel threshold follows the rate under every rule.
        value: The image threshold itself where the rule is `f1` or `value`.
        review_rate: Good parts that may be for review or rejected, above the rate; None asks for no review. Where there
            is no score between the two thresholds, there is none either.
        method: `holdout` or `crossfit`; only recorded, and decides about what is promised.
        folds: Models that gave the scores; 1 for `holdout`.
        is_whitened: Whether these whiten patches.

    Raises:
        InputError: If there are no scores, one is not finite, or all are 0: the pictures are then copies of those in
            the bank, and every other part would be rejected.
    """
    count, asked_rate = int(raw_scores.size), false_reject_rate
    conformal = threshold_at(raw_scores, false_reject_rate)
    if raw_scores.max() <= 0:
        raise InputError(
            f"all {count} calibration pictures score 0, so they show what others show; give pictures of different parts"
        )
    by = Rule.QUANTILE if rule is Rule.QUANTILE else Rule.CONFORMAL  # the pixel threshold and the review, at any rule
    put = quantile_threshold if by is Rule.QUANTILE else threshold_at
    image, pixel = conformal, put(map_peaks, false_reject_rate)
    if rule is Rule.QUANTILE:
        image = quantile_threshold(raw_scores, false_reject_rate)
    is_by_good = rule in {Rule.CONFORMAL, Rule.QUANTILE}
    if is_by_good:
        above = _above(count, false_reject_rate, rule)
    else:
        image = _checked(value, rule)
        above = int((raw_scores > image).sum())
        false_reject_rate = (above + 1) / (count + 1)
    review, review_promise = None, None
    if review_rate is not None and (lower := put(raw_scores, review_rate)) < image:
        review = lower
        above_review = _above(count, review_rate, by)
        review_promise = promise(
            pictures=count, above=above_review, folds=folds, is_by_good=True, is_whitened=is_whitened
        )
    return Calibration(
        false_reject_rate=false_reject_rate,
        asked_rate=asked_rate,
        held_out=count,
        smallest_rate=1 / (count + 1),
        rule=rule,
        method=method,
        folds=folds,
        review_rate=review_rate,
        is_whitened=is_whitened,
        promise=promise(pictures=count, above=above, folds=folds, is_by_good=is_by_good, is_whitened=is_whitened),
        review_promise=review_promise,
        point=OperatingPoint(
            image=Scale(threshold=image, minimum=0.0, maximum=2 * image),
            pixel=Scale(threshold=pixel, minimum=0.0, maximum=2 * pixel),
            review_from=review,
        ),
    )


def _above(count: int, rate: float, rule: Rule) -> int:
    """Return how many of so many scores a threshold at a rate may have above it."""
    return count - min(place_of(count, rate, rule), count)


def _checked(value: float | None, rule: Rule) -> float:
    """Return a threshold that did not come from the good scores.

    Raises:
        InputError: If there is none, or it is not a number above 0.
    """
    if value is None or not np.isfinite(value) or value <= 0:
        raise InputError(f"the threshold rule {rule} needs a raw score above 0, got {value}; give --threshold-value")
    return float(value)
