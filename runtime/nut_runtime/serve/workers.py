"""Calls that take a while, kept off the server's own thread."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

__all__ = ["Busy", "Workers"]

_T = TypeVar("_T")


class Busy(Exception):  # noqa: N818 - a state, not a mistake
    """As many calls as allowed are under way."""


class Workers:
    """Runs calls in daemon threads, a bounded number at a time.

    An executor's threads would be waited for when the program ends; a call that hangs must not hold that up.

    Args:
        name: Names the threads.
        most: Calls at a time.
        waiting: Calls that wait for their turn besides, at most.
        rest: After a call its place stays empty for so many times as long as it took, so that the engine has the
            processor most of the time.
    """

    def __init__(self, name: str, *, most: int, waiting: int, rest: float = 0.0) -> None:
        self._name = name
        self._turns = asyncio.Semaphore(most)
        self._room = most + waiting
        self._inside = 0
        self._rest = rest

    async def run(self, call: Callable[[], _T]) -> _T:
        """Return what `call` returns, or raise what it raises.

        Raises:
            Busy: If too many wait already.
        """
        if self._inside >= self._room:
            raise Busy
        self._inside += 1
        try:
            await self._turns.acquire()
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                return await self._in_thread(call, loop)
            finally:
                loop.call_later(self._rest * (loop.time() - started), self._turns.release)
        finally:
            self._inside -= 1

    async def _in_thread(self, call: Callable[[], _T], loop: asyncio.AbstractEventLoop) -> _T:
        result: asyncio.Future[_T] = loop.create_future()

        def finish(value: _T | None, error: BaseException | None) -> None:
            if result.done():  # nobody waits any more
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type]  # None only where the call returned it

        def work() -> None:
            value, error = None, None
            try:
                value = call()
            except Exception as raised:  # noqa: BLE001 - it is raised again where it is waited for
                error = raised
            with suppress(RuntimeError):  # the server was closed meanwhile
                loop.call_soon_threadsafe(finish, value, error)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return await result
