"""From a raw distance to a verdict: the one definition that training, export and the edge share.

anomalib's min-max convention, in float32 as its post-processor computes it: the threshold maps to 0.5, one
range of raw scores maps to 1, and what lies outside 0..1 is clipped. A part or pixel is defective when its
normalised score is above 0.5.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError

__all__ = ["OperatingPoint", "Scale", "is_defective", "normalise", "rescale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where raw distances lie.

    Attributes:
        threshold: The raw distance that maps to 0.5; above it is defective.
        minimum: Lower end of the range.
        maximum: Upper end of the range, above `minimum`. Only the difference counts.
    """

    threshold: float
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        """Check that the numbers make a scale.

        Raises:
            InputError: If one is not finite or the range is empty.
        """
        if not all(map(math.isfinite, (self.threshold, self.minimum, self.maximum))):
            raise InputError(f"threshold and range must be finite numbers, got {self}")
        if self.maximum <= self.minimum:
            raise InputError(f"the range's maximum {self.maximum} must be above its minimum {self.minimum}")

    def moved_to(self, threshold: float) -> Self:
        """Return the scale with another threshold.

        A range from 0 to twice the threshold, as this toolchain puts it, stays so (docs/decisions/0004); another, as a
        checkpoint of anomalib's own brings it, is kept.

        Raises:
            InputError: If the threshold is not finite, or not above 0 where the range hangs on it.

        Example:
            >>> Scale(threshold=4, minimum=0, maximum=8).moved_to(5)
            Scale(threshold=5, minimum=0.0, maximum=10)
        """
        if self.minimum == 0 and math.isclose(self.maximum, 2 * self.threshold, rel_tol=1e-9):
            return type(self)(threshold=threshold, minimum=0.0, maximum=2 * threshold)
        return replace(self, threshold=threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What decides: one scale for the part's score, one for each pixel of the anomaly map.

    Attributes:
        image: Of the part's score.
        pixel: Of each pixel of the map.
        review_from: Raw score, below the image threshold, from which a part that is not defective is for review; None
            never is.
    """

    image: Scale
    pixel: Scale
    review_from: float | None = None

    def __post_init__(self) -> None:
        """Check that there is room for a review.

        Raises:
            InputError: If parts would be for review only from the image threshold on, where they are defective.
        """
        if self.review_from is not None and not -math.inf < self.review_from < self.image.threshold:
            raise InputError(
                f"review from raw score {self.review_from:g}, expected a number below the threshold "
                f"{self.image.threshold:g}"
            )

    @property
    def review_score(self) -> float | None:
        """Normalised score from which a part that is not defective is for review, 0 to 0.5; None never is."""
        return None if self.review_from is None else float(normalise(np.float32(self.review_from), self.image))

    def to_json(self) -> dict[str, Any]:
        """Return plain types; without a review there is no word of it, as in every file from before there was one."""
        plain = asdict(self)
        if self.review_from is None:
            del plain["review_from"]
        return plain

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            InputError: If a number is missing or no scale.
        """
        try:
            return cls(
                **{
                    part: Scale(**{name: float(data[part][name]) for name in ("threshold", "minimum", "maximum")})
                    for part in ("image", "pixel")
                },
                review_from=None if data.get("review_from") is None else float(data["review_from"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the operating point is incomplete: {error}") from error


def normalise(raw: NDArray[np.float32] | np.float32, scale: Scale) -> NDArray[np.float32]:
    """Return raw distances on anomalib's 0..1 scale.

    Args:
        raw: Raw distances, float32, any shape.
        scale: The threshold and the range.

    Returns:
        `clip((raw - threshold) / (maximum - minimum) + 0.5, 0, 1)`, float32, of the same shape.

    Example:
        >>> normalise(np.array([2, 4, 6, 20], np.float32), Scale(threshold=4, minimum=0, maximum=8))
        array([0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    width = np.float32(scale.maximum) - np.float32(scale.minimum)
    shifted = (np.asarray(raw, np.float32) - np.float32(scale.threshold)) / width + np.float32(0.5)
    return np.asarray(np.clip(shifted, np.float32(0), np.float32(1)), np.float32)


def rescale(normalised: NDArray[np.float32], old: Scale, new: Scale) -> NDArray[np.float32]:
    """Return values that were normalised with one scale as another would have normalised them.

    What the old scale clipped stays at its end: a threshold moved to above twice the old one is beyond what the
    values still tell.

    Args:
        normalised: Float32, any shape, 0..1.
        old: The scale they were normalised with.
        new: The scale wanted.
    """
    if new == old:
        return normalised
    width = np.float32(old.maximum) - np.float32(old.minimum)
    return normalise((normalised - np.float32(0.5)) * width + np.float32(old.threshold), new)


def is_defective(normalised: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether each normalised score is above the threshold's 0.5."""
    return np.asarray(normalised > np.float32(0.5))
