"""What was said of cut-outs, put back to where they were in the frame."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nut_runtime.locate.cutout import cutout_matrix
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.opencv import quiet_opencv
from nut_runtime.regions import Box
from nut_runtime.verdict import Verdict

__all__ = ["boxes_in_frame", "maps_in_frame"]

_LONGEST_SIDE_PX = 640
"""Of the map of a whole tray; a larger frame's parts still have more pixels in it than the model saw of them."""


def boxes_in_frame(
    boxes: Iterable[Box], instance: Instance, settings: CutoutSettings, *, area_px: float, frame_px: tuple[int, int]
) -> tuple[Box, ...]:
    """Return boxes of a cut-out as the upright boxes around them in the frame, in the same order.

    Args:
        boxes: In pixels of the cut-out.
        instance: The part that was cut out.
        settings: How.
        area_px: The usual area of a part in the frame, as it was cut out with.
        frame_px: Height and width of the frame, which no box leaves.
    """
    cv2 = quiet_opencv()
    back = cv2.invertAffineTransform(cutout_matrix(instance, settings, area_px=area_px))
    height, width = frame_px
    found = []
    for box in boxes:
        # Edges of pixels lie half a pixel from their middles.
        x0, y0, x1, y1 = (edge - 0.5 for edge in (box.x, box.y, box.x + box.width, box.y + box.height))
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ back[:, :2].T + back[:, 2] + 0.5
        (left, upper), (right, lower) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        x, y = min(max(int(left), 0), width - 1), min(max(int(upper), 0), height - 1)
        found.append(
            Box(
                x=x,
                y=y,
                width=max(1, min(int(right), width) - x),
                height=max(1, min(int(lower), height) - y),
                peak=box.peak,
            )
        )
    return tuple(found)


def maps_in_frame(
    judged: Sequence[tuple[Instance, Verdict]],
    settings: CutoutSettings,
    *,
    area_px: float,
    frame_px: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return one anomaly map of a frame, and one mask of the defective pixels of its defective parts.

    Args:
        judged: Parts with what was said of them.
        settings: How they were cut out.
        area_px: The usual area of a part, as they were cut out with.
        frame_px: Height and width of the frame.

    Returns:
        float32 and bool `[h, w]`, of the frame's size or smaller; 0 outside of the parts.
    """
    cv2 = quiet_opencv()
    factor = min(1.0, _LONGEST_SIDE_PX / max(frame_px))
    size = (max(1, round(frame_px[0] * factor)), max(1, round(frame_px[1] * factor)))
    down, across = size[0] / frame_px[0], size[1] / frame_px[1]
    whole, defective = np.zeros(size, np.float32), np.zeros(size, np.bool_)
    for instance, verdict in judged:
        x, y = int(instance.x * across), int(instance.y * down)
        right = min(max(round((instance.x + instance.width) * across), x + 1), size[1])
        lower = min(max(round((instance.y + instance.height) * down), y + 1), size[0])
        map_height, map_width = verdict.anomaly_map.shape
        # From pixels of this box to the frame's, to the cut-out's, to the part's map's.
        matrix = (
            _scaled(map_width / settings.size_px, map_height / settings.size_px)
            @ np.vstack([cutout_matrix(instance, settings, area_px=area_px), [0, 0, 1]])
            @ _scaled(1 / across, 1 / down)
            @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
        )
        box = (right - x, lower - y)
        found = cv2.warpAffine(
            verdict.anomaly_map, matrix[:2], box, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0
        )
        inside = cv2.resize(instance.mask.astype(np.uint8), box, interpolation=cv2.INTER_NEAREST) > 0
        place = np.s_[y:lower, x:right]
        np.copyto(whole[place], found, where=inside)
        if verdict.is_defective:
            said = cv2.warpAffine(
                verdict.pred_mask.astype(np.uint8),
                matrix[:2],
                box,
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                borderValue=0,
            )
            defective[place] |= inside & (said > 0)
    return whole, defective


def _scaled(across: float, down: float) -> NDArray[np.float64]:
    """Return what takes pixels of a picture to those of one that is so many times as large; their middles are at 0."""
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1.0]])
