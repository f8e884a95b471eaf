"""Shadows on the table: beside the nut, and on the spot seen through its bore."""

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.bore import BoreView
from nut_dataset.drawing.light import Room
from nut_dataset.drawing.shape import NutShape, Pose

__all__ = ["SHRINK", "light_in_bore", "light_on_table"]

SHRINK = 4
"""Shadows are soft: they are drawn on a picture this much smaller."""
_SLICES = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Heights, as shares of the nut's, of the slices that cast the shadow."""
_FOOTPRINT = 0.05
"""Height in nut units from which on a point counts as nut."""


def light_on_table(
    height: NDArray[np.float32], shape: NutShape, pose: Pose, room: Room, *, margin_px: int
) -> NDArray[np.float32]:
    """Return how much light is left on the table around a nut.

    Args:
        height: The nut's height map, nut units, float32 `[H, W]`, sides divisible by 4; what lies below the
            table counts as table.
        shape: The nut.
        pose: For its scale.
        room: For the direction of the lamps.
        margin_px: How far the answer reaches beyond the map on each side, divisible by 4.

    Returns:
        Factor on the table's light, float32 `[H + 2 margin, W + 2 margin]`, 0 to 1.
    """
    rows, columns = height.shape
    small = cv2.resize(np.maximum(height, 0), (columns // SHRINK, rows // SHRINK), interpolation=cv2.INTER_AREA)
    edge = margin_px // SHRINK
    small = cv2.copyMakeBorder(small, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=0)
    size = small.shape[1], small.shape[0]
    scale = pose.scale_px / SHRINK
    shadow = np.zeros_like(small)
    for share in _SLICES:
        level = share * shape.height
        slab = (small > 0.9 * level).astype(np.float32)
        run = level * scale / room.key[2]
        move = np.array([[1, 0, -room.key[0] * run], [0, 1, -room.key[1] * run]], np.float32)
        np.maximum(shadow, cv2.warpAffine(slab, move, size), out=shadow)
    body = (small > _FOOTPRINT).astype(np.float32)
    cast = cv2.GaussianBlur(shadow, (0, 0), 0.07 * scale)
    contact = cv2.GaussianBlur(body, (0, 0), 0.06 * scale)
    near = cv2.GaussianBlur(body, (0, 0), 0.26 * scale)
    light = (1 - 0.48 * cast) * (1 - 0.50 * contact) * (1 - 0.42 * near)
    return np.asarray(cv2.resize(light, (size[0] * SHRINK, size[1] * SHRINK), interpolation=cv2.INTER_LINEAR))


def light_in_bore(view: BoreView, shape: NutShape, room: Room) -> NDArray[np.float32]:
    """Return how much light reaches the table within the bore, float32 `[h, w]` of its window, 0 to 1."""
    light = np.full(view.inside.shape, 0.20, np.float32)
    for lamp, strength in ((room.key, 0.45), (room.fill, 0.25)):
        run = shape.lip_height / lamp[2]
        miss = np.hypot(view.x + lamp[0] * run, view.y + lamp[1] * run)
        light += np.float32(strength) / (1 + np.exp((miss - np.float32(shape.bore_radius)) * 16))
    # The wall's foot keeps light away from the rim.
    edge = np.clip((shape.bore_radius - np.hypot(view.x, view.y)) / 0.16, 0, 1)
    return np.asarray(light * (0.45 + 0.55 * edge), np.float32)
