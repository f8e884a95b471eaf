"""A camera that comes and goes, with a real HTTP server for a camera."""

import os
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.cameras.devices import OpenDevice
from nut_runtime.cameras.feed import CameraFeed
from nut_runtime.errors import InputError, SourceError
from nut_runtime.health import Health
from nut_runtime.pictures import write_picture
from nut_runtime.station_file.config import CameraConfig, CameraSettings, ViewLimits
from nut_runtime.verdict import Reason

SETTINGS = CameraSettings(warm_up_frames=1)


@contextmanager
def feed_of(address, health=None, *, settings=SETTINGS, opener=None, start=True, limits=None, region_px=None):
    """A started feed, closed within a second at the end."""
    config = CameraConfig(
        name="front", address=address, settings=settings, limits=limits or ViewLimits(), region_px=region_px
    )
    more = {} if opener is None else {"opener": opener}
    feed = CameraFeed(config, health or Health(), **more)
    if start:
        feed.start()
    try:
        yield feed
    finally:
        began = time.monotonic()
        feed.close()
        assert time.monotonic() - began < 1


def next_frame(feed, timeout_s=3.0):
    return feed.frame(newer_than=time.monotonic(), timeout_s=timeout_s)


def test_the_first_frame_after_the_trigger_is_given(mjpeg_camera, pictures):
    with feed_of(mjpeg_camera.url) as feed:
        next_frame(feed)
        trigger = time.monotonic()
        sent = mjpeg_camera.sent
        frame = feed.frame(newer_than=trigger, timeout_s=2)
    assert frame.reason is None
    assert frame.error is None
    assert frame.taken_at > trigger
    assert pictures.number_of(frame.picture) in {sent + 1, sent + 2}
    assert (frame.camera, frame.source, frame.name) == ("front", "camera front", "front")
    assert frame.picture.shape == (120, 160, 3)


def test_who_asks_late_still_gets_the_first_frame_after_the_trigger(mjpeg_camera, eventually):
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        next_frame(feed)
        trigger = time.monotonic()
        before = health.counters()["camera_frames"]
        eventually(lambda: health.counters()["camera_frames"] >= before + 3)
        asked = time.monotonic()
        frame = feed.frame(newer_than=trigger, timeout_s=2)
        assert trigger < frame.taken_at < asked
        later = feed.frame(newer_than=frame.taken_at, timeout_s=2)  # the newest, and not the one that followed
        assert later.taken_at > frame.taken_at + mjpeg_camera.period_s


def test_a_trigger_that_is_taken_up_too_late_is_stale_and_gets_no_later_part_s_picture(mjpeg_camera, eventually):
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        next_frame(feed)
        trigger = time.monotonic()
        before = health.counters()["camera_frames"]
        eventually(lambda: health.counters()["camera_frames"] >= before + 6)
        frame = feed.frame(newer_than=trigger, timeout_s=2)
        assert frame.reason is Reason.STALE
        assert frame.picture is None
        assert "camera front: the frame of this trigger is no longer kept; it was taken up 0." in str(frame.error)
        assert health.components()["camera front"].is_well  # it is no fault of the camera
        trigger = time.monotonic()
        frame = feed.frame(newer_than=trigger, timeout_s=2)  # the next trigger is in time
        assert frame.reason is None
        assert frame.taken_at > trigger


def test_a_trigger_of_before_the_camera_s_first_frame_gets_that_frame_while_it_is_kept(mjpeg_camera, eventually):
    trigger = time.monotonic()
    health = Health()
    mjpeg_camera.period_s = 0.3
    with feed_of(mjpeg_camera.url, health, settings=CameraSettings(warm_up_frames=0)) as feed:
        eventually(lambda: health.counters().get("camera_frames", 0) >= 2)
        assert feed.frame(newer_than=trigger, timeout_s=2).reason is None


def test_a_free_running_camera_is_never_stale_however_slow_who_asks(mjpeg_camera, eventually, pictures):
    mjpeg_camera.switch_off()
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        newest = time.monotonic()
        assert feed.frame(newer_than=newest, timeout_s=0.05).reason is Reason.NO_FRAME
        mjpeg_camera.switch_on()
        for _ in range(3):
            before = health.counters().get("camera_frames", 0)
            eventually(lambda before=before: health.counters().get("camera_frames", 0) >= before + 7)
            sent = mjpeg_camera.sent
            frame = feed.frame(newer_than=newest, timeout_s=2)
            assert frame.reason is None
            assert pictures.number_of(frame.picture) >= sent - 1  # the newest
            newest = frame.taken_at


