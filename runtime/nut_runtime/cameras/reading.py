"""The thread that opens a camera, reads it, and opens it again."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.base import Device
from nut_runtime.cameras.devices import OpenDevice, Opener
from nut_runtime.cameras.faults import BrokenFrameError, FrozenError, MisfitError
from nut_runtime.cameras.fitting import Fitting
from nut_runtime.cameras.frozen import FrozenWatch
from nut_runtime.errors import NutError, SourceError
from nut_runtime.station_file.config import CameraConfig

__all__ = ["ReadingThread", "Taker"]

_log = logging.getLogger("nut_runtime")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LEAST_PAUSE_S = 0.1, 1.0, 0.02
_MOST_BROKEN = 10  # frames in a row, until the camera is opened again
_REOPEN_FROZEN_S = 10.0
_CLOSE_S = 0.8


class Taker(Protocol):
    """Is told what becomes of a camera, from its thread."""

    def opened(self, size: tuple[int, int], notes: tuple[str, ...]) -> None:
        """It gives frames (again), of this width and height, and refused this of its settings."""

    def came(
        self, picture: NDArray[np.uint8], *, at: float, source: str | None, passed_over: int, frozen_s: float
    ) -> None:
        """A frame came: the region that is judged; `frozen_s` is above 0 where the camera is frozen."""

    def broken(self, error: NutError) -> None:
        """A frame came that is half or garbage."""

    def failed(self, error: NutError) -> None:
        """It is gone, or gives nothing that is of use; it is opened again."""


class ReadingThread:
    """Opens and reads a camera until it is closed.

    Pauses between two attempts begin at 0.1 s and double up to 1 s, measured from the beginning of an attempt, so that
    one that takes long to fail is not followed by a pause besides.

    Args:
        config: The camera.
        opener: Opens it.
        taker: Is told.
        at_end: Called at the very end, when the camera was let go.
    """

    def __init__(self, config: CameraConfig, opener: Opener, taker: Taker, *, at_end: Callable[[], None]) -> None:
        self._config = config
        self._opener = opener
        self._taker = taker
        self._at_end = at_end
        self._fitting = Fitting(config)
        self._frozen = FrozenWatch()
        self._stop = threading.Event()
        self._device: Device | None = None
        self._asked_at: float | None = None
        self._is_joined = False
        self._has_given = False
        self._last_mistake = ""
        self._thread = threading.Thread(target=self._run, name=f"camera {config.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self) -> None:
        """Tell it to stop, and wait for nothing but the device's own `close`; safe to call twice."""
        if self._stop.is_set():
            return
        self._asked_at = time.monotonic()
        self._stop.set()
        # One that is opened only now is not read: the thread looks at `_stop` after it set `_device`.
        device = self._device
        if device is not None:
            device.close()

    def close(self) -> None:
        """Stop; returns within a second of the first `ask`, and at once the second time.

        A driver that hangs keeps the thread until it returns.
        """
        self.ask()
        if self._is_joined or not self._thread.is_alive():
            return
        self._is_joined = True
        asked_at = time.monotonic() if self._asked_at is None else self._asked_at
        self._thread.join(max(0.0, asked_at + _CLOSE_S - time.monotonic()))

    @property
    def is_running(self) -> bool:
        """Whether the thread has begun and not ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._open_again_and_again()
        finally:
            self._at_end()

    def _open_again_and_again(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            began = time.monotonic()
            self._has_given = False
            error = self._open_and_read()
            if self._stop.is_set():
                return
            if not isinstance(error, FrozenError):
                self._frozen.forget()
            self._taker.failed(error)
            pause = _FIRST_PAUSE_S if self._has_given else min(2 * pause, _LONGEST_PAUSE_S)
            self._stop.wait(max(_LEAST_PAUSE_S, began + pause - time.monotonic()))

    def _open_and_read(self) -> NutError:
        """Open the camera and read it until it fails or is closed; return how it failed."""
        try:
            opened = self._opener(self._config.address, self._config.settings)
            self._device = opened.device
            try:
                self._read(opened)
            finally:
                self._device = None
                opened.device.close()
        except NutError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a driver's mistake, or ours, must not end the thread for good
            if repr(error) != self._last_mistake:
                self._last_mistake = repr(error)
                _log.exception("camera %s", self._config.name)
            return SourceError(f"unexpected {error!r}; the log has its traceback")
        return SourceError("closed")

    def _read(self, opened: OpenDevice) -> None:
        device, limit_s = opened.device, self._config.limits.frozen_after_s
        warm_up = 0 if opened.is_played else self._config.settings.warm_up_frames
        opened_at, broken, passed_over = time.monotonic(), 0, 0
        while not self._stop.is_set():
            try:
                frame = device.read()
            except BrokenFrameError as error:
                self._taker.broken(error)
                broken += 1
                if broken >= _MOST_BROKEN and not opened.is_played:
                    raise
                continue
            broken = 0
            if warm_up > 0:
                warm_up -= 1
                continue
            try:
                self._fitting.check(frame, may_vary=opened.is_played)
            except MisfitError as error:
                if not opened.is_played:
                    raise
                self._taker.broken(error)  # of many pictures, one may be too small for the region
                continue
            at = _taken_at(device)
            same_s = 0.0 if opened.is_played else self._frozen.look(frame, at)
            is_frozen = limit_s is not None and same_s > 0 and same_s >= limit_s
            if is_frozen and time.monotonic() - opened_at > _REOPEN_FROZEN_S:
                raise FrozenError(f"the same picture for {same_s:.1f} s; it is opened again")
            if not self._has_given:
                self._has_given = True
                self._taker.opened((frame.shape[1], frame.shape[0]), opened.notes)
            total = getattr(device, "passed_over", 0)
            self._taker.came(
                self._fitting.region(frame),
                at=at,
                source=getattr(device, "source", None),
                passed_over=total - passed_over,
                frozen_s=same_s if is_frozen else 0.0,
            )
            passed_over = total


def _taken_at(device: Device) -> float:
    """Return when a device's last frame was taken; now, where it does not say or says nonsense."""
    moment: float | None = getattr(device, "taken_at", None)
    now = time.monotonic()
    return now if moment is None else min(moment, now)
