"""Which cameras there are."""

import numpy as np
import pytest

from nut_runtime.cameras.devices import OpenDevice, open_device
from nut_runtime.cameras.feed import CameraFeed
from nut_runtime.cameras.listing import list_cameras, look_at
from nut_runtime.errors import SourceError
from nut_runtime.health import Health
from nut_runtime.station_file.config import CameraConfig, CameraSettings

PICTURE = np.random.default_rng(0).integers(0, 100, (480, 640, 3), np.uint8)


class Driver:
    """A camera that gives the same picture; counts how often it is read and closed."""

    closed = 0

    def read(self) -> np.ndarray:
        return PICTURE

    def close(self) -> None:
        type(self).closed += 1


def opener(address, settings):
    if address != "0":
        raise SourceError(f"camera {address} does not open")
    return OpenDevice(device=Driver(), notes=("gain 12 asked, 10 set",))


@pytest.fixture
def sysfs(tmp_path):
    """What Linux says of a camera with two nodes, and of one that does not open."""
    for number, name, index in ((0, "USB Camera", 0), (1, "USB Camera", 1), (10, "Other", 0)):
        node = tmp_path / f"video{number}"
        node.mkdir()
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text(f"{index}\n")
    return tmp_path


def test_cameras_are_listed_by_number_and_their_other_nodes_left_out(sysfs):
    before = Driver.closed
    first, second = list_cameras(sysfs=sysfs, opener=opener)
    assert (first.address, first.path, first.name) == ("0", "/dev/video0", "USB Camera")
    assert (first.width_px, first.height_px, first.error) == (640, 480, "")
    assert 40 < first.brightness < 60
    assert first.sharpness > 0
    assert first.fps > 0
    assert first.notes == ("gain 12 asked, 10 set",)
    assert (second.address, second.error, second.width_px) == ("10", "camera 10 does not open", None)
    assert Driver.closed == before + 1


def test_where_there_are_none_none_are_listed(tmp_path):
    assert list_cameras(sysfs=tmp_path / "none", opener=opener) == []


def test_a_network_camera_is_looked_at_by_its_address(mjpeg_camera):
    seen = look_at(mjpeg_camera.url, CameraSettings(warm_up_frames=0), opener=open_device)
    assert (seen.width_px, seen.height_px, seen.error) == (160, 120, "")
    assert 5 < seen.fps < 60  # the server waits 20 ms between two


def test_a_camera_in_use_is_said_to_be_and_left_alone(mjpeg_camera):
    feed = CameraFeed(CameraConfig(name="front", address=mjpeg_camera.url), Health())
    feed.start()
    try:
        assert feed.frame(newer_than=0.0, timeout_s=20).picture is not None  # it has the camera
        assert "is in use by process" in look_at(mjpeg_camera.url, CameraSettings()).error
    finally:
        feed.close()


def test_a_password_is_not_shown(mjpeg_camera):
    mjpeg_camera.switch_off()
    seen = look_at(mjpeg_camera.url.replace("//", "//admin:s3cret@"), CameraSettings())
    assert "s3cret" not in str(seen.to_json())
    assert "connection refused" in seen.error
