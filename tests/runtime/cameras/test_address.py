"""What a camera's address means."""

import sys

import pytest

from nut_runtime.cameras.address import Kind, parse_address
from nut_runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("0", Kind.USB, "0"),
        (" 02 ", Kind.USB, "2"),
        ("/dev/v4l/by-id/usb-cam", Kind.USB, "/dev/v4l/by-id/usb-cam"),
        ("rtsp://10.0.0.1/main", Kind.RTSP, "rtsp://10.0.0.1/main"),
        ("HTTP://cam:8080/?action=stream", Kind.MJPEG, "HTTP://cam:8080/?action=stream"),
        ("gstreamer: videotestsrc ! appsink", Kind.GSTREAMER, "videotestsrc ! appsink"),
    ],
)
def test_an_address_is_taken_apart(text, kind, target):
    address = parse_address(text)
    assert (address.kind, address.target) == (kind, target)


def test_a_password_is_never_shown():
    address = parse_address("rtsp://admin:s3cret@10.0.0.1:554/main?x=1")
    assert address.target == "rtsp://admin:s3cret@10.0.0.1:554/main?x=1"
    assert address.shown == "rtsp://10.0.0.1:554/main?x=1"
    assert "s3cret" not in str(address.claim_name)
    with pytest.raises(InputError) as error:
        parse_address("rtmp://admin:s3cret@10.0.0.1/main")
    assert "s3cret" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="has no device files")
def test_a_number_and_its_device_file_are_one_camera():
    assert parse_address("7").claim_name == parse_address("/dev/video7").claim_name == "camera /dev/video7"


def test_files_are_nobody_s_alone(tmp_path):
    assert parse_address(str(tmp_path)).kind is Kind.FILES
    assert parse_address(str(tmp_path)).claim_name is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "camera '': expected a number"),
        ("none.mp4", "camera none.mp4: expected a number, /dev/video0, rtsp://"),
        ("-1", "expected a number"),
        ("²", "expected a number"),
        ("ftp://host/x", "expected rtsp:// or http://, got ftp://"),
        ("http://", "expected http://HOST"),
        ("http://host:port/", "expected http://HOST"),
        ("http://[::1", "expected http://HOST"),
        ("gstreamer: videotestsrc", "has no appsink at its end"),
    ],
)
def test_what_can_never_be_opened_is_refused_in_one_line(text, words):
    with pytest.raises(InputError) as error:
        parse_address(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
