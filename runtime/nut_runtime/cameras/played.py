"""Pictures and videos that pass for a camera, so that a station can be tried without one."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.faults import BrokenFrameError
from nut_runtime.errors import InputError, SourceError
from nut_runtime.sources.base import Frame, Source
from nut_runtime.sources.video import open_files

__all__ = ["DEFAULT_FPS", "PlayedDevice"]

DEFAULT_FPS = 10.0


class PlayedDevice:
    """A picture, a video, or a folder of pictures, played again and again.

    Args:
        path: The file or folder.
        fps: Frames a second.

    Attributes:
        source: Which file the last frame is from.

    Raises:
        SourceError: If there is nothing to play.
    """

    def __init__(self, path: Path, *, fps: float = DEFAULT_FPS) -> None:
        self._path = path
        self._period_s = 1 / fps
        self._due = time.monotonic()
        self._closed = threading.Event()
        self._in_use = threading.Lock()
        self._files: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self.source: str | None = None
        with self._in_use:
            self._rewind()

    def read(self) -> NDArray[np.uint8]:
        """Wait until the next frame is due and return it: uint8 `[H, W, 3]`, BGR.

        Raises:
            BrokenFrameError: If this file cannot be read; the next follows.
            SourceError: If the files are gone.
        """
        self._closed.wait(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due + self._period_s, time.monotonic())
        with self._in_use:
            frame = self._next()
        self.source = frame.source
        if frame.picture is None:
            raise BrokenFrameError(str(frame.error))
        return frame.picture

    def close(self) -> None:
        """Let go; safe to call twice and from another thread, whose `read` it ends."""
        self._closed.set()
        with self._in_use:  # nobody waits in it
            if self._files is not None:
                self._files.close()
            self._files = None

    def _next(self) -> Frame:
        if self._closed.is_set():
            raise SourceError(f"{self._path} is closed")
        frame = next(self._frames, None)
        if frame is None:
            self._rewind()
            frame = next(self._frames, None)
        if frame is None:
            raise SourceError(f"{self._path} holds no frames")
        return frame

    def _rewind(self) -> None:
        if self._files is not None:
            self._files.close()
        try:
            self._files = open_files([self._path])
        except InputError as error:
            raise SourceError(str(error)) from error
        self._frames = iter(self._files)
