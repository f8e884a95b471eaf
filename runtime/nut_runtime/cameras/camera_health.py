"""Says how a camera is: what its thread knows, and what those see who look at its frames."""

import logging
import threading

from nut_runtime.health import Health

__all__ = ["CameraHealth"]

_log = logging.getLogger("nut_runtime")


class CameraHealth:
    """Reports one camera to `Health`, from several threads.

    Args:
        name: The camera's name.
        health: Who is told.
    """

    def __init__(self, name: str, health: Health) -> None:
        self._component = f"camera {name}"
        self._health = health
        self._lock = threading.Lock()
        self._device_fault: str | None = None  # None: not known yet
        self._view_fault = ""
        self._well_words = ""
        self._notes: tuple[str, ...] = ()

    def opened(self, size: tuple[int, int], notes: tuple[str, ...]) -> None:
        """It gives frames: width and height in pixels, and what it refused of its settings."""
        if notes and notes != self._notes:
            _log.warning("%s: %s", self._component, "; ".join(notes))
        self._notes = notes
        with self._lock:
            self._well_words = "; ".join((f"{size[0]}x{size[1]} px", *notes))
            self._device_fault = ""
            self._report()

    def failed(self, words: str) -> None:
        """It gives none."""
        with self._lock:
            self._device_fault = words
            self._report()

    def came(self) -> None:
        """A frame came; undoes what `failed` said of one that did not come in time."""
        if self._device_fault:
            with self._lock:
                self._device_fault = ""
                self._report()

    def looked(self, words: str) -> None:
        """Someone looked at a frame and found this, or nothing, wrong with it."""
        if words != self._view_fault:
            with self._lock:
                self._view_fault = words
                self._report()

    def closed(self) -> None:
        """It is not used any more."""
        self._health.forget(self._component)

    def _report(self) -> None:
        fault = self._device_fault or self._view_fault
        if self._device_fault is not None:
            self._health.report(self._component, is_well=not fault, message=fault or self._well_words)
