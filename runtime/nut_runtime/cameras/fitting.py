"""Whether a camera's frames are of the size that the station was set up for, and the region of them that is judged."""

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.faults import MisfitError
from nut_runtime.errors import PictureError
from nut_runtime.pictures import check_frame
from nut_runtime.station_file.config import CameraConfig

__all__ = ["Fitting"]


class Fitting:
    """Checks the size of each frame, and cuts out the region.

    Args:
        config: The camera.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._name = config.name
        self._asked = (config.settings.width_px, config.settings.height_px)
        self._region = config.region_px
        self._usual: tuple[int, int] | None = None

    def check(self, frame: NDArray[np.uint8], *, may_vary: bool) -> None:
        """Refuse a frame of another size than was asked for, than the first one had, or than the region needs.

        Args:
            frame: uint8 `[H, W, 3]`.
            may_vary: Whether another size than the first one's is fine, as with pictures that are played.

        Raises:
            MisfitError: If it is.
        """
        height, width = frame.shape[:2]
        asked = tuple(want if want is not None else got for want, got in zip(self._asked, (width, height), strict=True))
        if asked != (width, height):
            raise MisfitError(
                f"wrong resolution: {asked[0]}x{asked[1]} px asked, {width}x{height} px given; ask for one that the "
                "camera has"
            )
        if self._usual is not None and self._usual != (width, height) and not may_vary:
            raise MisfitError(
                f"wrong resolution: {width}x{height} px now, {self._usual[0]}x{self._usual[1]} px before; set width_px "
                "and height_px, or start again if it is meant so"
            )
        if self._region is not None:
            left, top, wide, high = self._region
            if min(left, top) < 0 or min(wide, high) < 1 or left + wide > width or top + high > height:
                raise MisfitError(
                    f"the region {left},{top},{wide},{high} (left, top, width, height) is not within its frames of "
                    f"{width}x{height} px"
                )
        try:
            check_frame(frame)
        except PictureError as error:
            raise MisfitError(str(error)) from error
        if self._usual is None:
            self._usual = (width, height)

    def region(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of a checked frame that is judged, contiguous."""
        if self._region is None:
            return frame
        left, top, width, height = self._region
        return np.ascontiguousarray(frame[top : top + height, left : left + width])
