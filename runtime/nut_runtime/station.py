"""One source, one inspector, and whoever listens: the loop that runs on the line."""

import time
from collections import deque
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from nut_runtime.errors import NutError, SourceError
from nut_runtime.inspector import Inspector
from nut_runtime.judging import Judged, judge_in_order
from nut_runtime.sinks import JsonlSink, OverlaySink
from nut_runtime.sources import Frame, Source
from nut_runtime.verdict import Verdict

__all__ = ["Summary", "run_station"]

RECORD_SCHEMA = 1

_LATENCIES_KEPT, _FAILURES_KEPT = 100_000, 1_000


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        parts: Frames that were judged.
        rejects: Those judged defective.
        rejudged: Those that a cascade judged twice.
        failed: Frames that could not be judged, and breaks of the source.
        failures: What went wrong with the first thousand of them, in words.
        latencies_ms: Time from the frame to its verdict, of the last hundred thousand parts: a station runs for months.
        seconds: How long the run took.
        is_stopped: Whether Ctrl-C ended it.
    """

    parts: int = 0
    rejects: int = 0
    rejudged: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    latencies_ms: MutableSequence[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))
    seconds: float = 0.0
    is_stopped: bool = False

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies; NaN where nothing was judged."""
        return float(np.percentile(list(self.latencies_ms), percent)) if self.latencies_ms else float("nan")


def run_station(
    source: Source,
    inspector: Inspector,
    *,
    records: JsonlSink | None = None,
    overlays: OverlaySink | None = None,
    limit: int | None = None,
    streams: int = 1,
    on_part: Callable[[Frame, Verdict], None] | None = None,
    on_failure: Callable[[str], None] | None = None,
) -> Summary:
    """Judge frames until the source ends, `limit` is reached or Ctrl-C comes.

    A frame that cannot be read is recorded as a failure and the next one follows; a source that breaks off ends
    the run, with everything before it kept.

    Args:
        source: Where frames come from; closed at the end.
        inspector: Judges them.
        records: Takes each verdict's record.
        overlays: Takes each part's picture.
        limit: Frames to look at, at most.
        streams: Frames to judge at a time; the inspector is to be loaded for as many.
        on_part: Told of each verdict.
        on_failure: Told of each failure.

    Raises:
        OutputError: If a sink cannot be written; nothing is judged any more that could not be told.
        EngineError: If the engine fails.
    """
    summary = Summary()
    started = time.perf_counter()

    def fail(error: NutError, record: dict[str, Any] | None = None) -> None:
        summary.failed += 1
        if len(summary.failures) < _FAILURES_KEPT:
            summary.failures.append(str(error))
        if records is not None and record is not None:
            records.write(record | {"error": str(error)})
        if on_failure is not None:
            on_failure(str(error))

    try:
        for judged in judge_in_order(source, inspector, streams=streams, limit=limit):
            if judged.verdict is not None:
                _tell(judged, judged.verdict, summary, records, overlays, on_part)
            if judged.error is not None:
                fail(judged.error, _failed(judged.frame, judged.sequence, inspector))
    except SourceError as error:
        fail(error)
    except KeyboardInterrupt:
        summary.is_stopped = True
    finally:
        source.close()
    summary.seconds = time.perf_counter() - started
    return summary


def _tell(
    judged: Judged,
    verdict: Verdict,
    summary: Summary,
    records: JsonlSink | None,
    overlays: OverlaySink | None,
    on_part: Callable[[Frame, Verdict], None] | None,
) -> None:
    """Tell everyone of one verdict."""
    frame, sequence = judged.frame, judged.sequence
    picture: Path | None = None
    try:
        picture = overlays.save(frame, verdict, sequence) if overlays is not None else None
    finally:
        # A picture that cannot be saved ends the run, but not before the verdict it belongs to is told.
        if records is not None:
            record = to_record(
                verdict,
                sequence=sequence,
                source=frame.source,
                timestamp=frame.timestamp,
                picture=None if picture is None else str(picture),
            )
            record["ms"] = {"capture": round(frame.capture_ms, 3), **record["ms"]}
            records.write(record)
    summary.parts += 1
    summary.rejects += verdict.is_defective
    summary.rejudged += verdict.is_rejudged
    summary.latencies_ms.append(judged.milliseconds)
    if on_part is not None:
        on_part(frame, verdict)


def _failed(frame: Frame, sequence: int, inspector: Inspector) -> dict[str, Any]:
    """Return the record of a frame without a verdict."""
    return {
        "schema": RECORD_SCHEMA,
        "timestamp": frame.timestamp.isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "source": frame.source,
        "bundle": inspector.bundle.manifest.bundle_id,
        "label": None,
    }


def to_record(
    verdict: Verdict, *, sequence: int, source: str, timestamp: datetime, picture: str | None = None
) -> dict[str, Any]:
    """Return the verdict as one JSON object, schema 1.

    Args:
        verdict: The verdict.
        sequence: Number of the part in this run, from 1.
        source: Which picture, video or camera it came from.
        timestamp: When the frame was taken, with its time zone.
        picture: Path of the saved picture, if one was saved.
    """
    return {
        "schema": RECORD_SCHEMA,
        "timestamp": timestamp.isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "source": source,
        "bundle": verdict.bundle_id,
        "label": str(verdict.label),
        "pred_score": round(verdict.pred_score, 6),
        "raw_score": round(verdict.raw_score, 6),
        "rejudged": verdict.is_rejudged,
        "ms": {stage: round(value, 3) for stage, value in verdict.milliseconds.items()},
        "boxes": [box.to_json() for box in verdict.boxes],
        "picture": picture,
    }
