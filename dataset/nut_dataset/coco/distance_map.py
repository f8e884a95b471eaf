"""What a locator learns to draw: how deep inside its part a pixel lies.

After the distance maps of "Deep Watershed Transform for Instance Segmentation" (Bai and Urtasun, CVPR 2017), but
as one value a pixel, normalised by part, so that parts of any size reach 1 and touching ones have a valley between.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["distance_map", "instance_boxes"]


def distance_map(instances: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return, for each pixel, its distance to the outline of its part, as a share of the part's largest.

    The distance is the Euclidean one to the nearest pixel that is not the part's own, be it background, another part
    or beyond the picture's edge. A part that others cut into pieces is measured as a whole.

    Args:
        instances: 0 background, other values one a part, uint16 `[H, W]`.

    Returns:
        0 on background, above 0 on parts, 1 at each part's innermost pixels; float32 `[H, W]`.

    Example:
        >>> row = np.uint16([[0, 1, 1, 1, 2]] * 3)
        >>> distance_map(row)[1].tolist()
        [0.0, 0.5, 1.0, 0.5, 1.0]
    """
    depth = np.zeros(instances.shape, np.float32)
    for label, (rows, columns) in instance_boxes(instances).items():
        own = instances[rows, columns] == label
        # Beyond the box nothing is the part's own, and one pixel of that says so.
        padded = cv2.copyMakeBorder(own.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inside = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        # OpenCV's last bit changes from run to run; squares of distances between pixels are whole numbers.
        inside = np.sqrt(np.rint(np.square(inside.astype(np.float64))))
        depth[rows, columns][own] = inside[own] / inside.max()
    return depth


def instance_boxes(instances: NDArray[np.uint16]) -> dict[int, tuple[slice, slice]]:
    """Return the rows and columns that each part takes up, by its label, rising; background (0) is none.

    Args:
        instances: Labels, uint16 `[H, W]`.
    """
    rows, columns = np.nonzero(instances)
    if rows.size == 0:
        return {}
    labels = instances[rows, columns]
    order = np.argsort(labels, kind="stable")
    labels, rows, columns = labels[order], rows[order], columns[order]
    begins = np.flatnonzero(np.diff(labels, prepend=0))
    first_row, last_row = np.minimum.reduceat(rows, begins), np.maximum.reduceat(rows, begins)
    first_column, last_column = np.minimum.reduceat(columns, begins), np.maximum.reduceat(columns, begins)
    return {
        int(label): (slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1))
        for label, top, bottom, left, right in zip(
            labels[begins], first_row, last_row, first_column, last_column, strict=True
        )
    }
