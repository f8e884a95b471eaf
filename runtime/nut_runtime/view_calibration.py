"""What the views of good parts were like when a model was calibrated; stored in the bundle's manifest."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.quality import measure
from nut_runtime.good_scores import GoodScores

__all__ = ["MAX_VALUES", "Sample", "ViewCalibration", "view_figures"]

MAX_VALUES = 256
"""Values kept of each figure."""

_DIGITS = 6


def view_figures(frame: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the brightness of a frame and its sharpness at that brightness.

    The sharpness of `nut_runtime.cameras.quality`, the variance of the Laplacian, grows with the square of the light.
    Divided by that square it tells a dirty lens from a weak lamp.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.

    Returns:
        Mean grey level, 0 to 255; variance of the Laplacian as a share of its square, >= 0.
    """
    quality = measure(frame)
    return quality.brightness, quality.sharpness / max(quality.brightness, 1.0) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One figure, of many pictures.

    Attributes:
        count: Number of pictures.
        values: The figure of each, ascending; of more than `MAX_VALUES` so many, evenly spread over the ranks.
    """

    count: int
    values: tuple[float, ...]

    @classmethod
    def of(cls, figures: Iterable[float]) -> Self:
        """Return the sample of some figures, each rounded to six digits.

        Args:
            figures: In any order; finite.
        """
        ordered = sorted(float(f"{figure:.{_DIGITS}g}") for figure in figures)
        kept = ordered
        if len(ordered) > MAX_VALUES:
            kept = [ordered[int((place + 0.5) * len(ordered) / MAX_VALUES)] for place in range(MAX_VALUES)]
        return cls(count=len(ordered), values=tuple(kept))

    @property
    def mean(self) -> float:
        """The mean; NaN without values."""
        return float(np.mean(self.values)) if self.values else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"count": self.count, "values": list(self.values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read plain types.

        Raises:
            KeyError: If something is missing.
            ValueError: If the values are not finite, ascending numbers, or more or fewer than the count allows.
        """
        count, values = data["count"], data["values"]
        if type(count) is not int or not isinstance(values, list) or len(values) != min(count, MAX_VALUES):
            raise ValueError(f"a calibration of {count!r} pictures does not have as many values")
        if any(type(value) not in (int, float) or not math.isfinite(value) for value in values):
            raise ValueError("a calibration has a value that is not a finite number")
        if values != sorted(values):
            raise ValueError("a calibration has values that are not in ascending order")
        return cls(count=count, values=tuple(float(value) for value in values))


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCalibration:
    """What good parts looked like.

    Attributes:
        brightness: Mean grey level, 0 to 255, of good pictures.
        sharpness: Sharpness at that brightness (`view_figures`).
        raw_score: Score of good pictures that are not in the memory bank, by the bundle's own model; where all were put
            into the bank, those by models without them.
        good: What the threshold was calibrated with; None in bundles from before it was stored, and where it was not.
    """

    brightness: Sample
    sharpness: Sample
    raw_score: Sample
    good: GoodScores | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "brightness": self.brightness.to_json(),
            "sharpness": self.sharpness.to_json(),
            "raw_score": self.raw_score.to_json(),
            **({} if self.good is None else {"good": self.good.to_json()}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read plain types.

        Raises:
            KeyError: If something is missing.
            ValueError: As `Sample.from_json` and `GoodScores.from_json`.
        """
        return cls(
            brightness=Sample.from_json(data["brightness"]),
            sharpness=Sample.from_json(data["sharpness"]),
            raw_score=Sample.from_json(data["raw_score"]),
            good=None if data.get("good") is None else GoodScores.from_json(data["good"]),
        )
