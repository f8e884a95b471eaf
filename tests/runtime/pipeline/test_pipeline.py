"""What runs on the line: each part gets one record and one answer, in order, whatever fails."""

import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from nut_runtime import Inspector
from nut_runtime.errors import EngineError, OutputError, PictureError, SourceError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart, Part, Trigger
from nut_runtime.pipeline import Pipeline, Summary
from nut_runtime.pipeline.judge import Judge
from nut_runtime.pipeline.pipeline import Rules
from nut_runtime.sources.base import Frame
from nut_runtime.station_file.config import WhenBusy
from nut_runtime.verdict import Label, Reason

# docs/runtime.md, "A verdict record"; a change here breaks whoever reads the records and needs a new schema number.
RECORD_KEYS = [
    "schema",
    "id",
    "timestamp",
    "sequence",
    "station",
    "source",
    "trigger",
    "bundle",
    "label",
    "reason",
    "error",
    "pred_score",
    "raw_score",
    "rejudged",
    "masked",
    "boxes",
    "ms",
    "picture",
    "skipped",
    "warnings",
]


class Scripted:
    """Parts of frames, failures and exceptions as told; None waits to be stopped."""

    count = None

    def __init__(self, *steps: object, answer=None) -> None:
        self.steps, self.answer = steps, answer
        self.given, self.closed = 0, 0
        self.stopped = threading.Event()

    def __iter__(self) -> Iterator[Part]:
        for number, step in enumerate(self.steps, start=1):
            if step is None:
                self.stopped.wait()
                return
            if isinstance(step, Exception) and not isinstance(step, PictureError):
                raise step
            failed = isinstance(step, PictureError)
            frame = Frame(
                source=f"scripted {number}",
                name=f"frame{number}",
                timestamp=datetime(2026, 1, 2, 3, 4, number % 60, tzinfo=UTC),
                capture_ms=1.5,
                picture=None if failed else step,
                error=step if failed else None,
            )
            self.given += 1
            yield Part(sequence=0, trigger=Trigger(name=str(number), answer=self.answer), frames=(frame,))

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed += 1


class Kept:
    """A journal in memory that fails for the sequence numbers it is told."""

    def __init__(self, *failing: int, last: int = 0, name: str = "kept") -> None:
        self.records: list[dict] = []
        self.failing, self.last, self.name = set(failing), last, name
        self.is_closed = False

    def write(self, part: JudgedPart) -> None:
        if part.sequence in self.failing:
            raise OutputError("no space left")
        self.records.append(part.record)

    def last_sequence(self) -> int:
        return self.last

    def close(self) -> None:
        self.is_closed = True

    @property
    def numbers(self) -> list[int]:
        return [record["sequence"] for record in self.records]


@pytest.fixture(scope="module")
def inspector(bundle_folder) -> Inspector:
    return Inspector(bundle_folder, threads=2, streams=3)


@pytest.fixture(scope="module")
def good(inspector) -> np.ndarray:
    return inspector.bundle.golden_frame(inspector.bundle.manifest.golden[0])


@pytest.fixture(scope="module")
def bad(inspector) -> np.ndarray:
    return inspector.bundle.golden_frame(inspector.bundle.manifest.golden[-1])


@pytest.fixture
def line(inspector):
    """A function that builds a pipeline over scripted sources."""

    def build(*sources: Scripted, model=inspector, rules: dict | None = None, **options: object) -> Pipeline:
        told = {"station": "line 3", "bundle": lambda: inspector.bundle.manifest.bundle_id, **(rules or {})}
        health = Health()
        return Pipeline(sources, Judge(lambda: model, health=health), Rules(**told), health=health, **options)

    return build


@pytest.mark.parametrize("streams", [1, 3])
def test_parts_are_counted_and_kept_in_order(line, good, bad, streams):
    source, kept = Scripted(good, bad, good, bad, good), Kept()
    summary = line(source, journals=[kept], streams=streams).run()
    assert (summary.parts, summary.rejects, summary.failures, summary.is_stopped) == (5, 2, [], False)
    assert [record["label"] for record in kept.records] == ["good", "defect", "good", "defect", "good"]
    assert kept.numbers == [1, 2, 3, 4, 5]
    assert len(summary.latencies_ms) == 5
    assert source.closed
    assert kept.is_closed


