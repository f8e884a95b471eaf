"""One part in a tray."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Flaw", "Instance"]


class Flaw(StrEnum):
    """Why a part is not judged, though it was found."""

    AT_BORDER = "at-border"
    """The picture's edge cuts it."""
    TOO_SMALL = "too-small"
    """Far smaller than a part is: dirt, or what another part leaves visible."""
    TOO_LARGE = "too-large"
    """Far larger than a part is: several that could not be told apart."""
    OVERLAPPED = "overlapped"
    """Another part lies on it, by its outline."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """A part that was found, in pixels of the frame.

    Attributes:
        number: From 1, in reading order: by rows of the frame, then from left to right.
        mask: Its pixels, bool `[height, width]` of its box.
        x: Left edge of its box.
        y: Upper edge of its box.
        centre: Of its mask, (x, y).
        angle_deg: How far it is turned, 0 to 90: the angle of the smallest rectangle around it.
        area_px: Pixels of its mask.
        peak: The largest value of the distance map in it, 0 to 1.
        flaw: Why it cannot be judged; None where it can.
    """

    number: int
    mask: NDArray[np.bool_]
    x: int
    y: int
    centre: tuple[float, float]
    angle_deg: float
    area_px: int
    peak: float
    flaw: Flaw | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it can be judged."""
        return self.flaw is None

    @property
    def height(self) -> int:
        """Of its box, in pixels."""
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        """Of its box, in pixels."""
        return int(self.mask.shape[1])
