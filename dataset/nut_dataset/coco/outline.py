"""From an annotation's polygons or run lengths to its mask; whatever is wrong with them is said before decoding.

pycocotools turns polygons into run lengths. It trusts its input - a coordinate of 1e9 is memory for 5e9 points - so
that everything is checked here first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.document import OUTSIDE_PX, CocoImage, number
from nut_runtime.errors import InputError

__all__ = ["OutlineError", "draw_outline"]

_LEAST_POINTS = 3
_MAX_POINTS = 100_000
_LEAST_AREA_PX = 0.5
"""A polygon that encloses less is a line: it was never closed, or goes back the way it came."""


class OutlineError(InputError):
    """An outline that encloses nothing, or makes no sense."""


def draw_outline(segmentation: Any, image: CocoImage) -> NDArray[np.bool_]:
    """Return the mask of an annotation, bool `[H, W]` of its picture.

    Args:
        segmentation: Polygons `[[x1, y1, x2, y2, ...], ...]`, or run lengths: an object with `size` `[H, W]` and
            `counts`, a list of numbers or COCO's compressed text.
        image: Its picture.

    Raises:
        OutlineError: If nothing can be drawn of it; the message is what is wrong with the annotation.
    """
    size = image.height_px, image.width_px
    if isinstance(segmentation, dict):
        runs = _runs(segmentation, size)
    elif isinstance(segmentation, list):
        runs = _runs_of_polygons(_polygons(segmentation, image), size)
    else:
        raise OutlineError("it has no outline: its segmentation is missing; export it as COCO segmentation")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")
    if not mask.any():
        raise OutlineError("its outline covers no pixel")
    return np.ascontiguousarray(mask)


def _runs_of_polygons(polygons: list[list[float]], size: tuple[int, int]) -> list[int]:
    """Return the run lengths of the pixels that one of the polygons covers."""
    from pycocotools import mask as coco_mask

    covered = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return _decompress(covered["counts"].decode("ascii"), most=size[0] * size[1])


def _polygons(polygons: list[Any], image: CocoImage) -> list[list[float]]:
    """Return the polygons, clipped to the picture where they were rounded beyond it."""
    if not polygons:
        raise OutlineError("it has a box but no outline: its segmentation is empty; export it as COCO segmentation")
    return [_polygon(points, f"polygon {place}", image) for place, points in enumerate(polygons, start=1)]


def _polygon(points: Any, name: str, image: CocoImage) -> list[float]:
    """Return one polygon as x1, y1, x2, y2, ..."""
    if not isinstance(points, list):
        raise OutlineError(f"{name} is not a list of numbers")
    if len(points) > 2 * _MAX_POINTS:
        raise OutlineError(f"{name} has {len(points) // 2} points, at most {_MAX_POINTS} are read")
    numbers = [number(value) for value in points]
    if any(value is None for value in numbers):
        raise OutlineError(f"{name} holds what is no finite number")
    if len(numbers) % 2:
        raise OutlineError(f"{name} is open: its last point has an x and no y")
    corners = np.array(numbers, np.float64).reshape(-1, 2)
    distinct = len(np.unique(corners, axis=0))
    if distinct < _LEAST_POINTS:
        raise OutlineError(f"{name} is open: {distinct} different points enclose nothing, at least 3 are needed")
    limits = np.array([image.width_px, image.height_px], np.float64)
    if (corners < -OUTSIDE_PX).any() or (corners > limits + OUTSIDE_PX).any():
        raise OutlineError(f"{name} reaches beyond the {image.width_px}x{image.height_px} px")
    x, y = corners.T
    if abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 < _LEAST_AREA_PX:
        raise OutlineError(f"{name} is open: its points lie on a line and enclose nothing")
    return [float(value) for value in np.clip(corners, 0, limits).ravel()]


def _runs(segmentation: dict[str, Any], size: tuple[int, int]) -> list[int]:
    """Return the run lengths: pixels outside, inside, outside ... down the columns."""
    given = segmentation.get("size")
    if not isinstance(given, list) or given != list(size):
        raise OutlineError(f"its run lengths are for {given!r:.40} (rows, columns), its picture has {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        runs = _decompress(counts, most=size[0] * size[1])
    elif isinstance(counts, list):
        runs = [value for value in counts if isinstance(value, int) and not isinstance(value, bool)]
        if len(runs) != len(counts):
            raise OutlineError("its run lengths are not all whole numbers")
    else:
        raise OutlineError("its run lengths are missing: counts is neither a list nor a text")
    if any(run < 0 for run in runs):
        raise OutlineError("a run length is below 0")
    if sum(runs) != size[0] * size[1]:
        raise OutlineError(f"its run lengths cover {sum(runs)} pixels, its picture has {size[0] * size[1]}")
    return runs


def _decompress(text: str, *, most: int) -> list[int]:
    """Return the run lengths in COCO's compressed text.

    Six bits a character, from '0' on: five of the value, lowest first, and one that says whether more follow; from
    the fourth run on the value is the difference to the run before the last (rleFrString in pycocotools' maskApi.c).
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:  # noqa: PLR2004 - six bits
            raise OutlineError("its run lengths are no COCO text")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            if shift > 60:  # noqa: PLR2004 - beyond any picture
                raise OutlineError("its run lengths are no COCO text")
            continue
        if bits & 0x10:
            value -= 1 << shift
        if len(runs) > 2:  # noqa: PLR2004 - as the format has it
            value += runs[-2]
        if not 0 <= value <= most:
            raise OutlineError("a run length is below 0 or larger than the picture")
        runs.append(value)
        value, shift = 0, 0
    if shift:
        raise OutlineError("its run lengths end in the middle of a number")
    return runs
