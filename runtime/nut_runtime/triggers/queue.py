"""Triggers that come in one thread and are taken up in another."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from nut_runtime.parts import Trigger

__all__ = ["TriggerQueue"]


class TriggerQueue:
    """A bounded queue of triggers that is open only while somebody takes triggers from it.

    So nothing is accepted that nobody would judge: not before the station runs, and not after it stopped.

    Args:
        limit: Triggers that wait at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Trigger, Callable[[], None] | None]] = deque()
        self._is_taken_from = False
        self._is_finished = False
        self._is_stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether a station takes triggers from here."""
        return self._is_taken_from and not self._is_stopped and not self._is_finished

    @property
    def is_free(self) -> bool:
        """Whether a trigger that came now would be accepted."""
        return self.is_open and len(self._waiting) < self._limit

    def offer(
        self, trigger: Trigger, *, refused: Callable[[], None] | None = None, timeout_s: float | None = 0.0
    ) -> bool:
        """Add a trigger; return whether it was accepted.

        Args:
            trigger: The trigger.
            refused: Called where it was accepted, but the queue was stopped before it was taken up; must not block.
            timeout_s: How long to wait for room; None waits until there is some or the queue is stopped.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while self.is_open and len(self._waiting) >= self._limit:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            if not self.is_open:
                return False
            self._waiting.append((trigger, refused))
            self._changed.notify_all()
            return True

    def withdraw(self, trigger: Trigger) -> bool:
        """Take a trigger back; return whether that was in time, before it was taken up."""
        with self._changed:
            for entry in self._waiting:
                if entry[0] is trigger:
                    self._waiting.remove(entry)
                    self._changed.notify_all()
                    return True
            return False

    def finish(self) -> None:
        """Let the iteration end after what waits."""
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Let the iteration end now; what waits is refused."""
        with self._changed:
            self._is_stopped = True
            while self._waiting:
                _trigger, refused = self._waiting.popleft()
                if refused is not None:
                    refused()  # under the lock, so that whoever finds a trigger gone knows already whether it was taken
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Trigger]:
        """Open the queue and give triggers as they come, until finished or stopped; for one taker."""
        self._is_taken_from = True
        return self._triggers()

    def _triggers(self) -> Iterator[Trigger]:
        try:
            while (trigger := self._take()) is not None:
                yield trigger
        finally:
            self.stop()

    def _take(self) -> Trigger | None:
        with self._changed:
            while not self._waiting and not self._is_stopped and not self._is_finished:
                self._changed.wait()
            if not self._waiting:
                return None
            trigger, _refused = self._waiting.popleft()
            self._changed.notify_all()
            return trigger
