"""Threads that judge; one that never comes back is left behind, so that a station can still be stopped."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from nut_runtime.parts import View
from nut_runtime.sources.base import Frame

__all__ = ["JudgePool"]


class JudgePool:
    """A few daemon threads that judge frames in the order they are handed in.

    `ThreadPoolExecutor` waits for its threads at the end of the process, for ever where an engine hangs.

    Args:
        look: Judges one frame.
        threads: How many at a time.
    """

    def __init__(self, look: Callable[[Frame], View], threads: int) -> None:
        self._look = look
        self._frames: queue.SimpleQueue[tuple[Frame, Future[View]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"judge {number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, frame: Frame) -> "Future[View]":
        """Judge a frame; the result is there when it is done."""
        future: Future[View] = Future()
        self._frames.put((frame, future))
        return future

    def close(self, within_s: float) -> None:
        """Let the threads end after what they were handed, and wait so long at most."""
        for _ in self._threads:
            self._frames.put(None)
        until = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (item := self._frames.get()) is not None:
            frame, future = item
            try:
                future.set_result(self._look(frame))
            except BaseException as error:  # noqa: BLE001 - raised by `Future.result`, where somebody sees it
                future.set_exception(error)
