"""What decides how parts are found and cut out; stored in the bundle, so that training and running do the same."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from nut_runtime.errors import InputError

__all__ = ["CutoutSettings", "FindSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindSettings:
    """How instances are found in a distance map (values 0 to 1: 0 at a part's outline, 1 at its innermost point).

    Attributes:
        peak: A part's innermost point reaches at least this.
        level: What belongs to a part is at least this.
        least_area: A part is too small below this share of the usual area.
        area_px: The usual area of a part's mask, in pixels of a frame whose longer side is `long_side_px`; None takes
            the median of the frame itself.
        long_side_px: What `area_px` refers to.
    """

    peak: float = 0.5
    level: float = 0.1
    least_area: float = 0.5
    area_px: float | None = None
    long_side_px: int = 640

    def __post_init__(self) -> None:
        """Check that the numbers make sense.

        Raises:
            InputError: If one does not.
        """
        if not 0 < self.level < self.peak <= 1:
            raise InputError(f"level and peak must rise within 0 and 1, got {self.level} and {self.peak}")
        if not 0 <= self.least_area < 1:
            raise InputError(f"the least area is a share of the usual one, got {self.least_area}")
        if self.area_px is not None and not (math.isfinite(self.area_px) and self.area_px > 0):
            raise InputError(f"the usual area must be above 0, got {self.area_px}")
        if self.long_side_px < 1:
            raise InputError(f"the longer side must be at least 1 px, got {self.long_side_px}")

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            InputError: If a number is missing or makes no sense.
        """
        try:
            return cls(
                peak=float(data["peak"]),
                level=float(data["level"]),
                least_area=float(data["least_area"]),
                area_px=None if data["area_px"] is None else float(data["area_px"]),
                long_side_px=int(data["long_side_px"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the locator's settings are incomplete: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoutSettings:
    """How a part is cut out for the judge, and was for the judge's training.

    Attributes:
        size_px: Side of the square cut-out.
        fill: The square's side over that of the usual part (the square root of the usual area): 1.6 leaves room for
            any turn of a square part.
        is_upright: Turn each part by its angle, so that all lie alike.
    """

    size_px: int = 128
    fill: float = 1.6
    is_upright: bool = False

    def __post_init__(self) -> None:
        """Check that the numbers make sense.

        Raises:
            InputError: If one does not.
        """
        if not 8 <= self.size_px <= 4096:  # noqa: PLR2004 - what a picture may be elsewhere, too
            raise InputError(f"a cut-out has 8 to 4096 px, got {self.size_px}")
        if not (math.isfinite(self.fill) and self.fill >= 1):
            raise InputError(f"a cut-out must be as large as its part at least, got {self.fill} times")

    def __str__(self) -> str:
        """Return it in words."""
        turned = ", upright" if self.is_upright else ""
        return f"{self.size_px} px, {self.fill:g} times the part{turned}"

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            InputError: If a value is missing or makes no sense.
        """
        try:
            return cls(size_px=int(data["size_px"]), fill=float(data["fill"]), is_upright=bool(data["is_upright"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the cut-out's settings are incomplete: {error}") from error
