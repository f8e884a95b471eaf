"""Views as small JPEGs, for people to look at; never for judging."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.locate.tray_overlay import draw_tray
from nut_runtime.opencv import quiet_opencv
from nut_runtime.overlay import draw_heat
from nut_runtime.parts import View
from nut_runtime.verdict import Label

__all__ = ["Kind", "shown_jpeg"]

_LONGEST_SIDE_PX = 960  # a panel PC's picture area; larger ones only take time
_THUMBNAIL_SIDE_PX = 240
_QUALITY = 84


class Kind(StrEnum):
    """How a view is shown."""

    PLAIN = "plain"
    OVERLAY = "overlay"
    """With its heat map, and the outline of what is defective; plain where nothing was judged."""
    THUMBNAIL = "thumbnail"
    """The overlay, small."""


def shown_jpeg(view: View, kind: Kind) -> bytes | None:
    """Return a view as JPEG, its longest side at most 960 px (a thumbnail's 240 px); None where it has no picture.

    Raises:
        InputError: If OpenCV cannot draw or encode it.
    """
    if view.frame.picture is None:
        return None
    cv2 = quiet_opencv()
    longest = _THUMBNAIL_SIDE_PX if kind is Kind.THUMBNAIL else _LONGEST_SIDE_PX
    try:
        picture = _shrunk(view.frame.picture, longest)
        if kind is not Kind.PLAIN and view.tray is not None:
            size = view.frame.picture.shape
            picture = draw_tray(picture, view.tray, frame_px=(size[0], size[1]))
        elif kind is not Kind.PLAIN and view.verdict is not None:
            # Drawn on the small picture: a tenth of the time, and the outline keeps its width.
            mask = view.verdict.pred_mask if view.label is Label.DEFECT else None
            picture = draw_heat(picture, view.verdict.anomaly_map, mask)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    except cv2.error as error:
        raise InputError(f"cannot show a picture of {view.frame.source}: {error.err}") from error
    if not done:
        raise InputError(f"cannot encode a picture of {view.frame.source} as JPEG")
    return bytes(data)


def _shrunk(picture: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    """Return the picture, or a smaller one whose longest side is `longest_px`."""
    cv2 = quiet_opencv()
    height, width = picture.shape[:2]
    factor = longest_px / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