def test_frames_are_never_given_twice_and_the_skipped_ones_are_counted(mjpeg_camera, pictures):
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        frame = next_frame(feed)
        first, skipped, numbers = pictures.number_of(frame.picture), 0, []
        feed.skipped()
        for _ in range(6):
            time.sleep(0.05)  # slower than the camera
            frame = feed.frame(newer_than=frame.taken_at, timeout_s=2)
            numbers.append(pictures.number_of(frame.picture))
            skipped += feed.skipped()
    assert numbers == sorted(set(numbers))
    assert skipped == numbers[-1] - first - len(numbers) > 0
    assert health.counters()["camera_frames_skipped"] >= skipped


def test_a_camera_that_was_never_there_gives_no_frame_and_is_found_when_it_comes(mjpeg_camera):
    mjpeg_camera.switch_off()
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        frame = next_frame(feed, timeout_s=0.3)
        assert frame.reason is Reason.NO_FRAME
        assert frame.picture is None
        assert "connection refused" in str(frame.error)
        assert not health.components()["camera front"].is_well
        mjpeg_camera.switch_on()
        returned = time.monotonic()
        assert next_frame(feed).reason is None
        assert time.monotonic() - returned < 2
        assert health.components()["camera front"].is_well
        assert health.components()["camera front"].message == "160x120 px"


