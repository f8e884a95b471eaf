"""The loop that runs on the line: nothing that was judged is lost, whatever happens next."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from nut_runtime import Inspector
from nut_runtime.errors import EngineError, OutputError, PictureError, SourceError
from nut_runtime.sinks import JsonlSink, OverlaySink, SavePolicy
from nut_runtime.sources import Frame, PictureSource
from nut_runtime.station import Summary, run_station

# DESIGN.md, "Verdict record"; a change here breaks whoever reads the file and needs a new schema number.
RECORD_KEYS = [
    "schema",
    "timestamp",
    "sequence",
    "source",
    "bundle",
    "label",
    "pred_score",
    "raw_score",
    "rejudged",
    "ms",
    "boxes",
    "picture",
]
FAILURE_KEYS = ["schema", "timestamp", "sequence", "source", "bundle", "label", "error"]


@pytest.fixture(scope="module")
def inspector(bundle_folder) -> Inspector:
    return Inspector(bundle_folder)


@pytest.fixture(scope="module")
def good(inspector) -> np.ndarray:
    return inspector.bundle.golden_frame(inspector.bundle.manifest.golden[0])


@pytest.fixture(scope="module")
def bad(inspector) -> np.ndarray:
    return inspector.bundle.golden_frame(inspector.bundle.manifest.golden[-1])


class Scripted:
    """A source that gives frames, failures and exceptions as it is told."""

    def __init__(self, *steps: object) -> None:
        self.steps = steps
        self.given = 0
        self.is_closed = False
        self.count: int | None = None

    def __iter__(self) -> Iterator[Frame]:
        for number, step in enumerate(self.steps, start=1):
            if isinstance(step, BaseException) and not isinstance(step, PictureError):
                raise step
            self.given += 1
            failed = isinstance(step, PictureError)
            yield Frame(
                source=f"scripted {number}",
                name=f"frame{number}",
                timestamp=datetime(2026, 1, 2, 3, 4, number, tzinfo=UTC),
                capture_ms=1.5,
                picture=None if failed else step,
                error=step if failed else None,
            )

    def close(self) -> None:
        self.is_closed = True


def run(source: Scripted, inspector: Inspector, folder: Path, **options: object) -> tuple[Summary, list[dict]]:
    """Run with a JSON-lines file; return the summary and the records."""
    path = folder / "verdicts.jsonl"
    records = JsonlSink(str(path))
    try:
        summary = run_station(source, inspector, records=records, **options)
    finally:
        records.close()
    return summary, read(folder)


def read(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]


def test_parts_and_rejects_are_counted(inspector, good, bad, tmp_path):
    source = Scripted(good, bad, good)
    summary, records = run(source, inspector, tmp_path)
    assert (summary.parts, summary.rejects, summary.failures, summary.is_stopped) == (3, 1, [], False)
    assert [record["label"] for record in records] == ["good", "defect", "good"]
    assert [record["sequence"] for record in records] == [1, 2, 3]
    assert len(summary.latencies_ms) == 3
    assert source.is_closed


def test_a_record_has_the_documented_keys(inspector, bad, tmp_path):
    _, (record,) = run(Scripted(bad), inspector, tmp_path)
    assert list(record) == RECORD_KEYS
    assert record["schema"] == 1
    assert record["timestamp"] == "2026-01-02T03:04:01.000+00:00"
    assert record["source"] == "scripted 1"
    assert record["bundle"] == inspector.bundle.manifest.bundle_id
    assert record["picture"] is None
    assert list(record["ms"]) == ["capture", "infer", "decide"]
    assert record["ms"]["capture"] == 1.5
    for box in record["boxes"]:
        assert list(box) == ["x", "y", "width", "height", "peak"]
    golden = inspector.bundle.manifest.golden[-1]
    # Rounded to 6 digits, and the engine's own difference; see test_engines.py.
    assert record["pred_score"] == pytest.approx(golden.pred_score, abs=1e-5)
    assert record["raw_score"] == pytest.approx(golden.raw_score, rel=1e-5)


def test_a_failure_in_the_middle_is_recorded_and_the_next_part_follows(inspector, good, tmp_path):
    told: list[str] = []
    source = Scripted(good, PictureError("frame 2 is broken"), good)
    summary, records = run(source, inspector, tmp_path, on_failure=told.append)
    assert (summary.parts, summary.failures) == (2, ["frame 2 is broken"])
    assert told == ["frame 2 is broken"]
    assert list(records[1]) == FAILURE_KEYS
    assert (records[1]["label"], records[1]["error"]) == (None, "frame 2 is broken")
    assert [record["sequence"] for record in records] == [1, 2, 3]


def test_a_frame_that_cannot_be_judged_is_a_failure_as_well(inspector, good, tmp_path):
    summary, records = run(Scripted(np.zeros((3, 3, 3), np.uint8), good), inspector, tmp_path)
    assert (summary.parts, len(summary.failures)) == (1, 1)
    assert "too small" in records[0]["error"]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_limit_stops_before_the_next_frame_is_taken(inspector, good, tmp_path, limit):
    source = Scripted(good, good, good)
    summary, records = run(source, inspector, tmp_path, limit=limit)
    assert summary.parts == len(records) == source.given == limit
    assert source.is_closed


def test_a_failure_counts_towards_the_limit(inspector, good, tmp_path):
    source = Scripted(PictureError("broken"), good, good)
    summary, _ = run(source, inspector, tmp_path, limit=2)
    assert (summary.parts, len(summary.failures), source.given) == (1, 1, 2)


def test_a_source_that_breaks_off_keeps_what_came_before(inspector, good, tmp_path):
    source = Scripted(good, good, SourceError("camera 0 stopped delivering"), good)
    summary, records = run(source, inspector, tmp_path)
    assert (summary.parts, summary.failures) == (2, ["camera 0 stopped delivering"])
    assert len(records) == 2
    assert source.is_closed


def test_ctrl_c_keeps_what_was_written(inspector, good, bad, tmp_path):
    source = Scripted(good, bad, KeyboardInterrupt(), good)
    summary, records = run(source, inspector, tmp_path)
    assert (summary.parts, summary.rejects, summary.is_stopped) == (2, 1, True)
    assert [record["label"] for record in records] == ["good", "defect"]
    assert source.is_closed


def test_an_engine_that_fails_ends_the_run_and_closes_the_source(bundle_folder, good, tmp_path, monkeypatch):
    inspector = Inspector(bundle_folder)
    source = Scripted(good, good)

    def fails(_: np.ndarray) -> None:
        raise EngineError("out of memory")

    monkeypatch.setattr(inspector.engine, "infer", fails)
    with pytest.raises(EngineError, match="out of memory"):
        run(source, inspector, tmp_path)
    assert source.is_closed


def test_a_sink_that_fails_ends_the_run_with_earlier_records_kept(inspector, good, tmp_path, monkeypatch):
    source = Scripted(good, good, good)
    write = JsonlSink.write

    def full_at_the_second(sink: JsonlSink, record: dict) -> None:
        if record["sequence"] == 2:
            raise OutputError("no space left")
        write(sink, record)

    monkeypatch.setattr(JsonlSink, "write", full_at_the_second)
    with pytest.raises(OutputError, match="no space left"):
        run(source, inspector, tmp_path)
    assert [record["sequence"] for record in read(tmp_path)] == [1]
    assert (source.given, source.is_closed) == (2, True)


def test_the_record_names_the_saved_picture(inspector, good, bad, tmp_path):
    overlays = OverlaySink(tmp_path / "out", SavePolicy.DEFECTS)
    _, records = run(Scripted(good, bad), inspector, tmp_path, overlays=overlays)
    (saved,) = (tmp_path / "out").iterdir()
    assert [record["picture"] for record in records] == [None, str(saved)]


def test_whoever_listens_hears_of_each_part(inspector, good, bad, tmp_path):
    heard: list[tuple[str, bool]] = []
    run_station(
        Scripted(good, bad), inspector, on_part=lambda frame, verdict: heard.append((frame.name, verdict.is_defective))
    )
    assert heard == [("frame1", False), ("frame2", True)]


def test_an_empty_source_is_a_run_of_no_parts(inspector, tmp_path):
    summary, records = run(Scripted(), inspector, tmp_path)
    assert (summary.parts, records) == (0, [])
    assert np.isnan(summary.percentile_ms(50))


def test_a_percentile_is_that_of_the_latencies():
    assert Summary(latencies_ms=[1.0, 2.0, 3.0, 4.0]).percentile_ms(50) == 2.5


def test_a_verdict_is_recorded_even_when_its_picture_cannot_be_saved(bundle_folder, tmp_path):
    class FullDisk:
        def save(self, frame, verdict, sequence):
            raise OutputError("no space left")

    records = JsonlSink(str(tmp_path / "verdicts.jsonl"))
    picture = next((bundle_folder / "golden").glob("*.png"))
    with pytest.raises(OutputError, match="no space left"):
        run_station(PictureSource([picture]), Inspector(bundle_folder), records=records, overlays=FullDisk())
    records.close()
    (line,) = (tmp_path / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["label"] in {"good", "defect"}
    assert json.loads(line)["picture"] is None
