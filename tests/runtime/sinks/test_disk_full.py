"""A small disk of its own that is full or read-only: nothing half-written, and on it goes when there is room."""

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import cv2
import pytest

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.sinks.csv_file import CsvJournal
from nut_runtime.sinks.jsonl import JsonlJournal
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.pictures import PictureSink
from nut_runtime.sinks.sqlite import SqliteJournal
from nut_runtime.station_file.config import PicturesConfig, SavePolicy

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root can mount a small disk to fill"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read-only"
    folder.mkdir()
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a folder read-only here")
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def in_jsonl(path: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in path.read_text().splitlines()]


def in_csv(path: Path) -> list[int]:
    return [int(row["sequence"]) for row in csv.DictReader(path.read_text().splitlines(), strict=True)]


def in_database(path: Path, statement: str = "SELECT sequence FROM parts ORDER BY number") -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute(statement)]


def in_outbox(path: Path) -> list[int]:
    return in_database(path, "SELECT json_extract(record, '$.sequence') FROM records ORDER BY number")


class Nobody:
    """A destination that is never there."""

    name, batch = "mqtt", 10

    def deliver(self, records: Any) -> int:
        raise OutputError("nobody there")

    def close(self) -> None:
        """Nothing is open."""


KINDS = [
    pytest.param(lambda path: JsonlJournal(str(path)), in_jsonl, id="jsonl"),
    pytest.param(CsvJournal, in_csv, id="csv"),
    pytest.param(SqliteJournal, in_database, id="sqlite"),
    pytest.param(lambda path: Outbox(path, [Nobody()], Health(), flush_s=0.1), in_outbox, id="outbox"),
]


def written_until_full(journal: Any, judged_part: Callable) -> int:
    """Write parts until one fails; return the number of the last one that was kept."""
    for number in range(1, 100_000):
        try:
            journal.write(judged_part(number))
        except OutputError as error:
            assert re.search("cannot write .*(No space left|disk is full|disk I/O)", str(error))  # noqa: PT017 - counted
            return number - 1
    pytest.fail("the disk never filled up")


@pytest.mark.parametrize(("open_journal", "numbers"), KINDS)
def test_a_full_disk_halves_no_record_and_the_part_is_kept_when_there_is_room(
    open_journal: Callable, numbers: Callable, judged_part, small_disk
):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    path = small_disk / "verdicts"
    journal = open_journal(path)
    number = written_until_full(journal, judged_part)
    assert numbers(path) == list(range(1, number + 1))
    for _ in range(3):  # it is offered again and again
        with pytest.raises(OutputError):
            journal.write(judged_part(number + 1))
    ballast.unlink()
    for more in range(1, 21):
        journal.write(judged_part(number + more))
    assert journal.last_sequence() == number + 20
    journal.close()
    assert numbers(path) == list(range(1, number + 21))
    again = open_journal(path)
    assert again.last_sequence() == number + 20
    again.close()


@pytest.mark.parametrize(("open_journal", "numbers"), KINDS)
def test_a_read_only_folder_is_one_line_at_the_start(open_journal: Callable, numbers: Callable, read_only):
    with pytest.raises(OutputError, match="Read-only file system"):
        open_journal(read_only / "verdicts")
    with pytest.raises(OutputError, match="Read-only file system"):
        open_journal(read_only / "new" / "verdicts")


@pytest.mark.parametrize(
    ("least_free_mb", "message"),
    [pytest.param(0, "less than 0 MB free", id="seen-before"), pytest.param(-1000, "No space left", id="found-out")],
)
def test_a_full_disk_halves_no_picture_and_the_next_is_saved_when_there_is_room(
    judged_part, small_disk, least_free_mb, message
):
    sink = PictureSink(PicturesConfig(folder=small_disk / "out", save=SavePolicy.ALL, least_free_mb=least_free_mb))
    path = small_disk / "out" / "20261124T120001-000001-good-front.png"
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(OutputError, match=message):
        sink.hear(judged_part(1, picture=str(path)))
    assert list(path.parent.iterdir()) == []
    ballast.unlink()
    sink.hear(judged_part(1, picture=str(path)))
    assert sink.recent(5) == [path]
    assert cv2.imread(str(path)) is not None


def test_a_folder_that_becomes_read_only_and_writable_again_costs_only_the_pictures_between(judged_part, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a folder read-only here")
    try:
        sink = PictureSink(PicturesConfig(folder=folder, save=SavePolicy.ALL, least_free_mb=0))
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        name = "20261124T120001-000001-good-front.png"
        with pytest.raises(OutputError, match="Read-only file system"):
            sink.hear(judged_part(1, picture=str(folder / name)))
        subprocess.run(["mount", "-o", "remount,rw,bind", folder], check=True)
        sink.hear(judged_part(1, picture=str(folder / name)))
        assert [path.name for path in folder.iterdir()] == [name]
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
