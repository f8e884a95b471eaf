"""A trigger for each line on standard input."""

import os
import threading
from collections.abc import Iterator

from nut_runtime.parts import Trigger
from nut_runtime.triggers.names import clean_name
from nut_runtime.triggers.queue import TriggerQueue

__all__ = ["LineTriggers"]

_CHUNK = 4096
_LINE_BYTES = 4096
"""More than any name; what a line has beyond it is thrown away as it comes, so that no line fills the memory."""


class LineTriggers:
    """Gives a trigger for each line, named by its text; the end of the input ends the station.

    One line is read ahead of the station at most, and what writes the lines then waits.

    Args:
        descriptor: Where lines are read from; 0 is standard input. It is not closed here.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._queue = TriggerQueue(limit=1)

    def __iter__(self) -> Iterator[Trigger]:
        """Give a trigger for each line."""
        triggers = iter(self._queue)
        # A thread that is stuck in a read can be left behind where it reads the descriptor itself: one that holds the
        # lock of `sys.stdin` would crash the interpreter on its way out.
        threading.Thread(target=self._read, name="stdin", daemon=True).start()
        return triggers

    def _read(self) -> None:
        line = bytearray()
        while chunk := self._chunk():
            *whole, rest = chunk.split(b"\n")
            for end in whole:
                if not self._give(line + end):
                    return
                line.clear()
            line += rest[: max(0, _LINE_BYTES - len(line))]
        if line:
            self._give(line)
        self._queue.finish()

    def _chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # closed, or a terminal that has gone: nobody will trigger any more
            return b""

    def _give(self, line: bytes | bytearray) -> bool:
        return self._queue.offer(Trigger(name=clean_name(line.decode(errors="replace"))), timeout_s=None)

    def stop(self) -> None:
        """End the iteration at once, though a read may block for ever."""
        self._queue.stop()
