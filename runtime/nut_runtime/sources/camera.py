"""Cameras that OpenCV opens by number."""

import time
from collections.abc import Iterator

from nut_runtime.errors import SourceError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.sources.base import Frame, now

__all__ = ["CameraSource"]


class CameraSource:
    """Reads a camera until it fails or the caller stops.

    Args:
        index: Number of the camera, as the operating system counts.

    Raises:
        SourceError: If it does not open.
    """

    count: int | None = None

    def __init__(self, index: int) -> None:
        cv2 = quiet_opencv()
        self._index = index
        self._camera = cv2.VideoCapture(index)
        if not self._camera.isOpened():
            raise SourceError(
                f"camera {index} does not open; check that it is connected, that no other program uses it and that "
                "you may read it (on Linux: group video)"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Give frames as they come.

        Raises:
            SourceError: If the camera stops delivering.
        """
        taken = 0
        while True:
            started = time.perf_counter()
            done, picture = self._camera.read()
            if not done or picture is None:
                raise SourceError(f"camera {self._index} stopped delivering after frame {taken}")
            taken += 1
            yield Frame(
                source=f"camera {self._index}",
                name=f"camera{self._index}",
                timestamp=now(),
                capture_ms=(time.perf_counter() - started) * 1e3,
                picture=picture,
            )

    def close(self) -> None:
        """Let go of the camera."""
        self._camera.release()
