"""The scores that a threshold was calibrated with, so that it can be moved later without the pictures."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

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

    @classmethod
    def of(cls, *, method: str, folds: int, raw_score: Iterable[float], map_peak: Iterable[float]) -> Self:
        """Return scores as they are kept, each rounded to nine digits.

        Args:
            method: As in the class.
            folds: As in the class.
            raw_score: Finite numbers.
            map_peak: As many.
        """
        raw, peaks = (tuple(float(f"{score:.{_DIGITS}g}") for score in scores) for scores in (raw_score, map_peak))
        return cls(method=method, folds=folds, raw_score=raw, map_peak=peaks)

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "method": self.method,
            "folds": self.folds,
            "raw_score": list(self.raw_score),
            "map_peak": list(self.map_peak),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read plain types.

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
        return cls(
            method=str(data["method"]), folds=folds, raw_score=tuple(map(float, raw)), map_peak=tuple(map(float, peaks))
        )
