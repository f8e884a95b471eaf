"""Whether a frame is worth judging."""

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.quality import measure
from nut_runtime.station_file.config import ViewLimits
from nut_runtime.verdict import Reason

__all__ = ["view_fault"]


def view_fault(picture: NDArray[np.uint8], limits: ViewLimits, *, frozen_s: float = 0.0) -> tuple[Reason | None, str]:
    """Return why a frame is not worth judging, and the same in words; None and nothing where it is.

    Dark comes first: a black picture has no noise, and would pass for frozen.

    Args:
        picture: What would be judged, uint8 `[H, W, 3]`, BGR.
        limits: What is asked of it; what nobody asks for is not measured.
        frozen_s: For how long the camera has given this very picture, where that is too long.
    """
    if limits.least_brightness is not None or limits.least_sharpness is not None:
        quality = measure(picture)
        if limits.least_brightness is not None and quality.brightness < limits.least_brightness:
            return Reason.DARK, (
                f"is too dark (brightness {quality.brightness:.1f}, at least {limits.least_brightness:g} expected); "
                "check the lamp"
            )
    if frozen_s > 0:
        return Reason.FROZEN, f"has given the same picture for {frozen_s:.1f} s; switch it off and on"
    if limits.least_sharpness is not None and quality.sharpness < limits.least_sharpness:
        return Reason.BLURRED, (
            f"is blurred (sharpness {quality.sharpness:.1f}, at least {limits.least_sharpness:g} expected); "
            "check focus and lens"
        )
    return None, ""
