"""Records as JSON lines: every line whole, whatever happens to the disk."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.sinks.jsonl import JsonlJournal

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")


def record(number: int) -> dict:
    """What a journal looks at of a record."""
    return {"id": f"run-{number}", "sequence": number}


def part(number: int) -> SimpleNamespace:
    return SimpleNamespace(record=record(number))


def text(number: int) -> bytes:
    return json.dumps(record(number)).encode() + b"\n"


def write(path: Path, *records: dict) -> None:
    sink = JsonlJournal(str(path))
    for one in records:
        sink.write(SimpleNamespace(record=one))
    sink.close()


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_existing_file_is_continued(tmp_path):
    write(tmp_path / "a.jsonl", record(1))
    write(tmp_path / "a.jsonl", record(2), record(3))
    assert lines(tmp_path / "a.jsonl") == [record(1), record(2), record(3)]


def test_a_record_is_in_the_file_before_the_next_part(tmp_path):
    sink = JsonlJournal(str(tmp_path / "a.jsonl"))
    sink.write(part(1))
    assert lines(tmp_path / "a.jsonl") == [record(1)]
    sink.close()


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        pytest.param(b'{"n": 1}\n{"n": 2', [{"n": 1}], id="half-the-last-line"),
        pytest.param(b'{"n": 1', [], id="half-the-only-line"),
        pytest.param(b'{"n": 1}\n' + b"x" * 200_000, [{"n": 1}], id="half-a-long-line"),
        pytest.param(b'{"n": 1}\n', [{"n": 1}], id="whole"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_half_a_last_line_is_cut_off(tmp_path, before, kept):
    path = tmp_path / "a.jsonl"
    path.write_bytes(before)
    write(path, record(9))
    assert lines(path) == [*kept, record(9)]


def test_the_folder_of_the_file_is_made(tmp_path):
    write(tmp_path / "new" / "a.jsonl", record(1))
    assert lines(tmp_path / "new" / "a.jsonl") == [record(1)]


def test_a_dash_writes_to_standard_output_and_leaves_it_open(capfdbinary):
    sink = JsonlJournal("-")
    sink.write(part(1))
    sink.close()
    sink.write(part(2))
    assert capfdbinary.readouterr().out == text(1) + text(2)


def test_standard_output_that_is_closed_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputError, match="standard output is closed"):
        JsonlJournal("-")


@pytest.fixture
def small_pipe() -> Iterator[tuple[int, IO[str]]]:
    """A pipe of a page, of which neither end waits: the end to read from, and the other as standard output."""
    fcntl = pytest.importorskip("fcntl")
    reader, writer = os.pipe()
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("the size of a pipe is set on Linux only")
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    with os.fdopen(writer, "w") as output:
        yield reader, output
    os.close(reader)


def taken(reader: int) -> bytes:
    found = b""
    with suppress(BlockingIOError):
        while True:
            found += os.read(reader, 65536)
    return found


def long_part(number: int) -> SimpleNamespace:
    """A part whose record is more than a pipe takes at once."""
    return SimpleNamespace(record={**record(number), "views": "x" * 6000})


@pytest.mark.timeout(30)
def test_a_pipe_that_was_full_has_each_record_once_and_whole_however_often_it_was_offered(small_pipe, monkeypatch):
    reader, output = small_pipe
    monkeypatch.setattr(sys, "stdout", output)
    sink, found, refusals = JsonlJournal("-"), b"", []
    for number in range(1, 6):
        offers = 0
        while True:  # the keeper offers a record again until it is taken
            try:
                sink.write(long_part(number))
                break
            except OutputError as error:
                refusals.append(str(error))
            offers += 1
            if offers > 2:
                found += taken(reader)
    found += taken(reader)
    sink.close()  # with the rest of the last line
    found += taken(reader)
    monkeypatch.undo()
    assert len(refusals) > 3
    assert all("cannot write to standard output" in one for one in refusals)
    assert [json.loads(line) for line in found.splitlines()] == [long_part(number).record for number in range(1, 6)]


def test_a_line_whose_rest_cannot_be_written_is_told_when_closing(small_pipe, monkeypatch, caplog):
    reader, output = small_pipe
    monkeypatch.setattr(sys, "stdout", output)
    sink = JsonlJournal("-")
    sink.write(long_part(1))
    sink.close()
    monkeypatch.undo()
    assert len(taken(reader)) == 4096
    assert "the last line is cut off" in caplog.text


@needs_full
def test_a_record_that_a_full_disk_did_not_take_is_on_standard_output_once_when_there_is_room(tmp_path, monkeypatch):
    path = tmp_path / "out"
    with Path("/dev/full").open("w") as output, path.open("wb") as room:
        monkeypatch.setattr(sys, "stdout", output)
        sink = JsonlJournal("-")
        for _ in range(3):
            with pytest.raises(OutputError, match="cannot write to standard output: No space left"):
                sink.write(part(1))
        os.dup2(room.fileno(), output.fileno())
        sink.write(part(1))
        sink.close()
        monkeypatch.undo()
    assert path.read_bytes() == text(1)


def test_what_was_printed_before_comes_before_the_records(tmp_path, monkeypatch):
    with (tmp_path / "out").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        output.write("first\n")
        JsonlJournal("-").write(part(1))
        monkeypatch.undo()
    assert (tmp_path / "out").read_bytes() == b"first\n" + text(1)


def test_a_standard_output_in_memory_is_written_to_as_well(capsys):
    JsonlJournal("-").write(part(1))
    assert capsys.readouterr().out.encode() == text(1)


def test_a_pipe_can_be_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, record(1))
    assert os.read(reader, 100) == text(1)
    os.close(reader)


def test_a_folder_is_no_file_to_write_to(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*Is a directory"):
        JsonlJournal(str(tmp_path))


@needs_full
def test_a_full_disk_is_one_line_and_closing_does_not_raise_again():
    sink = JsonlJournal("/dev/full")
    with pytest.raises(OutputError, match="cannot write to /dev/full: No space left on device"):
        sink.write(part(1))
    sink.close()


def test_a_disk_that_fills_up_within_a_line_leaves_no_half_of_it(tmp_path):
    path = tmp_path / "a.jsonl"
    sink = JsonlJournal(str(path))
    sink.write(part(1))
    real = sink._file._file

    class Full:
        """Takes five bytes, then none."""

        def __init__(self) -> None:
            self.room = 5

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            written = real.write(data[: self.room])
            self.room -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    sink._file._file = Full()
    with pytest.raises(OutputError, match="No space left"):
        sink.write(part(2))
    sink.close()
    assert path.read_bytes() == text(1)
