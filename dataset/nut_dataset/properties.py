"""The properties of a file or photograph that could give the answer away, each with a name and a scale."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_dataset.facts import PictureFacts

__all__ = ["CATEGORIES", "MEASURES", "PROPERTIES", "Category", "Measure"]

_MAX_WORDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A property that is a number.

    Attributes:
        name: Attribute of `PictureFacts`, and the name in the JSON.
        label: The name for people.
        unit: Unit for people, may be empty.
        is_of_file: Whether the property belongs to the file; otherwise it belongs to the photograph, and may
            come from the part itself.
        is_ratio: Whether values are compared by ratio (file sizes) or by difference (grey levels).
        min_gap: The gap between two groups of pictures below which nobody would call them different: a factor
            where `is_ratio`, otherwise a difference.
        digits: Digits after the point for people.
    """

    name: str
    label: str
    unit: str = ""
    is_of_file: bool
    is_ratio: bool
    min_gap: float
    digits: int = 0

    def values(self, pictures: Sequence[PictureFacts]) -> NDArray[np.float64]:
        """Return the property of each picture, shape (N,)."""
        return np.array([getattr(picture, self.name) for picture in pictures], np.float64)

    def text(self, pictures: Sequence[PictureFacts]) -> str:
        """Return the range of the values for people: `143-183 px`, or `200 px` where all agree."""
        values = self.values(pictures)
        low, high = (f"{value:.{self.digits}f}" for value in (values.min(), values.max()))
        return f"{low if low == high else f'{low}-{high}'}{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A property that is a word. Attributes as in `Measure`."""

    name: str
    label: str
    is_of_file: bool = True

    def values(self, pictures: Sequence[PictureFacts]) -> list[str]:
        """Return the property of each picture."""
        return [getattr(picture, self.name) for picture in pictures]

    def text(self, pictures: Sequence[PictureFacts]) -> str:
        """Return the words for people, the most frequent first: `RGB and RGBA`, `200x200 and 7 others`."""
        words = [word for word, _ in Counter(self.values(pictures)).most_common()]
        if len(words) > _MAX_WORDS:
            return f"{words[0]} and {len(words) - 1} others"
        return " and ".join(words)


# Minimum gaps: a fifth in size, about 10 of 255 grey levels and twice the sharpness are seen at a glance.
MEASURES = (
    Measure(name="file_bytes", label="file size", unit=" bytes", is_of_file=True, is_ratio=True, min_gap=1.2),
    Measure(name="width_px", label="width", unit=" px", is_of_file=True, is_ratio=True, min_gap=1.2),
    Measure(name="height_px", label="height", unit=" px", is_of_file=True, is_ratio=True, min_gap=1.2),
    Measure(name="pixels", label="pixel count", is_of_file=True, is_ratio=True, min_gap=1.2),
    Measure(name="aspect", label="aspect ratio", is_of_file=True, is_ratio=True, min_gap=1.2, digits=2),
    Measure(
        name="bytes_per_pixel",
        label="compression",
        unit=" bytes per pixel",
        is_of_file=True,
        is_ratio=True,
        min_gap=1.2,
        digits=2,
    ),
    Measure(name="background", label="background brightness", is_of_file=False, is_ratio=False, min_gap=10),
    Measure(
        name="background_share",
        label="background evenness",
        is_of_file=False,
        is_ratio=False,
        min_gap=0.2,
        digits=2,
    ),
    Measure(name="brightness", label="brightness", is_of_file=False, is_ratio=False, min_gap=10),
    Measure(name="contrast", label="contrast", is_of_file=False, is_ratio=False, min_gap=10),
    Measure(name="saturation", label="colourfulness", is_of_file=False, is_ratio=False, min_gap=10, digits=1),
    Measure(name="sharpness", label="sharpness", is_of_file=False, is_ratio=False, min_gap=0.3, digits=1),
)
CATEGORIES = (
    Category(name="mode", label="channel mode"),
    Category(name="format", label="file format"),
    Category(name="size", label="pixel size"),
)
PROPERTIES: tuple[Category | Measure, ...] = (*CATEGORIES, *MEASURES)
