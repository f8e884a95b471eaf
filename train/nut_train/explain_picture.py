"""A comparison as a picture: the part on the left, the good part it was compared with on the right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nut_runtime.overlay import draw_strip
from nut_runtime.verdict import Label
from nut_train.explain import Comparison, Patch

__all__ = ["draw_close_ups", "draw_comparison", "draw_comparisons"]

_SIDE_PX = 320  # of each of the four parts
_CELLS = 9  # shown around the patch: about what the backbone sees of it
_GAP_PX = 8
_JUDGED_BGR, _GOOD_BGR = (40, 40, 220), (70, 150, 40)


def draw_comparison(
    judged: NDArray[np.uint8], good: NDArray[np.uint8], comparison: Comparison, *, threshold: float | None = None
) -> NDArray[np.uint8]:
    """Draw both pictures with the place marked, and below each the place enlarged.

    Args:
        judged: The judged part, uint8 `[H, W, 3]`, BGR.
        good: The good picture of the comparison, the same.
        comparison: From `Explainer.explain`.
        threshold: The run's pixel threshold, to put the distance in proportion; None says the distance alone.

    Returns:
        uint8 BGR, 648 px wide.
    """
    columns = [
        _column(judged, comparison.judged, _JUDGED_BGR),
        _column(good, comparison.good, _GOOD_BGR),
    ]
    height = columns[0].shape[0]
    gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
    drawn = np.hstack([columns[0], gap, columns[1]])
    text = f"distance {comparison.distance:.3g}"
    if threshold:
        text += f" = {comparison.distance / threshold:.2f} x threshold"
    place = comparison.good.box
    name = f"{comparison.good.picture.name} at {place[0]:.0f},{place[1]:.0f}"
    over = threshold is not None and comparison.distance > threshold
    return draw_strip(drawn, text, name=name, label=Label.DEFECT if over else Label.GOOD)


def draw_comparisons(
    judged: NDArray[np.uint8],
    comparisons: Sequence[tuple[Comparison, NDArray[np.uint8]]],
    *,
    threshold: float | None = None,
) -> NDArray[np.uint8]:
    """Draw several comparisons of one part, one below the other.

    Args:
        judged: The judged part, uint8 `[H, W, 3]`, BGR.
        comparisons: Each with its good picture; at least one.
        threshold: As in `draw_comparison`.
    """
    drawn = [draw_comparison(judged, good, comparison, threshold=threshold) for comparison, good in comparisons]
    gap = np.full((_GAP_PX, drawn[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for picture in drawn for part in (picture, gap)][:-1])


def draw_close_ups(judged: NDArray[np.uint8], good: NDArray[np.uint8], comparison: Comparison) -> NDArray[np.uint8]:
    """Draw both places enlarged, side by side, without words.

    Args:
        judged: The judged part, uint8 `[H, W, 3]`, BGR.
        good: The good picture of the comparison, the same.
        comparison: From `Explainer.explain`.

    Returns:
        uint8 BGR, 320 px high and 648 px wide.
    """
    gap = np.full((_SIDE_PX, _GAP_PX, 3), 255, np.uint8)
    near = _close_up(judged, comparison.judged, _JUDGED_BGR), _close_up(good, comparison.good, _GOOD_BGR)
    return np.hstack([near[0], gap, near[1]])


def _close_up(frame: NDArray[np.uint8], patch: Patch, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the place enlarged, with its cell marked."""
    import cv2

    left, top, width, height = patch.box
    side = max(width, height) * _CELLS
    near = _square(frame, left + width / 2, top + height / 2, side)
    cell_x, cell_y = (round(size / side * _SIDE_PX / 2) for size in (width, height))
    middle = _SIDE_PX // 2
    cv2.rectangle(near, (middle - cell_x, middle - cell_y), (middle + cell_x, middle + cell_y), colour, 2)
    return near


def _column(frame: NDArray[np.uint8], patch: Patch, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the whole picture with the place marked, and the place enlarged below it."""
    import cv2

    left, top, width, height = patch.box
    side = max(width, height) * _CELLS
    centre_x, centre_y = left + width / 2, top + height / 2
    whole = _square(frame, frame.shape[1] / 2, frame.shape[0] / 2, float(max(frame.shape[:2])))
    scale = _SIDE_PX / max(frame.shape[:2])
    shift_x = (_SIDE_PX - frame.shape[1] * scale) / 2
    shift_y = (_SIDE_PX - frame.shape[0] * scale) / 2
    half = side / 2
    corners = [
        (round((centre_x + sign * half) * scale + shift_x), round((centre_y + sign * half) * scale + shift_y))
        for sign in (-1, 1)
    ]
    cv2.rectangle(whole, corners[0], corners[1], colour, 2)
    return np.vstack([whole, np.full((_GAP_PX, _SIDE_PX, 3), 255, np.uint8), _close_up(frame, patch, colour)])


def _square(frame: NDArray[np.uint8], centre_x: float, centre_y: float, side: float) -> NDArray[np.uint8]:
    """Return a square of a picture at the drawing's size; grey where it reaches beyond the border."""
    import cv2

    scale = _SIDE_PX / side
    matrix = np.array(
        [[scale, 0, _SIDE_PX / 2 - scale * centre_x], [0, scale, _SIDE_PX / 2 - scale * centre_y]], np.float64
    )
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    drawn = cv2.warpAffine(
        frame, matrix, (_SIDE_PX, _SIDE_PX), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(225, 225, 225)
    )
    return np.ascontiguousarray(drawn, np.uint8)
