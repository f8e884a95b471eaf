"""An RTSP camera that comes and goes: a small but real server, read by FFmpeg."""

import re
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest

from nut_runtime.cameras.feed import CameraFeed
from nut_runtime.health import Health
from nut_runtime.station_file.config import CameraConfig, CameraSettings
from nut_runtime.verdict import Reason

MOST_BYTES = 1400
PERIOD_S = 0.04


def rtp_packets(jpeg: bytes, *, first: int, stamp: int):
    """Give a JPEG picture of OpenCV's as RTP packets (RFC 2435), tables included."""
    tables = b"".join(
        jpeg[at + 5 : at + 69] for at in (found.start() for found in re.finditer(rb"\xff\xdb\x00\x43", jpeg))
    )
    at = jpeg.index(b"\xff\xc0")
    height, width = struct.unpack(">HH", jpeg[at + 5 : at + 9])
    scan = jpeg.index(b"\xff\xda")
    data = jpeg[scan + 2 + struct.unpack(">H", jpeg[scan + 2 : scan + 4])[0] : -2]
    for number, offset in enumerate(range(0, len(data), MOST_BYTES)):
        piece = data[offset : offset + MOST_BYTES]
        is_last = offset + len(piece) == len(data)
        header = struct.pack(">BBHII", 0x80, 26 | (0x80 if is_last else 0), (first + number) & 0xFFFF, stamp, 1)
        header += struct.pack(">II", offset, 0)[:4] + bytes((1, 255, width // 8, height // 8))  # 4:2:0, own tables
        if offset == 0:
            header += struct.pack(">BBH", 0, 0, len(tables)) + tables
        yield header + piece


class RtspCamera:
    """A camera that answers one client at a time, over TCP; `switch_off()` and `switch_on()` are its plug."""

    def __init__(self, pictures) -> None:
        self.pictures = pictures
        self.port = 0
        self.plays = True
        self._off = threading.Event()

    def switch_on(self) -> None:
        self._off = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(self._off, self._listener), daemon=True)
        self._thread.start()

    def switch_off(self) -> None:
        self._off.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self, off: threading.Event, listener: socket.socket) -> None:
        while not off.is_set():
            with suppress(OSError, ValueError):
                connection, _ = listener.accept()
                with connection:
                    self._answer(connection, off)

    def _answer(self, connection: socket.socket, off: threading.Event) -> None:
        stream = connection.makefile("rwb")
        base = f"rtsp://127.0.0.1:{self.port}/main/"
        while not off.is_set():
            lines = []
            while (line := stream.readline().decode().strip()) or not lines:
                lines.append(line)
            method = lines[0].split()[0]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body, more = "", ""
            if method == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n"
                more = f"Content-Type: application/sdp\r\nContent-Base: {base}\r\n"
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif method == "PLAY":
                more = "Session: 1\r\n"
            head = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
            stream.write((head + body).encode())
            stream.flush()
            if method == "PLAY":
                self._play(connection, off)
                return

    def _play(self, connection: socket.socket, off: threading.Event) -> None:
        number = packet = 0
        while not off.wait(PERIOD_S):
            if not self.plays:
                continue
            number += 1
            jpeg = self.pictures.jpeg(self.pictures.numbered(number % 256))
            for data in rtp_packets(jpeg, first=packet, stamp=int(number * PERIOD_S * 90_000)):
                connection.sendall(b"$\0" + struct.pack(">H", len(data)) + data)
                packet += 1


@pytest.fixture
def camera(pictures):
    camera = RtspCamera(pictures)
    camera.switch_on()
    yield camera
    camera.switch_off()


@pytest.fixture
def feed(camera, monkeypatch):
    monkeypatch.setattr("nut_runtime.cameras.devices._LEAST_TIMEOUT_S", 0.7)  # 2 s otherwise
    config = CameraConfig(
        name="front", address=f"rtsp://127.0.0.1:{camera.port}/main/", settings=CameraSettings(warm_up_frames=1)
    )
    feed = CameraFeed(config, Health())
    feed.start()
    yield feed
    began = time.monotonic()
    feed.close()
    assert time.monotonic() - began < 1


def test_an_rtsp_camera_is_read_and_is_back_within_two_seconds_of_its_return(camera, feed, pictures, eventually, capfd):
    frame = feed.frame(newer_than=time.monotonic(), timeout_s=10)
    assert frame.error is None
    first = pictures.number_of(frame.picture)
    second = feed.frame(newer_than=frame.taken_at, timeout_s=2)
    assert pictures.number_of(second.picture) > first
    camera.switch_off()
    eventually(lambda: feed.frame(newer_than=time.monotonic(), timeout_s=0.1).reason is Reason.NO_FRAME)
    camera.switch_on()
    returned = time.monotonic()
    assert feed.frame(newer_than=returned, timeout_s=5).error is None
    assert time.monotonic() - returned < 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_an_rtsp_camera_that_stops_sending_is_opened_again(camera, feed, eventually):
    assert feed.frame(newer_than=time.monotonic(), timeout_s=10).error is None
    camera.plays = False
    eventually(lambda: feed.frame(newer_than=time.monotonic(), timeout_s=0.1).reason is Reason.NO_FRAME, within_s=6)
    camera.plays = True
    assert feed.frame(newer_than=time.monotonic(), timeout_s=10).error is None
