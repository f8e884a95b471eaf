"""One picture of all the views of a part."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nut_runtime.locate.tray_overlay import draw_tray, tray_words
from nut_runtime.overlay import draw_strip, draw_verdict
from nut_runtime.parts import View

__all__ = ["draw_view", "draw_views"]

_LARGEST_SIDE_PX = 4096  # of the whole picture, where it has several views
_SIDE_BY_SIDE = 3
_GAP_PX = 8
_BACKGROUND = 32  # grey level


def draw_views(views: Sequence[View]) -> NDArray[np.uint8]:
    """Draw the views of a part, side by side up to three, in a grid beyond that.

    Args:
        views: At least one.

    Returns:
        uint8 `[H, W, 3]`, BGR. One view has its own size; several are scaled down to fit 4096 px together.
    """
    if len(views) == 1:
        return draw_view(views[0])
    import cv2

    columns = len(views) if len(views) <= _SIDE_BY_SIDE else math.ceil(math.sqrt(len(views)))
    rows = math.ceil(len(views) / columns)
    limit = _LARGEST_SIDE_PX // max(columns, rows) - _GAP_PX
    cells = []
    for view in views:
        cell = draw_view(view)
        factor = limit / max(cell.shape[:2])
        if factor < 1:
            size = (max(1, round(cell.shape[1] * factor)), max(1, round(cell.shape[0] * factor)))
            cell = cv2.resize(cell, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        cells.append(cell)
    height, width = (max(cell.shape[axis] for cell in cells) + _GAP_PX for axis in (0, 1))
    grid = np.full((rows * height - _GAP_PX, columns * width - _GAP_PX, 3), _BACKGROUND, np.uint8)
    for index, cell in enumerate(cells):
        top, left = index // columns * height, index % columns * width
        grid[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return grid


def draw_view(view: View) -> NDArray[np.uint8]:
    """Draw one view with its verdict and name; without a verdict its bare frame, or grey where there is none.

    Returns:
        uint8 `[H, W, 3]`, BGR.
    """
    name = view.frame.camera or view.frame.name
    if view.tray is not None and view.frame.picture is not None and view.tray.nuts:
        return draw_strip(draw_tray(view.frame.picture, view.tray), tray_words(view.tray), name=name, label=view.label)
    if view.verdict is not None and view.frame.picture is not None:
        return draw_verdict(
            view.frame.picture,
            view.verdict.anomaly_map,
            view.verdict.pred_mask,
            is_defective=view.verdict.is_defective,
            pred_score=view.verdict.pred_score,
            name=name,
            label=view.label,
        )
    picture = view.frame.picture
    if picture is None:
        picture = np.full((256, 256, 3), _BACKGROUND, np.uint8)
    return draw_strip(picture, f"{view.label} {view.reason or ''}".strip(), name=name, label=view.label)