def test_a_record_has_the_documented_keys(line, inspector, bad):
    kept = Kept()
    line(Scripted(bad), journals=[kept]).run()
    (record,) = kept.records
    assert list(record) == RECORD_KEYS
    assert record["schema"] == 2
    assert record["timestamp"] == "2026-01-02T03:04:01.000+00:00"
    assert (record["source"], record["trigger"], record["station"]) == ("scripted 1", "1", "line 3")
    assert record["bundle"] == inspector.bundle.manifest.bundle_id
    assert (record["picture"], record["reason"], record["error"]) == (None, None, "")
    assert list(record["ms"]) == ["capture", "wait", "infer", "decide", "total"]
    assert record["ms"]["capture"] == 1.5
    assert record["ms"]["total"] >= record["ms"]["infer"]
    for box in record["boxes"]:
        assert list(box) == ["x", "y", "width", "height", "peak"]
    golden = inspector.bundle.manifest.golden[-1]
    # Rounded to 6 digits, and the engine's own difference; see test_engines.py.
    assert record["pred_score"] == pytest.approx(golden.pred_score, abs=1e-5)
    assert record["raw_score"] == pytest.approx(golden.raw_score, rel=1e-5)


def test_ids_differ_between_parts_and_runs_and_numbers_go_on(line, good):
    first, second = Kept(), Kept(last=2)
    line(Scripted(good, good), journals=[first]).run()
    line(Scripted(good, good), journals=[Kept(last=1, name="other"), second]).run()
    assert second.numbers == [3, 4]
    assert len({record["id"] for record in first.records + second.records}) == 4


@pytest.mark.parametrize("streams", [1, 3])
def test_a_failure_in_the_middle_is_recorded_and_the_next_part_follows(line, good, streams):
    told: list[str] = []
    kept = Kept()
    source = Scripted(good, PictureError("frame 2 is broken"), good)
    summary = line(source, journals=[kept], streams=streams).run(on_failure=told.append)
    assert (summary.parts, summary.failures, told) == (2, ["frame 2 is broken"], ["frame 2 is broken"])
    assert (kept.records[1]["label"], kept.records[1]["reason"]) == ("no-verdict", "broken")
    assert kept.records[1]["pred_score"] is None
    assert kept.numbers == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("streams", [1, 3])
def test_the_limit_takes_no_frame_more_from_the_source(line, good, limit, streams):
    source = Scripted(PictureError("broken"), good, good)
    summary = line(source, limit=limit, streams=streams).run()
    assert summary.parts + summary.failed == source.given == limit
    assert not summary.is_stopped


def test_the_limit_ends_sources_that_wait(line, good):
    sources = [Scripted(good, good, None), Scripted(None)]
    assert line(*sources, limit=2).run().parts == 2


@pytest.mark.parametrize("streams", [1, 3])
def test_a_source_that_breaks_off_keeps_what_came_before(line, good, streams):
    kept = Kept()
    source = Scripted(good, good, SourceError("the video broke off"), good)
    summary = line(source, journals=[kept], streams=streams).run()
    assert (summary.parts, summary.failures) == (2, ["the video broke off"])
    assert kept.numbers == [1, 2]
    assert source.closed


def test_a_defect_in_a_source_shows_after_everything_before_it_was_kept(line, good):
    kept = Kept()
    with pytest.raises(ZeroDivisionError):
        line(Scripted(good, ZeroDivisionError()), journals=[kept]).run()
    assert kept.numbers == [1]


def test_several_sources_share_one_model_and_one_count(line, good, bad):
    kept = Kept()
    summary = line(Scripted(good, good, good), Scripted(bad, bad), journals=[kept]).run()
    assert (summary.parts, summary.rejects) == (5, 2)
    assert kept.numbers == [1, 2, 3, 4, 5]


def test_a_trigger_is_answered_once_with_its_record_after_it_was_kept(line, good, bad):
    kept = Kept()
    answers: list[tuple[str, str, int]] = []

    def answer(record) -> None:
        answers.append((record["trigger"], record["label"], len(kept.records)))

    line(Scripted(good, bad, PictureError("torn"), answer=answer), journals=[kept]).run()
    assert answers == [("1", "good", 1), ("2", "defect", 2), ("3", "no-verdict", 3)]


def test_an_answer_that_is_wrong_in_itself_stops_nobody(line, good, caplog):
    def answer(_record) -> None:
        raise ZeroDivisionError

    assert line(Scripted(good, good, answer=answer)).run().parts == 2
    assert "ZeroDivisionError" in caplog.text


def test_a_station_outlives_a_journal_that_fails_and_tells_no_good_part_without_a_trace(line, good):
    answers: list[tuple[str, str | None]] = []
    failing, well = Kept(2), Kept(name="well")
    source = Scripted(good, good, good, answer=lambda record: answers.append((record["label"], record["reason"])))
    pipeline = line(source, journals=[failing, well])
    summary = pipeline.run()
    assert answers[:2] == [("good", None), ("no-verdict", "not-kept")]
    assert well.numbers == [1, 2, 3]
    assert [record["label"] for record in well.records] == ["good"] * 3
    # number 2 can never be kept here; 3 waits behind it, for the order is kept
    assert (failing.numbers, summary.unkept) == ([1], 2)
    assert "2 records could not be kept" in summary.failures[-1]


