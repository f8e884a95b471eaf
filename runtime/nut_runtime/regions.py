"""Boxes around the defective regions of a map, in pixels of the frame."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "defect_boxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A defective region.

    Attributes:
        x: Left edge in pixels of the frame.
        y: Top edge.
        width: Width, at least 1.
        height: Height, at least 1.
        peak: Largest value of the normalised anomaly map inside, 0.5..1.
    """

    x: int
    y: int
    width: int
    height: int
    peak: float

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self) | {"peak": round(self.peak, 4)}


def defect_boxes(
    anomaly_map: NDArray[np.float32], pred_mask: NDArray[np.bool_], frame_size: tuple[int, int]
) -> tuple[Box, ...]:
    """Return a box for each connected defective region, the highest peak first.

    Args:
        anomaly_map: Normalised, float32 `[h, w]`.
        pred_mask: Defective pixels, bool `[h, w]`; regions are 8-connected.
        frame_size: Height and width of the frame that the boxes are to lie in.
    """
    import cv2

    if not pred_mask.any():
        return ()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pred_mask.astype(np.uint8), connectivity=8)
    down, across = (full / part for full, part in zip(frame_size, pred_mask.shape, strict=True))
    boxes = []
    for region in range(1, count):
        left, top, width, height = (int(value) for value in stats[region, :4])
        window = np.s_[top : top + height, left : left + width]
        peak = float(anomaly_map[window][labels[window] == region].max())
        x, y = int(left * across), int(top * down)
        boxes.append(
            Box(
                x=x,
                y=y,
                width=max(1, round((left + width) * across) - x),
                height=max(1, round((top + height) * down) - y),
                peak=peak,
            )
        )
    return tuple(sorted(boxes, key=lambda box: -box.peak))
