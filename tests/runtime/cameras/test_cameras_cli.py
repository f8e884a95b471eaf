"""`nut-runtime cameras` and `nut-runtime capture`, as a person calls them."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from nut_runtime.cameras_cli import cameras, capture
from nut_runtime.cli_errors import NutGroup
from nut_runtime.pictures import read_picture, write_picture

NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[A-Za-z0-9._-]+\.png")


@pytest.fixture
def call():
    """`call(*arguments)` runs a command of the group."""
    group = click.group(cls=NutGroup)(lambda: None)
    group.add_command(cameras)
    group.add_command(capture)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(group, [str(argument) for argument in arguments])


def test_without_a_camera_it_says_so(call, monkeypatch, tmp_path):
    monkeypatch.setattr("nut_runtime.cameras.listing.list_cameras.__kwdefaults__", {"sysfs": tmp_path, "opener": None})
    done = call("cameras")
    assert done.exit_code == 0
    assert done.output == (
        "no cameras are connected to this computer; network cameras are looked at by their address\n"
    )
    assert call("cameras", "--json").output == "[]\n"


def test_addresses_are_looked_at_as_a_table_and_as_json(call, mjpeg_camera, tmp_path):
    done = call("cameras", mjpeg_camera.url, tmp_path / "none.png", "--gain", 3, "--warm-up", 0)
    assert done.exit_code == 1
    head, first, second, note, error = done.output.splitlines()
    assert head.split() == ["camera", "name", "resolution", "fps", "brightness", "sharpness"]
    assert first.split()[:2] == [mjpeg_camera.url, "160x120"]
    assert second.split() == [str(tmp_path / "none.png"), "-", "-", "-", "-"]
    assert note == f"{mjpeg_camera.url}: gain cannot be set over http; set it in the camera itself"
    assert "expected a number" in error
    (seen,) = json.loads(call("cameras", mjpeg_camera.url, "--json").output)
    assert (seen["width_px"], seen["height_px"], seen["error"]) == (160, 120, "")


def test_pictures_are_collected_under_names_of_their_time(call, mjpeg_camera, pictures, tmp_path):
    folder = tmp_path / "dataset" / "train" / "good"
    for _ in range(2):  # the second time beside the first
        done = call(
            "capture", "--camera", mjpeg_camera.url, "-o", folder, "--count", 4, "--every-ms", 50, "--warm-up", 0
        )
        assert done.exit_code == 0, done.output
        assert f"kept 4 of 4 pictures in {folder}" in done.output
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 8
    assert all(NAME.fullmatch(name) for name in names)
    numbers = [pictures.number_of(read_picture(folder / name)) for name in names]
    assert numbers == sorted(set(numbers))


def test_a_taken_name_is_not_taken_again(tmp_path):
    from nut_runtime.cameras.collecting import _write_new
    from nut_runtime.sources.base import Frame, now

    frame = Frame(source="camera 0", name="camera 0", timestamp=now(), capture_ms=0)
    paths = [_write_new(tmp_path, frame, bytes([number])) for number in range(3)]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"\2"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_dark_and_blurred_pictures_are_refused_when_asked(call, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    sharp = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for number, picture in enumerate((sharp, sharp // 20, cv2.GaussianBlur(sharp, (0, 0), 5))):
        write_picture(folder / f"{number}.png", picture)
    done = call(
        *("capture", "--address", folder, "-o", tmp_path / "out", "--count", 2, "--every-ms", 0, "--fps", 50),
        *("--least-brightness", 50, "--least-sharpness", 100, "--region", "10,20,30,40"),
    )
    assert done.exit_code == 0, done.output
    assert "is too dark (brightness 6." in done.output
    assert "is blurred (sharpness " in done.output
    for path in (tmp_path / "out").iterdir():
        assert np.array_equal(read_picture(path), sharp[20:60, 10:40])


def test_a_frozen_camera_is_given_up_and_what_was_kept_stays(call, mjpeg_camera, pictures, tmp_path):
    same = pictures.part(pictures.jpeg(pictures.numbered(1)))
    mjpeg_camera.send = lambda _: same
    done = call(
        *("capture", "--camera", mjpeg_camera.url, "-o", tmp_path / "out", "--every-ms", 0, "--warm-up", 0),
        *("--frozen-after", 0.3, "--patience", 0.5, "--quiet"),
    )
    assert done.exit_code == 2
    assert re.search(r"kept \d+ of 50 pictures in .*, refused \d+\n", done.output)
    assert "error: no picture to keep for 0.5 s: camera http" in done.output
    assert "has given the same picture for" in done.output
    assert list((tmp_path / "out").iterdir())


def test_a_camera_that_is_away_is_said_to_be(call, mjpeg_camera, tmp_path):
    mjpeg_camera.switch_off()
    done = call("capture", "--camera", mjpeg_camera.url, "-o", tmp_path / "out", "--patience", 0.3, "-q")
    assert done.exit_code == 2
    assert "connection refused" in done.output


@pytest.mark.parametrize("region", ["1,2,3", "a,b,c,d", "-1,0,5,5", ""])
def test_a_region_that_is_none_is_refused(call, tmp_path, region):
    done = call("capture", "--camera", 0, "-o", tmp_path, f"--region={region}")
    assert done.exit_code == 2
    assert "expected left,top,width,height in pixels" in done.output


def test_ctrl_c_keeps_what_it_has(mjpeg_camera, tmp_path, eventually):
    program = "from nut_runtime.cameras_cli import capture; capture()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--camera", mjpeg_camera.url, "-o", str(tmp_path / "out"), "--every-ms", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: (tmp_path / "out").is_dir() and len(list((tmp_path / "out").iterdir())) >= 3, within_s=20)
        os.kill(process.pid, signal.SIGINT)
        began = time.monotonic()
        stdout, stderr = process.communicate(timeout=10)
        assert time.monotonic() - began < 2
    finally:
        process.kill()
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "stopped"
    kept = list((tmp_path / "out").iterdir())
    assert f"kept {len(kept)} of 50 pictures" in stdout
    for path in kept:
        assert read_picture(path).shape == (120, 160, 3)
