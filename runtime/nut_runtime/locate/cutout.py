"""One part cut out of its tray, on white: the same for the judge's training and for its work."""

import math

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.opencv import quiet_opencv

__all__ = ["cut_out", "cutout_matrix"]


def cut_out(
    frame: NDArray[np.uint8], instance: Instance, settings: CutoutSettings, *, area_px: float
) -> NDArray[np.uint8]:
    """Return a part in the middle of a white square, uint8 `[size_px, size_px, 3]`, BGR.

    The scale comes from the usual area and not from the part's own, so that a part that is too large looks so. The
    mask's edge is antialiased.

    Args:
        frame: What the part was found in, uint8 `[H, W, 3]`, BGR.
        instance: The part.
        settings: How to cut.
        area_px: The usual area of a part in this frame, above 0 (`usual_area_px`).

    Raises:
        InputError: If the area is not a number above 0, or the part does not lie in the frame.
    """
    cv2 = quiet_opencv()
    matrix = cutout_matrix(instance, settings, area_px=area_px)
    lower, right = instance.y + instance.height, instance.x + instance.width
    if instance.x < 0 or instance.y < 0 or lower > frame.shape[0] or right > frame.shape[1]:
        raise InputError(f"part {instance.number} does not lie in a frame of {list(frame.shape)}")
    # Only what lies around the part is looked at, so that the frame's size costs nothing.
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    margin = 2 + math.ceil(2 / scale)
    x0, y0 = max(instance.x - margin, 0), max(instance.y - margin, 0)
    picture = frame[y0 : min(lower + margin, frame.shape[0]), x0 : min(right + margin, frame.shape[1])]
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[instance.y - y0 : lower - y0, instance.x - x0 : right - x0][instance.mask] = 255
    if scale < 1:  # shrunk: without this, fine texture would turn into noise
        sigma = 0.5 * math.sqrt(1 / scale**2 - 1)
        picture = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        mask = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    matrix[:, 2] += matrix[:, :2] @ (x0, y0)
    size = (settings.size_px, settings.size_px)
    picture = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    opaque = share.astype(np.uint16)[:, :, None]
    # Rounded to the nearest: (picture * share + white * (255 - share)) / 255.
    return np.asarray((picture * opaque + 255 * (255 - opaque) + 127) // 255, np.uint8)


def cutout_matrix(instance: Instance, settings: CutoutSettings, *, area_px: float) -> NDArray[np.float64]:
    """Return the affine map from the frame's pixels to the cut-out's, float64 `[2, 3]`, as cv2.warpAffine takes it.

    Args:
        instance: The part.
        settings: How to cut.
        area_px: The usual area of a part in this frame.

    Raises:
        InputError: If the area is not a number above 0.
    """
    if not (math.isfinite(area_px) and area_px > 0):
        raise InputError(f"the usual area of a part is a number above 0, got {area_px}")
    scale = settings.size_px / (math.sqrt(area_px) * settings.fill)
    turn = math.radians(instance.angle_deg) if settings.is_upright else 0.0
    # In pictures y points down: this turns by `angle_deg` back to upright.
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    middle = (settings.size_px - 1) / 2
    shift = np.array([middle, middle]) - linear @ np.array(instance.centre)
    return np.column_stack([linear, shift])
