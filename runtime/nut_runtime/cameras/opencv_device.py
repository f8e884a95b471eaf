"""Cameras that OpenCV opens: USB/V4L2 by the operating system, RTSP by FFmpeg, pipelines by GStreamer."""

import math
import os
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.address import Address, Kind
from nut_runtime.cameras.faults import BrokenFrameError
from nut_runtime.cameras.jpeg import refuse_grey_end
from nut_runtime.errors import InputError, PictureError, SourceError
from nut_runtime.opencv import quiet_opencv

__all__ = ["OpenCvDevice"]

_OPEN_S = 5.0  # RTSP waits for a key frame, and a camera may send one every few seconds
_MOST_DELAY_S = 2.0  # between exposure and read; a stamp that is older is of another clock


class OpenCvDevice:
    """A camera opened by OpenCV.

    Args:
        address: What to open.
        timeout_s: How long a frame may take.

    Attributes:
        capture: OpenCV's own object, for settings.
        taken_at: When the driver says that the last frame was taken, in seconds of `time.monotonic`; None where it
            does not say.

    Raises:
        InputError: If this OpenCV cannot open cameras of this kind.
        SourceError: If the camera does not open.
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self._shown = address.shown
        self._is_usb = address.kind is Kind.USB
        self._is_closed = False
        self._in_use = threading.Lock()  # OpenCV's object must not be released while it reads
        self.taken_at: float | None = None
        cv2 = quiet_opencv()
        self._error: type[Exception] = cv2.error
        try:
            self.capture = _open(cv2, address, timeout_s)
        except cv2.error as error:
            raise SourceError(f"camera {self._shown} does not open: {error.err}") from error
        if not self.capture.isOpened():
            self.capture.release()
            raise SourceError(f"camera {self._shown} does not open; {_what_to_check(address)}")
        self._stamp = cv2.CAP_PROP_POS_MSEC

    def read(self) -> NDArray[np.uint8]:
        """Wait for the next frame and return it: uint8 `[H, W, 3]`, BGR.

        Raises:
            BrokenFrameError: If the frame is half or of a kind that is not judged.
            SourceError: If the camera is gone.
        """
        with self._in_use:
            if self._is_closed:
                self.capture.release()
                raise SourceError(f"camera {self._shown} is closed")
            try:
                done, picture = self.capture.read()
                self.taken_at = self._driver_stamp() if self._is_usb else None
            except self._error as error:
                raise SourceError(f"camera {self._shown} cannot be read: {error}") from error
            finally:
                if self._is_closed:
                    self.capture.release()
        if not done or picture is None:
            raise SourceError(f"camera {self._shown} stopped delivering")
        if picture.dtype != np.uint8:
            raise BrokenFrameError(
                f"camera {self._shown} gives {picture.dtype} pixels, expected 8 bits; set its pixel format"
            )
        if picture.ndim == 2 or picture.shape[2] == 1:  # noqa: PLR2004 - a grey camera through GStreamer
            picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
        if self._is_usb:  # which sends JPEG pictures where raw ones are too large for the cable
            try:
                refuse_grey_end(picture)
            except PictureError as error:
                raise BrokenFrameError(f"camera {self._shown}: {error}") from error
        return picture

    def close(self) -> None:
        """Let go; safe to call twice and from another thread, where `read` lets go when its frame or timeout comes."""
        self._is_closed = True
        if self._in_use.acquire(timeout=0.1):
            try:
                self.capture.release()
            finally:
                self._in_use.release()

    def _driver_stamp(self) -> float | None:
        """Return when the driver says that the frame was taken.

        Frames wait in the driver's queue; one that was taken before a trigger must not pass for one taken after.
        """
        stamp = float(self.capture.get(self._stamp)) / 1e3
        return stamp if 0 <= time.monotonic() - stamp < _MOST_DELAY_S else None


def _open(cv2: Any, address: Address, timeout_s: float) -> Any:
    if address.kind is Kind.USB:
        if sys.platform.startswith("linux"):
            # OpenCV's own 10 s; read when the first frame of the process is waited for.
            os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(timeout_s)))
            return cv2.VideoCapture(_node(address.target), cv2.CAP_V4L2)
        return cv2.VideoCapture(int(address.target) if address.target.isdecimal() else address.target)
    if address.kind is Kind.GSTREAMER:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise InputError(
                "this OpenCV was built without GStreamer (the one from the package index is); give the camera as a "
                "number, rtsp:// or http://, or install an OpenCV that was built with it"
            )
        return cv2.VideoCapture(address.target, cv2.CAP_GSTREAMER)
    return cv2.VideoCapture(
        address.target,
        cv2.CAP_FFMPEG,
        [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(max(_OPEN_S, timeout_s) * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(timeout_s * 1000),
        ],
    )


def _node(target: str) -> str:
    return f"/dev/video{target}" if target.isdecimal() else target


def _what_to_check(address: Address) -> str:
    if address.kind is Kind.USB:
        return (
            "check that it is connected, that no other program uses it and that you may read it (on Linux: group video)"
        )
    if address.kind is Kind.RTSP:
        return "check the address, user and password, and that the camera is on"
    return "try the pipeline with gst-launch-1.0"
