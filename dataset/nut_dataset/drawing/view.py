"""The oblique look at a height map: which point of it each pixel of the picture sees."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["look", "visible_rows"]


def visible_rows(height_px: NDArray[np.float32], tilt_rad: float) -> NDArray[np.float32]:
    """Return, for each pixel of the picture, the row of the height map that it sees.

    The line of sight leans towards the picture's lower edge, so a point at height z appears z sin(tilt) rows
    further up, and columns do not mix. Going from the near edge to the far one, a point is seen only where
    it appears above all points before it: a running minimum finds those, and it is inverted by counting.

    Args:
        height_px: Heights in pixels, float32 `[H, W]`; what lies below the table (0) is seen as table.
        tilt_rad: Angle between the line of sight and the vertical, 0 to pi/4.

    Returns:
        Row numbers with fractions, float32 `[H, W]`.
    """
    rows, columns = height_px.shape
    row = np.arange(rows, dtype=np.float32)[:, None]
    seen = row - np.maximum(height_px, 0) * np.float32(math.sin(tilt_rad))
    edge = np.minimum.accumulate(seen[::-1], axis=0)[::-1]  # never falls from row to row
    edge = np.maximum(edge, 0)  # above the picture; also contiguous again
    first = np.ceil(edge).astype(np.intp)
    first *= columns
    first += np.arange(columns)
    counts = np.bincount(first.ravel(), minlength=rows * columns).reshape(rows, columns)
    # Rows 0 .. far are at or above the pixel; the surface is met between row far and the next.
    far = np.cumsum(counts, axis=0, out=first)
    np.clip(far, 1, rows - 1, out=far)
    far -= 1
    whole = far.astype(np.float32)
    far *= columns
    far += np.arange(columns)
    before = np.take(edge, far)
    far += columns
    after = np.take(edge, far)
    after -= before
    np.maximum(after, np.float32(1e-3), out=after)  # rows that hide each other
    np.subtract(row, before, out=before)
    before /= after
    whole += np.clip(before, 0, 1, out=before)
    return whole


def look(map_rows: NDArray[np.float32], layer: NDArray[np.float32], *, border: float = 0.0) -> NDArray[np.float32]:
    """Return `layer`, given on the height map, as the picture shows it.

    Args:
        map_rows: What `visible_rows` gave, `[H, W]`.
        layer: Values on the height map, float32 `[H, W]` or `[H, W, C]`, C up to 4.
        border: Value beyond the map.

    Returns:
        The layer in the picture, float32, shape of `layer`.
    """
    columns = np.broadcast_to(np.arange(map_rows.shape[1], dtype=np.float32), map_rows.shape)
    return np.asarray(
        cv2.remap(
            layer,
            np.ascontiguousarray(columns),
            map_rows,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(border, border, border, border),
        )
    )
