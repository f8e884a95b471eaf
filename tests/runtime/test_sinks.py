"""Records as JSON lines, and pictures in a folder."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nut_runtime.errors import OutputError
from nut_runtime.sinks import JsonlSink, OverlaySink, SavePolicy
from nut_runtime.sources import Frame
from nut_runtime.verdict import Label, Verdict

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")


def frame(name: str = "part") -> Frame:
    picture = np.full((40, 50, 3), 90, np.uint8)
    return Frame(source=f"/x/{name}.png", name=name, timestamp=WHEN, capture_ms=1.0, picture=picture)


def verdict(label: Label) -> Verdict:
    return Verdict(
        label=label,
        pred_score=0.7 if label is Label.DEFECT else 0.3,
        raw_score=20.0,
        anomaly_map=np.zeros((8, 10), np.float32),
        pred_mask=np.zeros((8, 10), np.bool_),
        boxes=(),
        bundle_id="nut-0",
    )


def write(path: Path, *records: dict) -> None:
    sink = JsonlSink(str(path))
    for record in records:
        sink.write(record)
    sink.close()


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_existing_file_is_continued(tmp_path):
    write(tmp_path / "a.jsonl", {"n": 1})
    write(tmp_path / "a.jsonl", {"n": 2}, {"n": 3})
    assert lines(tmp_path / "a.jsonl") == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_record_is_in_the_file_before_the_next_part(tmp_path):
    sink = JsonlSink(str(tmp_path / "a.jsonl"))
    sink.write({"n": 1})
    assert lines(tmp_path / "a.jsonl") == [{"n": 1}]
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
    write(path, {"n": 9})
    assert lines(path) == [*kept, {"n": 9}]


def test_the_folder_of_the_file_is_made(tmp_path):
    write(tmp_path / "new" / "a.jsonl", {"n": 1})
    assert lines(tmp_path / "new" / "a.jsonl") == [{"n": 1}]


def test_a_dash_writes_to_standard_output_and_leaves_it_open(capfdbinary):
    sink = JsonlSink("-")
    sink.write({"n": 1})
    sink.close()
    sink.write({"n": 2})
    assert capfdbinary.readouterr().out == b'{"n": 1}\n{"n": 2}\n'


def test_standard_output_that_is_closed_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputError, match="standard output is closed"):
        JsonlSink("-")


def test_a_pipe_can_be_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, {"n": 1})
    assert os.read(reader, 100) == b'{"n": 1}\n'
    os.close(reader)


def test_a_folder_is_no_file_to_write_to(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*Is a directory"):
        JsonlSink(str(tmp_path))


@needs_full
def test_a_full_disk_is_one_line_and_closing_does_not_raise_again():
    sink = JsonlSink("/dev/full")
    with pytest.raises(OutputError, match="cannot write to /dev/full: No space left on device"):
        sink.write({"n": 1})
    sink.close()


def test_a_disk_that_fills_up_within_a_line_leaves_no_half_of_it(tmp_path):
    path = tmp_path / "a.jsonl"
    sink = JsonlSink(str(path))
    sink.write({"n": 1})
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
        sink.write({"n": 2})
    sink.close()
    assert path.read_bytes() == b'{"n": 1}\n'


@pytest.mark.parametrize(
    ("policy", "saved"),
    [(SavePolicy.ALL, {str(label) for label in Label}), (SavePolicy.DEFECTS, {"defect"}), (SavePolicy.NONE, set())],
)
def test_the_policy_chooses_what_is_saved(tmp_path, policy, saved):
    sink = OverlaySink(tmp_path / "out", policy)
    paths = {str(label): sink.save(frame(), verdict(label), 1) for label in Label}
    assert {label for label, path in paths.items() if path is not None} == saved
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths.values() if path}


def test_a_name_tells_time_number_verdict_and_frame(tmp_path):
    path = OverlaySink(tmp_path, SavePolicy.ALL).save(frame("part"), verdict(Label.DEFECT), 17)
    assert path == tmp_path / "20260102T030405-000017-defect-part.png"


def test_the_saved_picture_can_be_opened(tmp_path):
    path = OverlaySink(tmp_path, SavePolicy.ALL).save(frame(), verdict(Label.GOOD), 1)
    drawn = cv2.imread(str(path))
    assert drawn is not None
    assert drawn.shape[0] > 256


def test_frames_of_one_name_do_not_overwrite_each_other(tmp_path):
    sink = OverlaySink(tmp_path, SavePolicy.ALL)
    paths = [sink.save(frame(), verdict(Label.GOOD), number) for number in (1, 2, 3)]
    assert len(set(paths)) == len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "a/b", "a\\b", "..", ".", "", "a\0b", "x" * 300, "größe 螺母", "C:x", "a\nb"]
)
def test_no_frame_name_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "out"
    path = OverlaySink(folder, SavePolicy.ALL).save(frame(name), verdict(Label.GOOD), 1)
    assert path is not None
    assert path.parent == folder
    assert [there.resolve() for there in folder.iterdir()] == [path.resolve()]
    assert sorted(there.name for there in tmp_path.iterdir()) == ["out"]
    assert path.name.isascii()


def test_a_frame_without_a_picture_is_not_saved(tmp_path):
    lost = Frame(source="x", name="x", timestamp=WHEN, capture_ms=1.0)
    assert OverlaySink(tmp_path, SavePolicy.ALL).save(lost, verdict(Label.DEFECT), 1) is None


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"cannot make the folder .*out"):
        OverlaySink(tmp_path / "out", SavePolicy.ALL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where even root cannot write")
def test_a_folder_that_cannot_be_written_is_refused_before_the_first_reject():
    with pytest.raises(OutputError, match="cannot write to the folder /proc"):
        OverlaySink(Path("/proc"), SavePolicy.DEFECTS)
