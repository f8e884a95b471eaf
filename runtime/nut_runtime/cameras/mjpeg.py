"""Cameras that send MJPEG over HTTP.

Not OpenCV's reader: it gives the lower half of a torn picture as grey, cannot be closed from another thread, and goes
through the proxy that a plant's computer has for the internet. This one knows how long it waits, takes whole pictures
alone, and is woken by `close`.
"""

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections import deque
from urllib.parse import urljoin, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.faults import BrokenFrameError
from nut_runtime.cameras.http_login import authorization, split_login
from nut_runtime.cameras.jpeg import decode_jpeg
from nut_runtime.cameras.multipart import MultipartParser, boundary_of
from nut_runtime.errors import PictureError, SourceError

__all__ = ["MjpegDevice"]

_MOST_HOPS = 5  # redirects, and once to be asked for the password
_RECEIVE_BYTES = 1 << 17
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class MjpegDevice:
    """An MJPEG stream; connects with the first `read`, so that it can be closed from the start.

    Args:
        url: `http://` or `https://`, with `USER:PASSWORD@` where the camera asks for one (Basic or Digest).
        timeout_s: How long connecting may take, and each frame.

    Attributes:
        taken_at: When the last frame began to arrive, in seconds of `time.monotonic`.
        passed_over: Frames that came faster than they could be decoded; the newest is always given.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url, self._login = split_login(url)
        self._timeout_s = timeout_s
        self._is_closed = False
        self._in_use = threading.Lock()  # held by `read`
        self._socket: socket.socket | None = None
        self._open_things = contextlib.ExitStack()
        self._response: http.client.HTTPResponse | None = None
        self._parser: MultipartParser | None = None
        self._bodies: deque[tuple[float, bytes]] = deque()
        self._began: float | None = None  # when the part that is coming did so
        self._has_stream = False
        self.taken_at: float | None = None
        self.passed_over = 0

    def read(self) -> NDArray[np.uint8]:
        """Wait for the next frame and return it: uint8 `[H, W, 3]`, BGR.

        Raises:
            BrokenFrameError: If this frame is half or garbage; the next may be whole.
            SourceError: If the camera is not there, does not answer in time, or sends no MJPEG.
        """
        with self._in_use:
            try:
                body = self._next_body()
            except (OSError, http.client.HTTPException) as error:
                self._let_go()
                raise SourceError(f"{self._url}: {_words(error)}") from error
            except SourceError as error:
                self._let_go()
                raise SourceError(f"{self._url}: {error}") from error
            finally:
                if self._is_closed:
                    self._let_go()
        try:
            return decode_jpeg(body)
        except PictureError as error:
            raise BrokenFrameError(f"{self._url}: {error}") from error

    def close(self) -> None:
        """Let go of it; safe to call twice and from another thread, whose `read` it ends."""
        self._is_closed = True
        held = self._socket
        if held is not None:
            with contextlib.suppress(OSError):  # already gone
                held.shutdown(socket.SHUT_RDWR)
        if self._in_use.acquire(timeout=0.1):  # else `read` lets go as it ends
            try:
                self._let_go()
            finally:
                self._in_use.release()

    def _let_go(self) -> None:
        self._open_things.close()
        self._socket = self._response = self._parser = None
        self._bodies.clear()

    def _next_body(self) -> bytes:
        """Return the newest part that is complete."""
        deadline = time.monotonic() + self._timeout_s
        if self._response is None:
            self._connect(deadline)
            deadline = time.monotonic() + self._timeout_s
        while (not self._bodies or self._has_more()) and self._receive():
            while len(self._bodies) > 1:
                self._bodies.popleft()
                self.passed_over += 1
            if time.monotonic() > deadline:
                break  # a camera that sends a byte now and then passes the socket's timeout
        if not self._bodies:
            raise SourceError(
                f"no whole frame within {self._timeout_s:g} s" if self._has_stream else "the camera ended the stream"
            )
        self.taken_at, body = self._bodies.pop()
        return body

    def _receive(self) -> bool:
        """Take what comes next; return False at the end of the stream."""
        if self._response is None or self._parser is None or self._is_closed:
            raise SourceError("closed")
        data = self._response.read1(_RECEIVE_BYTES)
        self._has_stream = bool(data)
        now = time.monotonic()
        for body in self._parser.feed(data):
            self._bodies.append((now if self._began is None else self._began, body))
            self._began = None
        if not self._parser.is_in_part:
            self._began = None
        elif self._began is None:
            self._began = now
        return self._has_stream

    def _has_more(self) -> bool:
        """Return whether bytes lie ready: then a newer frame may, and an old one is not worth decoding."""
        held = self._socket
        if held is None or self._is_closed:
            return False
        if isinstance(held, ssl.SSLSocket) and held.pending():
            return True
        if hasattr(select, "poll"):  # knows no limit of the number, which `select` has
            poll = select.poll()
            poll.register(held, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([held], [], [], 0)[0])

    def _connect(self, deadline: float) -> None:
        url, header = self._url, None
        for _ in range(_MOST_HOPS):
            response = self._get(url, header)
            if response.status == http.client.OK:
                boundary = boundary_of(response.headers.get("Content-Type", ""))
                self._response, self._parser, self._began = response, MultipartParser(boundary), None
                return
            target = response.headers.get("Location", "")
            asked = response.headers.get_all("WWW-Authenticate", [])
            if response.status in _REDIRECTS and target:
                moved = urljoin(url, target)
                if urlsplit(moved).hostname != urlsplit(url).hostname:
                    self._login = None  # the password is for the camera that it was given for
                url, header = moved, None
            elif response.status == http.client.UNAUTHORIZED and self._login is not None and header is None:
                header = authorization(asked, self._login, url)
            else:
                raise SourceError(f"the camera answers {response.status} {response.reason}")
            self._open_things.close()
            if time.monotonic() > deadline:
                raise SourceError(f"no stream within {self._timeout_s:g} s")
        raise SourceError(f"redirected more than {_MOST_HOPS} times")

    def _get(self, url: str, header: str | None) -> http.client.HTTPResponse:
        """Connect directly, never through a proxy, and ask for the stream."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.scheme not in {"http", "https"}:
            raise SourceError(f"redirected to {url[:100]}, expected http://")
        is_secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=self._timeout_s)
        self._open_things.callback(connection.close)
        connection.connect()
        self._socket = connection.sock
        if self._is_closed:
            raise SourceError("closed")
        headers = {"Accept": "multipart/x-mixed-replace, image/jpeg", "Connection": "close"}
        if header is not None:
            headers["Authorization"] = header
        connection.request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")), headers=headers)
        response = connection.getresponse()
        self._open_things.callback(response.close)
        return response


def _words(error: Exception) -> str:
    """Say in a few words what is wrong with a connection."""
    if isinstance(error, TimeoutError):
        return "the camera does not answer"
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return f"no HTTP answer ({type(error).__name__})"