def test_elsewhere_a_journal_that_fails_ends_the_run_with_earlier_records_kept(line, good):
    kept, source = Kept(2), Scripted(good, good, good, good, good, good, good)
    with pytest.raises(OutputError, match="no space left"):
        line(source, journals=[kept], is_station=False, queue_size=1).run()
    assert kept.numbers == [1]
    assert (source.closed, kept.is_closed) == (1, True)
    assert source.given < 7


def _failing(bundle_folder, monkeypatch) -> Inspector:
    inspector = Inspector(bundle_folder)

    def fails(_: np.ndarray) -> None:
        raise EngineError("out of memory")

    monkeypatch.setattr(inspector.engine, "infer", fails)
    return inspector


def test_a_station_outlives_an_engine_that_fails_and_says_so_of_each_part(line, bundle_folder, good, monkeypatch):
    kept = Kept()
    pipeline = line(Scripted(good, good), model=_failing(bundle_folder, monkeypatch), journals=[kept])
    summary = pipeline.run()
    assert summary.without_verdict == {Reason.FAILED: 2}
    assert [record["error"] for record in kept.records] == ["out of memory"] * 2
    assert not pipeline.health.components()["engine"].is_well


def test_elsewhere_an_engine_that_fails_ends_the_run(line, bundle_folder, good, monkeypatch):
    source = Scripted(good, good)
    with pytest.raises(EngineError, match="out of memory"):
        line(source, model=_failing(bundle_folder, monkeypatch), is_station=False).run()
    assert source.closed


class Ear:
    """A listener."""

    name = "ear"

    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[int] = []
        self.error, self.is_closed = error, False

    def hear(self, part: JudgedPart) -> None:
        if self.error is not None:
            raise self.error
        self.heard.append(part.sequence)

    def close(self) -> None:
        self.is_closed = True


def test_listeners_hear_of_each_part(line, good, bad):
    ear = Ear()
    seen: list[Label] = []
    line(Scripted(good, bad), listeners=[ear]).run(on_part=lambda part: seen.append(part.label))
    assert ear.heard == [1, 2]
    assert ear.is_closed
    assert seen == [Label.GOOD, Label.DEFECT]


def test_a_verdict_is_recorded_even_where_its_picture_cannot_be_saved(line, good):
    kept = Kept()
    with pytest.raises(OutputError, match="no space left"):
        line(Scripted(good), journals=[kept], listeners=[Ear(OutputError("no space left"))], is_station=False).run()
    assert kept.numbers == [1]


def test_views_combine_and_warnings_and_pictures_are_in_the_record(line, good):
    kept = Kept()
    rules = {
        "combine": lambda _views: (Label.REVIEW, None),
        "watch": lambda _view: ("darker than usual",),
        "picture": lambda sequence, label, _frame: f"{sequence}-{label}.png",
    }
    summary = line(Scripted(good), journals=[kept], rules=rules).run()
    (record,) = kept.records
    assert (record["label"], record["warnings"], record["picture"]) == ("review", ["darker than usual"], "1-review.png")
    assert summary.reviews == 1


class Slow:
    """Takes its time for each frame."""

    locator = None

    def __init__(self, inspector: Inspector, seconds: float) -> None:
        self.inspector, self.seconds = inspector, seconds
        self.bundle = inspector.bundle

    def warm_up(self, height: int, width: int) -> None:
        pass

    def inspect(self, frame: np.ndarray):
        time.sleep(self.seconds)
        return self.inspector.inspect(frame)


def test_a_line_faster_than_the_engine_drops_the_oldest_and_records_each(line, inspector, good):
    kept = Kept()
    pipeline = line(
        Scripted(*[good] * 20),
        model=Slow(inspector, 0.02),
        journals=[kept],
        when_busy=WhenBusy.DROP_OLDEST,
        queue_size=2,
    )
    summary = pipeline.run()
    assert kept.numbers == list(range(1, 21))
    dropped = [record["sequence"] for record in kept.records if record["reason"] == "dropped"]
    assert summary.without_verdict == {Reason.DROPPED: len(dropped)}
    assert 10 <= len(dropped) < 20
    assert dropped[-1] < 19  # the youngest two were judged
    assert pipeline.health.counters()["no_verdict_dropped"] == len(dropped)


