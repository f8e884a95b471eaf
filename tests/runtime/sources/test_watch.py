"""A folder that another program writes to, with real files and slow writers."""

import os
import shutil
import threading
import time

import cv2
import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.pictures import encode_png
from nut_runtime.sources import WatchSource

SETTLE_S = 0.1


def png(number: int) -> bytes:
    return encode_png(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))


class Reader:
    """Iterates over a watched folder in a thread."""

    def __init__(self, folder, *, existing=False) -> None:
        self.source = WatchSource(folder, settle_s=SETTLE_S, existing=existing)
        self.frames = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.frames.extend(self.source)  # one by one, so that each is seen at once

    @property
    def names(self) -> list[str]:
        return [frame.name for frame in self.frames]

    def wait(self, count: int, within_s: float = 5) -> list[str]:
        deadline = time.monotonic() + within_s
        while len(self.frames) < count:
            assert time.monotonic() < deadline, self.names
            time.sleep(0.005)
        return self.names

    def rest(self) -> list[str]:
        time.sleep(4 * SETTLE_S)
        return self.names


@pytest.fixture
def watch(tmp_path):
    """`watch(folder, existing=)` reads a folder until the test ends."""
    readers = []

    def begin(folder, *, existing=False) -> Reader:
        readers.append(Reader(folder, existing=existing))
        return readers[-1]

    yield begin
    for reader in readers:
        began = time.monotonic()
        reader.source.close()
        reader.thread.join(1)
        assert not reader.thread.is_alive()
        assert time.monotonic() - began < 0.5


def test_new_pictures_are_given_once_in_their_order(watch, tmp_path):
    (tmp_path / "old.png").write_bytes(png(0))
    reader = watch(tmp_path)
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.png").write_bytes(png(1))
        time.sleep(0.02)
    assert reader.wait(3) == ["b", "a", "c"]
    assert reader.rest() == ["b", "a", "c"]
    assert reader.frames[0].source == str(tmp_path / "b.png")
    assert reader.frames[0].picture.shape == (48, 64, 3)


def test_existing_pictures_come_first_when_asked_for_the_oldest_first(watch, tmp_path):
    for age, name in ((1, "new"), (3, "old"), (2, "middle")):
        (tmp_path / f"{name}.png").write_bytes(png(age))
        stamp = time.time() - 100 * age
        os.utime(tmp_path / f"{name}.png", (stamp, stamp))
    reader = watch(tmp_path, existing=True)
    assert reader.wait(3) == ["old", "middle", "new"]
    (tmp_path / "later.png").write_bytes(png(9))
    assert reader.wait(4)[-1] == "later"


def test_a_slow_writer_is_waited_for(watch, tmp_path):
    reader = watch(tmp_path)
    data = png(1)
    with (tmp_path / "slow.png").open("wb") as file:
        for start in range(0, len(data), len(data) // 8):
            file.write(data[start : start + len(data) // 8])
            file.flush()
            time.sleep(SETTLE_S / 2)
            assert reader.names == []
    reader.wait(1)
    assert reader.frames[0].error is None


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_writer_that_pauses_is_waited_for_longer(watch, tmp_path, ending):
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    data = cv2.imencode(f".{ending}", picture)[1].tobytes()
    reader = watch(tmp_path)
    with (tmp_path / f"slow.{ending}").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        assert reader.rest() == []
        file.write(data[len(data) // 2 :])
    reader.wait(1)
    assert reader.frames[0].error is None


def test_half_a_picture_that_stays_so_becomes_an_error_and_holds_up_no_other(watch, tmp_path, monkeypatch):
    monkeypatch.setattr("nut_runtime.sources.watch._PATIENCE_S", 0.5)
    reader = watch(tmp_path)
    data = png(1)
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    time.sleep(0.05)
    (tmp_path / "whole.png").write_bytes(data)
    assert reader.wait(2) == ["whole", "half"]
    assert reader.frames[0].error is None
    assert "half.png is cut off" in str(reader.frames[1].error)
    assert reader.rest() == ["whole", "half"]


def test_a_renamed_file_is_given_and_temporary_names_are_not(watch, tmp_path):
    reader = watch(tmp_path)
    for name in (".hidden.png", "~draft.png", "part.png.tmp", "notes.txt"):
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "folder.png").mkdir()
    assert reader.rest() == []
    (tmp_path / "part.png.tmp").rename(tmp_path / "part.png")
    assert reader.wait(1) == ["part"]


def test_a_file_that_is_written_again_is_a_new_picture(watch, tmp_path):
    reader = watch(tmp_path)
    for number in (1, 2):
        (tmp_path / "latest.png").write_bytes(png(number))
        reader.wait(number)
    assert reader.names == ["latest", "latest"]
    assert not np.array_equal(reader.frames[0].picture, reader.frames[1].picture)


def test_a_folder_that_vanishes_and_returns_gives_only_what_is_new(watch, tmp_path, caplog):
    folder, aside = tmp_path / "in", tmp_path / "aside"
    folder.mkdir()
    reader = watch(folder)
    (folder / "a.png").write_bytes(png(1))
    assert reader.wait(1) == ["a"]
    folder.rename(aside)
    assert reader.rest() == ["a"]
    assert "is gone" in caplog.text
    folder.mkdir()  # as an empty mount point
    reader.rest()
    folder.rmdir()
    (aside / "b.png").write_bytes(png(2))
    aside.rename(folder)
    assert reader.wait(2) == ["a", "b"]
    assert reader.rest() == ["a", "b"]
    assert "is back" in caplog.text


def test_a_new_folder_under_the_old_name_gives_its_pictures(watch, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    reader = watch(folder)
    shutil.rmtree(folder)
    time.sleep(SETTLE_S)
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    assert reader.wait(1) == ["a"]


def test_a_picture_that_is_taken_away_before_it_is_read_is_nothing(watch, tmp_path):
    reader = watch(tmp_path)
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "a.png").unlink()
    assert reader.rest() == []


def test_a_folder_that_is_not_there_at_the_start_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot watch .*none: no such file|cannot watch .*none: No such file"):
        WatchSource(tmp_path / "none")