def test_a_camera_that_was_away_is_back_within_two_seconds_of_its_return(mjpeg_camera):
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        for away_s in (0.0, 0.3, 1.2):  # within the shortest pause, in between, within the longest
            assert next_frame(feed).reason is None
            mjpeg_camera.switch_off()
            gone = time.monotonic()
            while next_frame(feed, timeout_s=0.1).reason is None:
                pass
            time.sleep(max(0.0, gone + away_s - time.monotonic()))
            assert not health.is_well
            mjpeg_camera.switch_on()
            returned = time.monotonic()
            assert next_frame(feed).reason is None
            assert time.monotonic() - returned < 2
    assert health.counters()["camera_reconnects"] == 3


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A camera's frame may take 0.6 s and not 2, for the sake of the tests' time."""
    monkeypatch.setattr("nut_runtime.cameras.devices._LEAST_TIMEOUT_S", 0.6)


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_stops_sending_is_stale_and_then_gone(mjpeg_camera, eventually):
    with feed_of(mjpeg_camera.url) as feed:
        next_frame(feed)
        mjpeg_camera.period_s = 60
        time.sleep(0.05)
        frame = next_frame(feed, timeout_s=0.2)
        assert frame.reason is Reason.STALE
        assert "no frame after the trigger within 0.2 s; the newest is" in str(frame.error)
        eventually(lambda: next_frame(feed, timeout_s=0.2).reason is Reason.NO_FRAME)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_accepts_and_hangs_is_no_camera(mjpeg_camera, eventually):
    mjpeg_camera.hangs = True
    with feed_of(mjpeg_camera.url) as feed:
        eventually(lambda: mjpeg_camera.connections)
        assert next_frame(feed, timeout_s=0.1).reason is Reason.NO_FRAME
        eventually(lambda: "does not answer" in str(next_frame(feed, timeout_s=0.1).error))
        eventually(lambda: mjpeg_camera.connections >= 2)


def test_a_listener_that_never_answers_is_left_within_a_second():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with feed_of(f"http://127.0.0.1:{port}/") as feed:
            accepted, _ = listener.accept()
            assert next_frame(feed, timeout_s=0.1).reason is Reason.NO_FRAME
        accepted.close()


def test_a_waiting_frame_returns_when_the_feed_is_closed(mjpeg_camera):
    mjpeg_camera.hangs = True
    got = []
    with feed_of(mjpeg_camera.url) as feed:
        waiter = threading.Thread(target=lambda: got.append(next_frame(feed, timeout_s=30)))
        waiter.start()
        time.sleep(0.1)
    waiter.join(1)
    assert got[0].reason is Reason.NO_FRAME
    assert feed.frame(newer_than=0, timeout_s=5).reason is Reason.NO_FRAME  # at once


def test_a_frozen_picture_is_said_so_until_another_comes(mjpeg_camera, pictures, eventually):
    health = Health()
    with feed_of(mjpeg_camera.url, health, limits=ViewLimits(frozen_after_s=0.3)) as feed:
        assert next_frame(feed).reason is None
        same = pictures.part(pictures.jpeg(pictures.numbered(7)))
        mjpeg_camera.send = lambda _: same
        eventually(lambda: next_frame(feed).reason is Reason.FROZEN)
        frame = next_frame(feed)
        assert frame.picture is not None
        assert "camera front has given the same picture for 0." in str(frame.error)
        assert not health.components()["camera front"].is_well
        mjpeg_camera.send = lambda number: pictures.part(pictures.jpeg(pictures.numbered(number)))
        eventually(lambda: next_frame(feed).reason is None)
        assert health.components()["camera front"].is_well


def test_a_camera_that_stays_frozen_is_opened_again_and_is_frozen_still(
    mjpeg_camera, pictures, eventually, monkeypatch
):
    monkeypatch.setattr("nut_runtime.cameras.reading._REOPEN_FROZEN_S", 0.3)
    same = pictures.part(pictures.jpeg(pictures.numbered(7)))
    mjpeg_camera.send = lambda _: same
    with feed_of(mjpeg_camera.url, limits=ViewLimits(frozen_after_s=0.2)) as feed:
        eventually(lambda: next_frame(feed).reason is Reason.FROZEN)
        connections = mjpeg_camera.connections
        eventually(lambda: mjpeg_camera.connections > connections)
        assert next_frame(feed).reason is Reason.FROZEN


def test_half_frames_are_never_given(mjpeg_camera, pictures):
    def send(number: int) -> bytes:
        whole = pictures.jpeg(pictures.numbered(number % 256))
        half = whole[: len(whole) // 2]
        kinds = (whole, half, half + b"\xff\xd9", whole[:-2])
        return pictures.part(kinds[number % 4], length=len(whole) if number % 3 else None)

    mjpeg_camera.send = send
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        for _ in range(10):
            frame = next_frame(feed)
            assert frame.reason is None
            assert np.array_equal(
                frame.picture, decoded(pictures.jpeg(pictures.numbered(pictures.number_of(frame.picture))))
            )
    counters = health.counters()
    assert counters["camera_frames_broken"] >= 10
    assert "camera_reconnects" not in counters  # one bad frame is no reason to lose the next ones too


def decoded(data):
    import cv2

    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda _: b"--frame\r\n\r\n\xff\xd8 no picture\r\n", id="no-jpeg"),
        pytest.param(lambda n: b"--frame\r\n\r\n" + np.random.default_rng(n).bytes(5000) + b"\r\n", id="garbage-parts"),
        pytest.param(lambda _: b"--frame\r\nContent-Length: 0\r\n\r\n\r\n", id="empty"),
    ],
)
def test_a_camera_that_gives_only_garbage_is_broken_and_opened_again(mjpeg_camera, send, eventually):
    mjpeg_camera.send = send
    mjpeg_camera.period_s = 0.005
    with feed_of(mjpeg_camera.url) as feed:
        eventually(lambda: next_frame(feed, timeout_s=0.1).reason is Reason.BROKEN)
        eventually(lambda: mjpeg_camera.connections >= 2)
        frame = next_frame(feed, timeout_s=0.1)
        assert frame.reason is Reason.BROKEN
        assert frame.picture is None
        assert "is no JPEG picture" in str(frame.error) or "breaks off" in str(frame.error)


def test_garbage_that_is_no_stream_is_said_and_left(mjpeg_camera, eventually):
    mjpeg_camera.send = lambda number: np.random.default_rng(number).bytes(30_000)
    mjpeg_camera.period_s = 0.001
    with feed_of(mjpeg_camera.url) as feed:
        eventually(lambda: "no boundary within 65536 bytes" in str(next_frame(feed, timeout_s=0.05).error))
        eventually(lambda: mjpeg_camera.connections >= 2)


def test_a_camera_that_returns_with_another_resolution_is_broken_until_it_has_the_old_one(
    mjpeg_camera, pictures, eventually
):
    health = Health()
    with feed_of(mjpeg_camera.url, health) as feed:
        assert next_frame(feed).reason is None
        mjpeg_camera.switch_off()
        mjpeg_camera.send = lambda n: pictures.part(pictures.jpeg(pictures.numbered(n, size=(320, 240))))
        mjpeg_camera.switch_on()
        eventually(lambda: next_frame(feed, timeout_s=0.1).reason is Reason.BROKEN)
        assert health.components()["camera front"].message == (
            "wrong resolution: 320x240 px now, 160x120 px before; set width_px and height_px, or start again if it is "
            "meant so"
        )
        mjpeg_camera.send = lambda n: pictures.part(pictures.jpeg(pictures.numbered(n)))
        eventually(lambda: next_frame(feed, timeout_s=0.1).reason is None)
        assert health.is_well


def test_a_resolution_that_was_not_asked_for_is_an_error_of_the_camera(mjpeg_camera, eventually):
    with feed_of(mjpeg_camera.url, settings=CameraSettings(width_px=640, warm_up_frames=0)) as feed:
        eventually(lambda: next_frame(feed, timeout_s=0.1).reason is Reason.BROKEN)
        error = str(next_frame(feed, timeout_s=0.1).error)
    assert error == (
        "camera front: wrong resolution: 640x120 px asked, 160x120 px given; ask for one that the camera has"
    )


def test_the_region_is_what_is_given(mjpeg_camera, pictures):
    with feed_of(mjpeg_camera.url, region_px=(16, 0, 96, 40)) as feed:
        frame = next_frame(feed)
    assert frame.picture.shape == (40, 96, 3)
    assert frame.picture.flags.c_contiguous


def test_a_region_outside_the_frame_is_broken_and_says_why(mjpeg_camera, eventually):
    with feed_of(mjpeg_camera.url, region_px=(100, 0, 96, 40)) as feed:
        eventually(lambda: next_frame(feed, timeout_s=0.1).reason is Reason.BROKEN)
        error = str(next_frame(feed, timeout_s=0.1).error)
    assert "the region 100,0,96,40 (left, top, width, height) is not within its frames of 160x120 px" in error


@pytest.mark.parametrize(
    ("limits", "reason", "words"),
    [
        (ViewLimits(least_brightness=240), Reason.DARK, "is too dark (brightness 1"),
        (ViewLimits(least_sharpness=1e6), Reason.BLURRED, "is blurred (sharpness "),
    ],
)
def test_dark_and_blurred_frames_keep_their_picture_and_have_a_reason(mjpeg_camera, limits, reason, words):
    health = Health()
    with feed_of(mjpeg_camera.url, health, limits=limits) as feed:
        frame = next_frame(feed)
        assert frame.reason is reason
        assert frame.picture is not None
        assert words in str(frame.error)
        assert words in health.components()["camera front"].message


def test_a_camera_is_another_process_s_or_feed_s_until_that_lets_go_and_is_waited_for(mjpeg_camera, eventually):
    health = Health()
    words = f"its address {mjpeg_camera.url} is in use by process {os.getpid()}; stop that one first"
    with feed_of(mjpeg_camera.url) as first:
        assert next_frame(first).reason is None
        with feed_of(mjpeg_camera.url, health) as second:
            eventually(lambda: "camera front" in health.components())
            assert not health.is_well
            assert health.components()["camera front"].message == words
            frame = next_frame(second, timeout_s=0.1)
            assert frame.reason is Reason.NO_FRAME
            assert str(frame.error) == f"camera front: {words}"
            assert next_frame(first).reason is None
            first.close()
            assert next_frame(second).reason is None
            assert health.is_well


def test_the_first_feed_s_claim_outlives_a_second_one_that_waited_in_vain(mjpeg_camera, eventually):
    with feed_of(mjpeg_camera.url) as first:
        assert next_frame(first).reason is None
        for _ in range(2):
            with feed_of(mjpeg_camera.url) as second:
                eventually(lambda second=second: "in use" in str(next_frame(second, timeout_s=0.05).error))


def test_cameras_that_are_asked_first_close_beside_each_other_and_only_once(mjpeg_camera):
    let_go, reading = threading.Event(), threading.Semaphore(0)

    class Driver:
        def read(self):
            reading.release()
            let_go.wait(30)
            raise SourceError("gone")

        def close(self):
            pass

    with ExitStack() as stack:
        feeds = [
            stack.enter_context(feed_of(f"{mjpeg_camera.url}{number}", opener=lambda *_: OpenDevice(device=Driver())))
            for number in range(3)
        ]
        for _ in feeds:
            assert reading.acquire(timeout=5)
        began = time.monotonic()
        for feed in feeds * 2:
            feed.ask_to_close()
        assert time.monotonic() - began < 0.2
        assert feeds[0].frame(newer_than=began, timeout_s=5).reason is Reason.NO_FRAME  # at once
        for feed in feeds:
            feed.close()
        assert time.monotonic() - began < 1
        began = time.monotonic()
        for feed in feeds * 3:
            feed.close()
        assert time.monotonic() - began < 0.2
        let_go.set()


def test_a_feed_that_was_never_started_closes_and_does_not_start_any_more(mjpeg_camera):
    with feed_of(mjpeg_camera.url, start=False) as feed:
        feed.ask_to_close()
        feed.start()
    assert mjpeg_camera.connections == 0


def test_settings_that_cannot_be_set_are_said_with_the_camera_s_health(mjpeg_camera, caplog):
    health = Health()
    with feed_of(mjpeg_camera.url, health, settings=CameraSettings(exposure=100, warm_up_frames=0)) as feed:
        next_frame(feed)
        note = "exposure cannot be set over http; set it in the camera itself"
        assert health.components()["camera front"].message == f"160x120 px; {note}"
        assert note in caplog.text


def test_an_address_that_can_never_be_opened_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="expected a number"):
        CameraFeed(CameraConfig(name="front", address=str(tmp_path / "none.png")), Health())


def test_a_driver_s_mistake_does_not_end_the_thread(mjpeg_camera, eventually, caplog):
    calls = []

    class Driver:
        def read(self):
            raise ZeroDivisionError

        def close(self):
            pass

    def opener(address, settings):
        calls.append(address)
        return OpenDevice(device=Driver())

    with feed_of(mjpeg_camera.url, opener=opener) as feed:
        eventually(lambda: len(calls) > 2)
        assert "unexpected ZeroDivisionError()" in str(next_frame(feed, timeout_s=0.01).error)
    assert caplog.text.count("Traceback") == 1


def test_a_driver_that_hangs_does_not_hold_up_the_close(mjpeg_camera, eventually):
    let_go = threading.Event()
    is_reading = threading.Event()

    class Driver:
        def read(self):
            is_reading.set()
            let_go.wait(30)
            raise SourceError("gone")

        def close(self):
            pass

    with feed_of(mjpeg_camera.url, opener=lambda *_: OpenDevice(device=Driver())):
        assert is_reading.wait(5)
    # It is not another's before the driver has let go of it.
    with feed_of(mjpeg_camera.url) as other:
        eventually(lambda: "in use" in str(next_frame(other, timeout_s=0.05).error))
        let_go.set()
        eventually(lambda: next_frame(other).reason is None)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_fifty_reconnects_leak_neither_descriptors_nor_threads(mjpeg_camera, pictures, eventually, monkeypatch):
    monkeypatch.setattr("nut_runtime.cameras.reading._FIRST_PAUSE_S", 0.02)
    health = Health()

    def send(number: int) -> bytes:
        if number % 2:
            return pictures.part(pictures.jpeg(pictures.numbered(number % 256)))
        raise OSError  # cuts the connection

    mjpeg_camera.send = send
    mjpeg_camera.period_s = 0.001
    with feed_of(mjpeg_camera.url, health, settings=CameraSettings(warm_up_frames=0)):
        eventually(lambda: health.counters().get("camera_reconnects", 0) >= 3)
        descriptors, threads = open_descriptors(), threading.active_count()
        eventually(lambda: health.counters()["camera_reconnects"] >= 53, within_s=20)
        # The server's own connections come and go meanwhile.
        assert open_descriptors() <= descriptors + 3
        assert threading.active_count() <= threads + 2


def test_pictures_that_are_played_may_have_many_sizes_and_one_that_does_not_fit_is_skipped(tmp_path, pictures):
    health = Health()
    for number, size in enumerate(((160, 120), (40, 40), (320, 240))):
        write_picture(tmp_path / f"{number}.png", pictures.numbered(number, size=size))
    settings = CameraSettings(fps=50)
    with feed_of(str(tmp_path), health, settings=settings, region_px=(0, 0, 128, 100)) as feed:
        frame = next_frame(feed)
        names = [frame.name]
        for _ in range(5):
            frame = feed.frame(newer_than=frame.taken_at, timeout_s=2)
            names.append(frame.name)
            assert frame.source == str(tmp_path / f"{frame.name}.png")
            assert frame.reason is None
            assert frame.picture.shape == (100, 128, 3)
    assert set(names) == {"0", "2"}
    assert health.counters()["camera_frames_broken"] >= 1
    assert "camera_reconnects" not in health.counters()


def test_a_played_folder_of_broken_pictures_says_which(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no picture")
    with feed_of(str(tmp_path), settings=CameraSettings(fps=50)) as feed:
        frame = next_frame(feed, timeout_s=0.3)
    assert frame.reason is Reason.BROKEN
    assert "0.png is not a picture" in str(frame.error)
