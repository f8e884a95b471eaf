"""The scores that a threshold was calibrated with, so that it can be moved later without the pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

__all__ = ["GoodScores"]

_DIGITS = 9
"""As many tell every float32 from every other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodScores:
    """Scores of good pictures, each by a model whose memory bank did not have that picture.

    Attributes:
        method: `holdout`: one model judged pictures that it was not trained on; `crossfit`: each picture was judged by
            one of several models, and the final one was trained on all.
        folds: Number of those models; 1 for `holdout`.
        raw_score: Raw score of each picture.
        map_peak: Largest value of each one's raw anomaly map, in the same order.
    """

    method: str
    folds: int
    raw_score: tuple[float, ...]
    map_peak: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain types, each score of as many digits as tell float32 numbers apart."""
        return {
            "method": self.method,
            "folds": self.folds,
            "raw_score": [_short(score) for score in self.raw_score],
            "map_peak": [_short(peak) for peak in self.map_peak],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read plain types; each score becomes the float32 number that it was.

        Raises:
            KeyError: If something is missing.
            ValueError: If the scores are not finite numbers, as many of both kinds.
        """
        raw, peaks, folds = data["raw_score"], data["map_peak"], data["folds"]
        if type(folds) is not int or folds < 1:
            raise ValueError(f"scores of good pictures are of {folds!r} folds")
        if not isinstance(raw, list) or not isinstance(peaks, list) or len(raw) != len(peaks):
            raise ValueError("scores of good pictures and peaks of their maps are not as many")
        if any(type(value) not in (int, float) or not math.isfinite(value) for value in (*raw, *peaks)):
            raise ValueError("a score of a good picture is not a finite number")
        raw_score, map_peak = (tuple(float(np.float32(value)) for value in values) for values in (raw, peaks))
        return cls(method=str(data["method"]), folds=folds, raw_score=raw_score, map_peak=map_peak)


def _short(score: float) -> float:
    return float(f"{score:.{_DIGITS}g}")
