"""Industrial cameras, with the simulated ones (`viky.cti`) that the GenICam committee's own package brings."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.cameras.devices import open_device
from nut_runtime.cameras.feed import CameraFeed
from nut_runtime.errors import InputError, SourceError
from nut_runtime.health import Health
from nut_runtime.station_file.config import CameraConfig, CameraSettings

genicam = pytest.importorskip("genicam", reason="harvesters is not installed")
PRODUCER = Path(genicam.__file__).with_name("viky.cti")
if not PRODUCER.is_file():
    pytest.skip("this genicam brings no simulated camera", allow_module_level=True)

RED, GREEN = (f"genicam: {PRODUCER}#VikyTL_DEV_{colour}" for colour in ("red", "green"))


def test_a_simulated_camera_gives_pictures_and_its_settings_are_read_back():
    settings = CameraSettings(width_px=320, height_px=200, fps=20, exposure=500, gain=3, focus=1)
    opened = open_device(RED, settings)
    try:
        pictures = [opened.device.read() for _ in range(3)]
    finally:
        opened.device.close()
    assert {(picture.shape, picture.dtype.name) for picture in pictures} == {((200, 320, 3), "uint8")}
    assert not np.array_equal(pictures[0], pictures[2])  # a ball that bounces
    assert opened.notes == (
        "exposure 500 refused, it has none",
        "gain 3 refused, it has none",
        "focus cannot be set through GenICam; set it in the camera itself",
    )


def test_the_simulated_camera_s_red_is_red():
    device = open_device(RED, CameraSettings()).device
    try:
        picture = device.read().astype(int)
    finally:
        device.close()
    ball = picture[np.ptp(picture, axis=2) > 100]
    assert len(ball)
    assert (ball[:, 2] > ball[:, 0]).all()  # BGR


def test_two_cameras_of_one_producer_run_and_are_opened_again_beside_each_other():
    red, green = (CameraFeed(CameraConfig(name=address[-3:], address=address), Health()) for address in (RED, GREEN))
    red.start()
    green.start()
    try:
        assert red.frame(newer_than=time.monotonic(), timeout_s=5).error is None
        assert green.frame(newer_than=time.monotonic(), timeout_s=5).error is None
        green.close()
        green = CameraFeed(CameraConfig(name="green", address=GREEN), Health())
        green.start()
        assert green.frame(newer_than=time.monotonic(), timeout_s=5).error is None
        assert red.frame(newer_than=time.monotonic(), timeout_s=5).error is None
    finally:
        for feed in (red, green):
            began = time.monotonic()
            feed.close()
            assert time.monotonic() - began < 1


def test_waiting_for_a_frame_leaves_python_to_other_threads():
    device = open_device(RED, CameraSettings(fps=4)).device
    ticks, is_over = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not is_over.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    try:
        device.read()
        thread.start()
        began = time.monotonic()
        device.read()
        seconds = time.monotonic() - began
    finally:
        is_over.set()
        thread.join()
        device.close()
    assert ticks > 100 * seconds


def test_a_camera_in_use_or_not_there_says_so():
    device = open_device(RED, CameraSettings()).device
    try:
        with pytest.raises(SourceError, match=r"does not open: .*already in use"):
            open_device(RED, CameraSettings())
        with pytest.raises(SourceError, match=r"is not there \(the producer sees VikyTL_DEV_red, VikyTL_DEV_green"):
            open_device(f"genicam: {PRODUCER}#none", CameraSettings())
    finally:
        device.close()


def test_a_producer_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"the GenTL producer /none\.cti does not exist"):
        open_device("genicam: /none.cti", CameraSettings())
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"\$GENICAM_GENTL64_PATH holds 0 GenTL producers"):
        open_device("genicam:", CameraSettings())
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(PRODUCER.parent))
    device = open_device("genicam:", CameraSettings()).device  # the first camera of the only producer
    device.close()
