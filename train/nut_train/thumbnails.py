"""The pictures of a report: small, as JPEG, and no more of them than a page can hold."""

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.overlay import draw_heat
from nut_runtime.pictures import read_picture

if TYPE_CHECKING:
    from nut_train.evaluate import Judged
    from nut_train.explain import Comparison, Explainer

__all__ = ["Album", "compared_pair", "fit_into", "judged_pair", "outline"]

_BOX_PX = (224, 300)  # height and width that a picture is fitted into
_QUALITY = 82
_MARK_BGR = (60, 220, 60)


class Album:
    """Pictures as data URLs, as long as there is room.

    Args:
        limit_bytes: How much all of them may take in the page.
    """

    def __init__(self, limit_bytes: int = 4_000_000) -> None:
        self.left_bytes = limit_bytes

    def add(self, picture: NDArray[np.uint8]) -> str | None:
        """Return a picture, BGR `[H, W, 3]`, as a data URL; None where there is no room left.

        Raises:
            InputError: If it cannot be encoded.
        """
        import cv2

        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise InputError(f"cannot encode a picture of {picture.shape[1]}x{picture.shape[0]} px as JPEG")
        url = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
        if len(url) > self.left_bytes:
            return None
        self.left_bytes -= len(url)
        return url


def judged_pair(item: "Judged") -> NDArray[np.uint8]:
    """Return the picture, marked pixels outlined, beside its heat map, BGR."""
    frame = read_picture(item.prediction.path)
    heat = fit_into(draw_heat(frame, item.prediction.anomaly_map, item.prediction.pred_mask))
    plain = outline(fit_into(frame), item.mask)
    if plain.shape != heat.shape:  # the heat of a small frame is enlarged first, and may round to another pixel
        heat = _resize(heat, plain.shape[1], plain.shape[0])
    gap: Any = np.full((plain.shape[0], 4, 3), 255, np.uint8)
    return np.hstack([plain, gap, heat])


def compared_pair(item: "Judged", explainer: "Explainer") -> "tuple[NDArray[np.uint8], Comparison] | None":
    """Return the picture's most unusual place beside the good one it was compared with, BGR, and the comparison.

    None where the good picture is gone or is another one now.
    """
    from nut_train.explain_picture import draw_close_ups

    path = item.prediction.path
    frame = read_picture(path)
    try:
        comparison = explainer.explain(frame, picture=path)[0]
        good = explainer.good_picture(comparison)
    except InputError:
        return None
    return fit_into(draw_close_ups(frame, good, comparison)), comparison


def outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the picture with a green line about the marked pixels, of whatever size the mask is."""
    import cv2

    if mask is None or not mask.any():
        return picture
    drawn = picture.copy()
    marked = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _MARK_BGR, 1)
    return drawn


def fit_into(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a picture so that it just fits into the gallery's box."""
    height, width = picture.shape[:2]
    scale = min(_BOX_PX[0] / height, _BOX_PX[1] / width)
    return _resize(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def _resize(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    shrinks = width * height < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, (width, height), interpolation=how))
