"""How bright and how sharp a picture is: two figures to tell a failed lamp or a dirty lens by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_runtime.opencv import quiet_opencv

__all__ = ["Quality", "brightness", "measure", "sharpness"]

_WORKING_SIDE_PX = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a picture looks like.

    Attributes:
        brightness: Mean grey level, 0 to 255.
        sharpness: Variance of the Laplacian, in squared grey levels; 0 for a flat picture.
    """

    brightness: float
    sharpness: float


def measure(frame: NDArray[np.uint8]) -> Quality:
    """Return brightness and sharpness of a frame, uint8 `[H, W, 3]` in BGR; takes under a millisecond at 640x480.

    Both are measured on a grey version whose longer side is 320 px at most, averaged down, so that the same scene has
    much the same figure at any resolution, and a sensor's noise does not pass for sharpness. What is blurred by less
    than a pixel of that size is not seen; a model that looks at 256 px does not see it either.

    The sharpness is the variance of the Laplacian: J. L. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez and
    J. Fernandez-Valdivia, "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000. It depends
    on what is seen, so a limit is found on pictures of the very scene (`nut-runtime cameras` prints the figure).
    """
    cv2 = quiet_opencv()
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    longer = max(height, width)
    if longer > _WORKING_SIDE_PX:
        size = (max(1, round(width * _WORKING_SIDE_PX / longer)), max(1, round(height * _WORKING_SIDE_PX / longer)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    # 16 bits hold the Laplacian of 8-bit pixels exactly: -1020 to 1020.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return Quality(brightness=float(cv2.mean(grey)[0]), sharpness=float(deviation[0, 0]) ** 2)


def brightness(frame: NDArray[np.uint8]) -> float:
    """Return the mean grey level, 0 to 255, of a frame, uint8 `[H, W, 3]` in BGR."""
    return measure(frame).brightness


def sharpness(frame: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a frame, uint8 `[H, W, 3]` in BGR, as `measure` has it; >= 0."""
    return measure(frame).sharpness
