"""A trigger every so many milliseconds."""

import threading
import time
from collections.abc import Iterator

from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.parts import Trigger

__all__ = ["EveryTriggers"]


class EveryTriggers:
    """Gives a trigger at each beat of a metronome that does not drift: beat N is due N periods after the first.

    A station that is late by half a period or more misses that beat and waits for the next, so triggers never bunch:
    two are at least half a period apart. Missed beats are counted as `triggers_skipped`.

    Args:
        every_ms: The period.
        health: Where missed beats are counted.

    Raises:
        InputError: If the period is shorter than a millisecond.
    """

    def __init__(self, every_ms: float, health: Health | None = None) -> None:
        if not 1 <= every_ms < float("inf"):
            raise InputError(f"expected a trigger every 1 ms or more, got every {every_ms:g} ms")
        self._period_s = every_ms / 1e3
        self._health = health
        self._stopped = threading.Event()
        self.skipped = 0
        """Beats that were missed."""

    def __iter__(self) -> Iterator[Trigger]:
        """Give a trigger at each beat, the first at once."""
        started = time.monotonic()
        beat = 0
        while True:
            late_s = time.monotonic() - started - beat * self._period_s
            if beat and late_s >= self._period_s / 2:
                missed = max(1, int(late_s / self._period_s + 0.5))  # up to the last beat that is past by half a period
                beat += missed
                self._skip(missed)
                continue
            if self._stopped.wait(max(0.0, -late_s)):
                return
            yield Trigger()
            beat += 1

    def _skip(self, missed: int) -> None:
        self.skipped += missed
        if self._health is not None:
            self._health.count("triggers_skipped", missed)

    def stop(self) -> None:
        """End the iteration at once."""
        self._stopped.set()
