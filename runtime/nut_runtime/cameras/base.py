"""What the station asks of a camera."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nut_runtime.sources.base import Frame

__all__ = ["Camera", "Device"]


class Device(Protocol):
    """An open camera, as its driver gives it. Used by one thread."""

    def read(self) -> NDArray[np.uint8]:
        """Wait for the next frame and return it: uint8 `[H, W, 3]`, BGR.

        Raises:
            SourceError: If the camera is gone, or gives half frames or garbage.
        """

    def close(self) -> None:
        """Let go of it; safe to call twice, and from another thread, where it makes `read` return or raise."""


class Camera(Protocol):
    """A camera that is asked for frames, whether it is there at the moment or not."""

    name: str

    def start(self) -> None:
        """Begin to open it and to read; returns at once, and raises nothing where it is away or another's."""

    def frame(self, *, newer_than: float, timeout_s: float) -> Frame:
        """Return the first frame that was taken after a moment; one without picture, with a reason, after the timeout.

        Where that first one is not kept any more, one without picture at once: a later one shows a later part.

        Args:
            newer_than: In seconds of `time.monotonic`: when the trigger came, or `Frame.taken_at` of the last frame.
            timeout_s: How long to wait.
        """

    def skipped(self) -> int:
        """Return how many frames came since the last call of this, and were handed to nobody."""

    def ask_to_close(self) -> None:
        """Tell it to stop and to let go, and do not wait until it has; a waiting `frame` returns.

        Safe to call twice. Who has several cameras asks all of them before closing the first, so that they end beside
        each other.
        """

    def close(self) -> None:
        """Stop reading and let go; returns within a second of being asked, and at once the second time."""
