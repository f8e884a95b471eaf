"""A network camera that can be switched off, frozen and garbled: HTTP-MJPEG on loopback."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["MjpegServer"]

_BOUNDARY = "frame"


class MjpegServer:
    """Streams pictures in turn, from `start` to `stop`, at one address.

    Args:
        pictures: uint8 BGR pictures.
        fps: Frames a second.
        port: Its port; 0 takes a free one.
    """

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], *, fps: float = 30.0, port: int = 0) -> None:
        import cv2

        self._jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
        self._period_s = 1 / fps
        self.port = port
        self.is_frozen = False
        """Sends the same picture again and again while set."""
        self.garbage = b""
        """Sent in place of each JPEG while not empty."""
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where a camera feed finds it."""
        return f"http://127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        """Listen and stream."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._connections.add(self.connection)
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                    self.end_headers()
                    camera._stream(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Cut every connection and listen no more, as a camera without power."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        shown = self._jpegs[0]
        for jpeg in itertools.cycle(self._jpegs):
            if self._server is None:
                return
            shown = shown if self.is_frozen else jpeg
            body = self.garbage or shown
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            handler.wfile.write(head.encode() + body + b"\r\n")
            time.sleep(self._period_s)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()
