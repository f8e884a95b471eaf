"""A nut that can be put anywhere on a tray, turned and scaled."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Patch", "Sprite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A sprite where it lies: arrays for the rectangle of the canvas that begins at `top`, `left`.

    Attributes:
        top: Row, may be negative.
        left: Column, may be negative.
        paint: Linear light times cover, and cover, float32 `[h, w, 4]`, BGR first.
        mask: Within the nut's outline, bore included, bool `[h, w]`.
        shade: Light left on what lies below, 0 to 1, float32 `[h, w]`.
    """

    top: int
    left: int
    paint: NDArray[np.float32]
    mask: NDArray[np.bool_]
    shade: NDArray[np.float32]

    def windows(self, canvas: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the rectangle shared with a canvas of that shape, as slices of the canvas and of the patch."""
        rows, columns = self.mask.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + rows, canvas[0]), min(self.left + columns, canvas[1])
        bottom, right = max(bottom, top), max(right, left)
        return (
            (slice(top, bottom), slice(left, right)),
            (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)),
        )

    def moved(self, down: int, right: int) -> "Patch":
        """Return the patch elsewhere."""
        return Patch(top=self.top + down, left=self.left + right, paint=self.paint, mask=self.mask, shade=self.shade)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """A nut on a rectangle that holds its shadow, too. Upright: what is nearest to the camera leans upwards.

    Attributes:
        paint: Linear light times cover, and cover, float32 `[H, W, 4]`, BGR first.
        outline: How much of a pixel is nut, bore included, float32 `[H, W]`.
        shade: Light left on what lies below, 0 to 1, float32 `[H, W]`.
        tilt_rad: Angle between the line of sight and the nut's axis.
    """

    paint: NDArray[np.float32]
    outline: NDArray[np.float32]
    shade: NDArray[np.float32]
    tilt_rad: float = 0.0

    @property
    def side_px(self) -> float:
        """Side of the square that has the nut's area."""
        return math.sqrt(float(self.outline.sum()))

    def at(
        self, x: float, y: float, *, angle_rad: float, side_px: float, gain_bgr: tuple[float, float, float]
    ) -> Patch:
        """Return the nut with its middle at (x, y) of the canvas.

        Args:
            x: Column.
            y: Row.
            angle_rad: Turned clockwise by this.
            side_px: Side of the square that has the nut's area, in pixels of the canvas.
            gain_bgr: Factors on its light.
        """
        scale = side_px / self.side_px
        rows, columns = self.outline.shape
        cosine, sine = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
        half_w = (abs(cosine) * columns + abs(sine) * rows) / 2
        half_h = (abs(sine) * columns + abs(cosine) * rows) / 2
        left, top = math.floor(x - half_w), math.floor(y - half_h)
        size = math.ceil(2 * half_w) + 1, math.ceil(2 * half_h) + 1
        middle = columns / 2 - 0.5, rows / 2 - 0.5
        turn = np.array(
            [
                [cosine, -sine, x - left - cosine * middle[0] + sine * middle[1]],
                [sine, cosine, y - top - sine * middle[0] - cosine * middle[1]],
            ]
        )
        paint = cv2.warpAffine(self.paint, turn, size) * np.array([*gain_bgr, 1], np.float32)
        outline = cv2.warpAffine(self.outline, turn, size)
        shade = cv2.warpAffine(self.shade, turn, size, borderValue=1.0)
        return Patch(top=top, left=left, paint=paint, mask=outline > 0.5, shade=shade)  # noqa: PLR2004 - more nut than table

    def shrunk(self, side_px: float) -> "Sprite":
        """Return the sprite at about twice the resolution that a nut of that side needs, never enlarged."""
        factor = 2 * side_px / self.side_px
        if factor >= 1:
            return self
        rows, columns = self.outline.shape
        size = max(round(columns * factor), 1), max(round(rows * factor), 1)
        paint, outline, shade = (
            cv2.resize(field, size, interpolation=cv2.INTER_AREA) for field in (self.paint, self.outline, self.shade)
        )
        return Sprite(paint=paint, outline=outline, shade=shade, tilt_rad=self.tilt_rad)
