"""Cameras of each kind: settings read back, files that pass for a camera, logins, and what is said when one is away.

There is no USB camera where tests run, so OpenCV's capture is played by an object with the same methods.
"""

import base64
import hashlib
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest

from nut_runtime.cameras.devices import open_device
from nut_runtime.cameras.faults import BrokenFrameError
from nut_runtime.errors import InputError, SourceError
from nut_runtime.pictures import write_picture
from nut_runtime.station_file.config import CameraSettings

PLAIN = CameraSettings()


class UsbCamera:
    """A camera as OpenCV gives it: 640x480, gain up to 10, no focus, and an exposure in steps of 10."""

    opened: tuple = ()

    def __init__(self, *arguments: object) -> None:
        type(self).opened = arguments
        self.values = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}
        self.is_released = False
        self.picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def get(self, number: int) -> float:
        return self.values.get(number, 0.0)

    def set(self, number: int, value: float) -> bool:
        if number in {cv2.CAP_PROP_FOCUS, cv2.CAP_PROP_AUTOFOCUS}:
            return False
        if number == cv2.CAP_PROP_GAIN:
            value = min(value, 10.0)
        if number == cv2.CAP_PROP_EXPOSURE:
            value = round(value / 10) * 10.0
        if number == cv2.CAP_PROP_FPS:
            value = 29.97
        self.values[number] = float(value)
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (not self.is_released, None if self.is_released else self.picture)

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def usb(monkeypatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", UsbCamera)


def test_settings_are_read_back_and_what_was_refused_or_changed_is_said(usb):
    settings = CameraSettings(
        width_px=1280, height_px=960, fps=30, exposure=123, gain=12, white_balance_k=4000, focus=5
    )
    opened = open_device("0", settings)
    assert opened.notes == (
        "exposure 123 asked, 120 set",
        "gain 12 asked, 10 set",
        "automatic focus cannot be turned off",
        "focus 5 refused, it is 0",
    )
    values = opened.device.capture.values
    assert values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1  # V4L2_EXPOSURE_MANUAL
    assert values[cv2.CAP_PROP_AUTO_WB] == 0
    assert (values[cv2.CAP_PROP_FRAME_WIDTH], values[cv2.CAP_PROP_FRAME_HEIGHT]) == (1280, 960)
    assert UsbCamera.opened == ("/dev/video0", cv2.CAP_V4L2)


def test_nothing_is_set_that_nobody_asked_for(usb):
    opened = open_device("/dev/v4l/by-id/cam", PLAIN)
    assert opened.notes == ()
    assert set(opened.device.capture.values) == {
        cv2.CAP_PROP_FPS,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
    }


def test_the_driver_s_time_of_exposure_is_taken_where_it_can_be_true(usb):
    device = open_device("0", PLAIN).device
    exposed = time.monotonic() - 0.1
    for stamp, expected in ((exposed, exposed), (exposed + 60, None), (exposed - 60, None), (0.0, None)):
        device.capture.values[cv2.CAP_PROP_POS_MSEC] = stamp * 1e3
        device.read()
        assert device.taken_at == (None if expected is None else pytest.approx(expected))


def test_a_torn_picture_of_a_usb_camera_is_broken(usb):
    device = open_device("0", PLAIN).device
    device.capture.picture = device.capture.picture.copy()
    device.capture.picture[300:] = 128
    with pytest.raises(BrokenFrameError, match="the last 180 of 480 rows of a frame are missing"):
        device.read()


def test_a_closed_camera_is_released_and_read_no_more(usb):
    device = open_device("0", PLAIN).device
    device.close()
    device.close()
    assert device.capture.is_released
    with pytest.raises(SourceError, match="camera 0 is closed"):
        device.read()


def test_a_usb_camera_that_drops_out_says_so(usb):
    device = open_device("0", PLAIN).device
    device.capture.is_released = True
    with pytest.raises(SourceError, match="camera 0 stopped delivering"):
        device.read()


@pytest.mark.parametrize("address", ["97", "/dev/video97"])
def test_a_usb_camera_that_is_not_there_says_what_to_check(address, capfd):
    with pytest.raises(SourceError, match=rf"camera {address} does not open; check that it is connected"):
        open_device(address, PLAIN)
    assert capfd.readouterr() == ("", "")


def test_gstreamer_where_opencv_has_none_is_one_clear_line():
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(InputError, match="built without GStreamer"):
        open_device("gstreamer: videotestsrc ! videoconvert ! appsink", PLAIN)


def test_an_rtsp_camera_that_is_not_there_or_hangs_is_left(capfd, monkeypatch):
    monkeypatch.setattr("nut_runtime.cameras.opencv_device._OPEN_S", 0.5)
    monkeypatch.setattr("nut_runtime.cameras.devices._LEAST_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts and never answers
        port = listener.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(SourceError, match=rf"camera rtsp://127.0.0.1:{port}/x does not open; check the address"):
            open_device(f"rtsp://u:p@127.0.0.1:{port}/x", PLAIN)
        assert time.monotonic() - began < 3
    with pytest.raises(SourceError, match="does not open"):
        open_device(f"rtsp://127.0.0.1:{port}/x", PLAIN)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(3):
        write_picture(folder / f"{number}.png", np.full((48, 64 + number, 3), 10 * number, np.uint8))
    (folder / "3.png").write_bytes(b"broken")
    return folder


def test_a_folder_is_played_in_a_loop_at_its_pace(folder):
    opened = open_device(str(folder), CameraSettings(fps=50))
    assert opened.is_played
    seen, began = [], time.monotonic()
    for _ in range(8):
        try:
            seen.append(int(opened.device.read()[0, 0, 0]))
        except BrokenFrameError as error:
            seen.append(str(error).removeprefix(f"{folder}/")[:22])
    assert seen == [0, 10, 20, "3.png is not a picture"] * 2
    assert 0.13 < time.monotonic() - began < 1
    assert opened.device.source == str(folder / "3.png")
    opened.device.close()


def test_a_played_device_is_closed_while_it_waits(folder):
    device = open_device(str(folder), CameraSettings(fps=0.01)).device
    device.read()
    threading.Timer(0.1, device.close).start()
    began = time.monotonic()
    with pytest.raises(SourceError, match="is closed"):
        device.read()
    assert time.monotonic() - began < 1


def test_a_folder_that_is_emptied_is_a_camera_that_is_gone(folder):
    device = open_device(str(folder), CameraSettings(fps=1000)).device
    for path in folder.iterdir():
        path.unlink()
    for _ in range(4):
        with pytest.raises(BrokenFrameError, match="does not exist"):
            device.read()
    with pytest.raises(SourceError, match="holds no pictures"):
        device.read()


@contextmanager
def web_server(answer):
    """A web server whose answers a function writes."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            with suppress(OSError):
                answer(self)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send_stream(handler, pictures, *, chunked=False):
    body = pictures.part(pictures.jpeg(pictures.numbered(5)))
    handler.protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--frame")
    if chunked:
        handler.send_header("Transfer-Encoding", "chunked")
        body = b"".join(
            b"%x\r\n%b\r\n" % (len(body[at : at + 999]), body[at : at + 999]) for at in range(0, len(body), 999)
        )
        body += b"0\r\n\r\n"
    handler.end_headers()
    handler.wfile.write(body)


def read_once(address):
    device = open_device(address, PLAIN).device
    try:
        return device.read()
    finally:
        device.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_the_last_whole_frame_is_given_though_the_stream_ends_after_it(pictures, chunked):
    with web_server(lambda handler: send_stream(handler, pictures, chunked=chunked)) as port:
        device = open_device(f"http://127.0.0.1:{port}/", PLAIN).device
        assert pictures.number_of(device.read()) == 5
        with pytest.raises(SourceError, match="the camera ended the stream"):
            device.read()
        device.close()


def test_a_basic_login_is_given_when_it_is_asked_for(pictures):
    def answer(handler):
        if handler.headers.get("Authorization") == "Basic " + base64.b64encode(b"admin:p@ss").decode():
            send_stream(handler, pictures)
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.end_headers()

    with web_server(answer) as port:
        assert read_once(f"http://admin:p%40ss@127.0.0.1:{port}/mjpg").shape == (120, 160, 3)
        for login in ("", "admin:wrong@"):
            with pytest.raises(SourceError, match="the camera answers 401 Unauthorized") as error:
                read_once(f"http://{login}127.0.0.1:{port}/mjpg")
            assert "wrong" not in str(error.value)


def test_a_digest_login_is_given_when_it_is_asked_for(pictures):
    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    def answer(handler):
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', handler.headers.get("Authorization", "")))
        secret = md5("admin", "camera", "s3cret")
        request = md5("GET", handler.path)
        middle = (fields.get("nonce", ""), fields.get("nc", ""), fields.get("cnonce", ""), fields.get("qop", ""))
        if fields.get("response") == md5(secret, *middle, request):
            send_stream(handler, pictures)
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.send_header("WWW-Authenticate", 'Digest realm="camera", nonce="abc", qop="auth", algorithm=MD5')
            handler.end_headers()

    with web_server(answer) as port:
        assert read_once(f"http://admin:s3cret@127.0.0.1:{port}/mjpg?fps=5").shape == (120, 160, 3)


def test_a_redirect_is_followed_and_a_circle_is_not(pictures):
    def answer(handler):
        if handler.path == "/video":
            send_stream(handler, pictures)
            return
        handler.send_response(302)
        handler.send_header("Location", "/video" if handler.path == "/" else "/circle")
        handler.end_headers()

    with web_server(answer) as port:
        assert read_once(f"http://127.0.0.1:{port}/").shape == (120, 160, 3)
        with pytest.raises(SourceError, match="redirected more than 5 times"):
            read_once(f"http://127.0.0.1:{port}/circle")


def test_a_web_page_is_no_camera(pictures):
    def answer(handler):
        handler.send_response(200 if handler.path == "/" else 404)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()

    with web_server(answer) as port:
        with pytest.raises(SourceError, match=r"expected an MJPEG stream \(.*\), got text/html"):
            read_once(f"http://127.0.0.1:{port}/")
        with pytest.raises(SourceError, match="the camera answers 404 Not Found"):
            read_once(f"http://127.0.0.1:{port}/none")


def test_a_byte_now_and_then_is_no_stream(monkeypatch):
    monkeypatch.setattr("nut_runtime.cameras.devices._LEAST_TIMEOUT_S", 0.4)

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    with web_server(answer) as port:
        began = time.monotonic()
        with pytest.raises(SourceError, match="no whole frame within"):
            read_once(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - began < 1.5


def test_the_newest_frame_is_given_where_decoding_is_slower_than_the_camera(mjpeg_camera, pictures):
    mjpeg_camera.period_s = 0.01
    device = open_device(mjpeg_camera.url, PLAIN).device
    device.read()
    time.sleep(0.5)
    number, sent = pictures.number_of(device.read()), mjpeg_camera.sent
    device.close()
    assert sent - number <= 3
    assert device.passed_over > 5


def test_a_proxy_of_the_environment_is_not_asked(mjpeg_camera, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert read_once(mjpeg_camera.url).shape == (120, 160, 3)
