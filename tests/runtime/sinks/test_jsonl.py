"""Records as JSON lines: every line whole, whatever happens to the disk."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
