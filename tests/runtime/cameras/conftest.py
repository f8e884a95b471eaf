"""A camera on loopback: a real HTTP server that sends MJPEG, well or badly, and is switched off and on."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 160, 120
BLOCK = 16
BITS = 8


def numbered_picture(number: int, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Return a noisy picture that has a number in it: eight black or white blocks in its upper left corner."""
    width, height = size
    picture = np.random.default_rng(number).integers(60, 180, (height, width, 3), np.uint8)
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture: np.ndarray) -> int:
    """Return the number in a picture."""
    return sum(int(picture[4:12, bit * BLOCK + 4 : bit * BLOCK + 12].mean() > 128) << bit for bit in range(BITS))


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture as JPEG."""
    return cv2.imencode(".jpg", picture)[1].tobytes()


def part(body: bytes, *, length: int | None = None) -> bytes:
    """Return a part of an MJPEG stream."""
    size = len(body) if length is None else length
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (size, body)


class MjpegCamera:
    """An MJPEG server.

    Attributes:
        port: Where it listens; stays the same when it is switched off and on.
        send: Makes the bytes of the next part from its number; may be changed while it runs.
        period_s: Between two frames.
        connections: How often it was connected to.
        hangs: Whether it accepts connections and says nothing.
    """

    def __init__(self) -> None:
        self.port = 0
        self.send: Callable[[int], bytes] = lambda number: part(jpeg(numbered_picture(number % 256)))
        self.period_s = 0.02
        self.connections = 0
        self.sent = 0
        self.hangs = False
        self._server: ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()
        self._off = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    def switch_on(self) -> None:
        camera, self._off = self, threading.Event()
        off = self._off

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                camera.connections += 1
                camera._open.add(self.connection)
                with suppress(OSError):
                    if camera.hangs:
                        off.wait()
                        return
                    self.send_response(200)
                    self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                    self.end_headers()
                    while not off.wait(camera.period_s):
                        camera.sent += 1
                        self.wfile.write(camera.send(camera.sent))

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="test camera", daemon=True
        ).start()

    def switch_off(self) -> None:
        """Stop, and cut all connections as a camera without power would."""
        if self._server is None:
            return
        self._off.set()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        self._server.shutdown()
        self._server.server_close()
        self._server = None


@pytest.fixture
def mjpeg_camera() -> Iterator[MjpegCamera]:
    """A camera that is on; `switch_off()` and `switch_on()` are its plug."""
    camera = MjpegCamera()
    camera.switch_on()
    yield camera
    camera.switch_off()


def wait_until(condition: Callable[[], object], *, within_s: float = 5.0) -> None:
    """Wait for a condition, and fail where it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition, within_s=5)` waits for a condition and fails where it does not come."""
    return wait_until


@pytest.fixture
def pictures() -> type:
    """Functions that make pictures and parts of streams."""

    class Pictures:
        numbered = staticmethod(numbered_picture)
        number_of = staticmethod(number_of)
        jpeg = staticmethod(jpeg)
        part = staticmethod(part)

    return Pictures