@pytest.mark.parametrize("streams", [1, 3])
def test_told_to_stop_it_judges_what_waits_and_ends(line, good, streams):
    kept = Kept()
    pipeline = line(Scripted(good, good, good, None), journals=[kept], streams=streams)
    threading.Timer(0.3, pipeline.stop).start()
    started = time.perf_counter()
    summary = pipeline.run()
    assert time.perf_counter() - started < 2.0
    assert (summary.parts, summary.is_stopped, kept.numbers) == (3, True, [1, 2, 3])


def test_what_cannot_be_judged_in_the_time_left_is_recorded_without_a_verdict(line, inspector, good, monkeypatch):
    monkeypatch.setattr("nut_runtime.pipeline.pipeline._DRAIN_S", 0.2)
    kept = Kept()
    pipeline = line(Scripted(*[good] * 8, None), model=Slow(inspector, 0.25), journals=[kept], queue_size=10)
    threading.Timer(0.1, pipeline.stop).start()
    started = time.perf_counter()
    summary = pipeline.run()
    assert time.perf_counter() - started < 2.0
    assert kept.numbers == list(range(1, 9))
    assert summary.without_verdict[Reason.DROPPED] >= 3
    assert kept.records[-1]["reason"] == "dropped"


class Waiting(Scripted):
    """A triggered camera that is away: gives its part only once it is closed."""

    def __init__(self, good: np.ndarray, answer) -> None:
        super().__init__(good, answer=answer)
        self.is_let_go = threading.Event()

    def __iter__(self) -> Iterator[Part]:
        for part in super().__iter__():
            self.is_let_go.wait()
            yield part

    def close(self) -> None:
        super().close()
        self.is_let_go.set()


def test_a_trigger_that_was_taken_up_is_recorded_and_answered_though_the_station_stops(line, good):
    kept, answers = Kept(), []
    source = Waiting(good, lambda record: answers.append(record["label"]))
    pipeline = line(source, journals=[kept])
    threading.Timer(0.1, pipeline.stop).start()
    started = time.perf_counter()
    pipeline.run()
    assert time.perf_counter() - started < 3.0
    assert (kept.numbers, len(answers)) == ([1], 1)


class Hanging(Slow):
    """Never comes back."""

    def inspect(self, frame: np.ndarray):
        threading.Event().wait()


def test_an_engine_that_hangs_can_be_stopped_and_its_parts_are_recorded(line, inspector, good, monkeypatch):
    monkeypatch.setattr("nut_runtime.pipeline.pipeline._DRAIN_S", 0.2)
    kept = Kept()
    pipeline = line(Scripted(good, good, good, None), model=Hanging(inspector, 0.0), journals=[kept], queue_size=5)
    threading.Timer(0.1, pipeline.stop).start()
    started = time.perf_counter()
    summary = pipeline.run()
    assert time.perf_counter() - started < 6.0
    assert kept.numbers == [1, 2, 3]
    assert summary.without_verdict[Reason.FAILED] >= 1
    assert summary.parts == 0


def test_a_source_of_several_that_ends_ends_the_station(line, good):
    summary = line(Scripted(good, SourceError("in use by process 7")), Scripted(None)).run()
    assert summary.failures == ["in use by process 7"]


def test_listeners_are_told_whether_a_record_was_kept(line, good):
    heard: list[tuple[int, bool]] = []

    class Plc(Ear):
        def hear(self, part: JudgedPart) -> None:
            heard.append((part.sequence, part.is_kept))

    line(Scripted(good, good), journals=[Kept(2)], listeners=[Plc()]).run()
    assert heard == [(1, True), (2, False)]


def test_the_record_names_the_model_that_judged_and_not_the_one_that_came_since(line, inspector, good):
    kept = Kept()
    line(Scripted(good), journals=[kept], rules={"bundle": lambda: "the-next-one"}).run()
    assert kept.records[0]["bundle"] == inspector.bundle.manifest.bundle_id


def test_a_signal_handler_may_stop_it(line, good):
    pipeline = line(Scripted(good, None))
    before = signal.signal(signal.SIGALRM, lambda *_: pipeline.stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        assert pipeline.run().is_stopped
    finally:
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_left_running(line, good):
    before = threading.active_count()
    line(Scripted(good, None), Scripted(good), journals=[Kept()], listeners=[Ear()], limit=2, streams=3).run()
    assert threading.active_count() == before


def test_an_empty_source_is_a_run_of_no_parts(line):
    summary = line(Scripted()).run()
    assert summary.parts == 0
    assert np.isnan(summary.percentile_ms(50))


def test_a_percentile_is_that_of_the_latencies():
    assert Summary(latencies_ms=[1.0, 2.0, 3.0, 4.0]).percentile_ms(50) == 2.5
