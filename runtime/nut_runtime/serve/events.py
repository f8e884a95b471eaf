"""The stream of server-sent events that keeps open pages up to date."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nut_runtime.health import Health
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.plain_json import plain_json

__all__ = ["EventStreams"]

_log = logging.getLogger("nut_runtime")

_FAREWELL_S = 0.2
_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]  # without a length


class EventStreams:
    """Tells every open page of each part: `part` events, `health` when it changed, `beat` when nothing did.

    A page that is slow, or a line that is fast, gets several parts in one event. Nothing waits in memory for a page:
    each event is made when the one before it was taken. With nobody looking, a part costs a comparison.

    Args:
        live: What is told.
        health: What is told beside it.
        most: Streams at a time; one more is answered 503.
        pause_s: At least so long between two events of a stream.
        beat_s: At most so long between two events of a stream; pages believe the connection lost after three.
        patience_s: How long a page may take to take an event.
    """

    def __init__(
        self,
        live: LiveState,
        health: Health,
        *,
        most: int = 16,
        pause_s: float = 0.1,
        beat_s: float = 2.0,
        patience_s: float = 20.0,
    ) -> None:
        self._live = live
        self._health = health
        self._most = most
        self._pause_s, self._beat_s, self._patience_s = pause_s, beat_s, patience_s
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_awaited = False
        self._closed = False
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        live.on_change(self._wake)

    @property
    def open_streams(self) -> int:
        """How many pages listen."""
        return self._open

    def close(self) -> None:
        """End all streams; called in the server's thread."""
        self._live.on_change(None)
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def response(self, request: Request, may_stay: Callable[[], bool]) -> Response:
        """Return the stream as a response.

        Args:
            request: What asked for it.
            may_stay: Asked at each beat: whether its visitor's session still stands.
        """
        return _Stream(self, may_stay, is_head=request.method == "HEAD")

    async def serve(self, may_stay: Callable[[], bool], receive: Receive, send: Send) -> None:
        """Answer one request until its client is gone, the session has ended, or the server closes."""
        if self._closed or self._open >= self._most:
            busy = Response("too many pages are open\n", status_code=503, headers={"retry-after": "5"})
            await send({"type": "http.response.start", "status": 503, "headers": busy.raw_headers})
            await send({"type": "http.response.body", "body": busy.body})
            return
        self._open += 1
        try:
            await self._serve(may_stay, receive, send)
        finally:
            self._open -= 1

    async def _serve(self, may_stay: Callable[[], bool], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _RAW_HEADERS})
        task = asyncio.ensure_future(self._tell(may_stay, send))
        self._tasks.add(task)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._tasks.discard(task)
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, TimeoutError | OSError):
            _log.error("page: an event stream broke off", exc_info=error)
        with suppress(TimeoutError):  # one that takes nothing is closed without
            async with asyncio.timeout(_FAREWELL_S):
                await send({"type": "http.response.body", "body": b""})

    def _wake(self) -> None:
        """Say that there is news; called from the thread that tells of parts."""
        if self._is_awaited and self._loop is not None:
            self._is_awaited = False
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _tell(self, may_stay: Callable[[], bool], send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        told, told_album, told_health = self._live.heard, self._live.album.version, b""
        beat_at = self._loop.time()  # health comes first
        while True:
            event = b""
            if self._loop.time() >= beat_at:
                if not may_stay():
                    return
                health = plain_json(self._health.to_json())
                event = _event("beat", b"{}") if health == told_health else _event("health", health)
                told_health, beat_at = health, self._loop.time() + self._beat_s
            if (self._live.heard, self._live.album.version) != (told, told_album):
                news = self._live.news(told)
                told, told_album = news["n"], news["album"]
                event += _event("part", plain_json(news))
            if event:
                async with asyncio.timeout(self._patience_s):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                await asyncio.sleep(self._pause_s)
            announcement = self._news
            self._is_awaited = True
            # Compared after `_is_awaited` was set, so that nothing is missed in between.
            if (self._live.heard, self._live.album.version) == (told, told_album):
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(beat_at):
                        await announcement.wait()


class _Stream(Response):
    """A response that lasts."""

    def __init__(self, streams: EventStreams, may_stay: Callable[[], bool], *, is_head: bool) -> None:
        super().__init__(headers=_HEADERS)
        self._streams, self._may_stay, self._is_head = streams, may_stay, is_head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events, or for HEAD nothing but the headers."""
        if self._is_head:
            await super().__call__(scope, receive, send)
        else:
            await self._streams.serve(self._may_stay, receive, send)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
