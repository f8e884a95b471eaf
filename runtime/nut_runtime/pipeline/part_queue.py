"""The queue between the cameras and the engine: bounded, with a stated policy for when it is full."""

import threading
from collections import deque
from dataclasses import replace

from nut_runtime.errors import SourceError
from nut_runtime.parts import Part
from nut_runtime.station_file.config import WhenBusy
from nut_runtime.verdict import Reason

__all__ = ["PartQueue", "dropped"]

_MOST_DROPPED = 100
"""Dropped parts that wait to be recorded at most."""


class PartQueue:
    """Hands parts on in their order, and never holds the frames of more than `size` of them.

    Args:
        size: Parts that wait at most.
        when_busy: What happens to one more.
    """

    def __init__(self, size: int, when_busy: WhenBusy) -> None:
        self._size, self._when_busy = size, when_busy
        self._parts: deque[Part] = deque()
        self._waiting = 0  # of those in the queue, the ones that still have their frames
        self._is_closed = self._is_clogged = False
        self._changed = threading.Condition()
        self.dropped = 0
        """How many went without a verdict so far."""

    def __len__(self) -> int:
        return self._waiting

    def put(self, part: Part) -> bool:
        """Add a part; with `wait`, once there is room.

        A part that is dropped keeps its place and number, so that its record stands where it belongs.

        Returns:
            Whether it was taken; not where the queue was closed.
        """
        with self._changed:
            if self._when_busy is WhenBusy.WAIT:
                self._changed.wait_for(lambda: self._is_closed or self._waiting < self._size)
            else:
                self._changed.wait_for(lambda: self._is_closed or not self._is_clogged)
            if self._is_closed:
                return False
            if self._waiting >= self._size:
                self._drop_oldest()
            self._parts.append(part)
            self._waiting += 1
            self._changed.notify_all()
        return True

    def get(self) -> Part | None:
        """Wait for the next part and return it; None once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._parts))
            if not self._parts:
                return None
            part = self._parts.popleft()
            self._waiting -= not _is_dropped(part)
            if len(self._parts) == self._waiting:
                self._is_clogged = False
            self._changed.notify_all()
            return part

    def close(self, *, drops: bool = False) -> None:
        """Take no more parts; what waits is still handed out.

        Args:
            drops: Without its frames, since there is no time left to judge it.
        """
        with self._changed:
            self._is_closed = True
            while drops and self._waiting > 0:
                self._drop_oldest()
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        place = next(place for place, part in enumerate(self._parts) if not _is_dropped(part))
        self._parts[place] = dropped(self._parts[place])
        self._waiting -= 1
        self.dropped += 1
        # Where parts come faster than they can even be recorded, the source has to wait after all: else what is dropped
        # would only grow, and by the time that a part is reached it would be dropped too.
        self._is_clogged = self._is_clogged or len(self._parts) - self._waiting >= _MOST_DROPPED


def dropped(part: Part) -> Part:
    """Return the part without its frames, to be recorded so."""
    error = SourceError("dropped: parts come faster than they are judged")
    frames = tuple(replace(frame, picture=None, reason=Reason.DROPPED, error=error) for frame in part.frames)
    return replace(part, frames=frames)


def _is_dropped(part: Part) -> bool:
    return part.frames[0].reason is Reason.DROPPED
