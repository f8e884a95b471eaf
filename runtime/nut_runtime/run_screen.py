"""What a person sees of a run: a bar or a line a part while it goes, and what it came to."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import click

from nut_runtime.cli_errors import say
from nut_runtime.inspector import Inspector
from nut_runtime.sinks import JsonlSink, OverlaySink
from nut_runtime.sources import Frame, Source
from nut_runtime.station import Summary, run_station
from nut_runtime.verdict import Verdict

__all__ = ["print_summary", "run_on_screen"]


def run_on_screen(
    source: Source,
    inspector: Inspector,
    records: JsonlSink | None,
    overlays: OverlaySink | None,
    *,
    limit: int | None,
    streams: int,
    quiet: bool,
    shows_verdicts: bool,
) -> Summary:
    """Run the station with a bar on a terminal, and a line a part where nothing else tells the verdicts."""
    is_listed = shows_verdicts and records is None and not quiet
    count = source.count if limit is None else min(limit, source.count or limit)
    bar_is_shown = sys.stderr.isatty() and not quiet and not is_listed
    with ExitStack() as stack:
        bar = None
        if bar_is_shown:
            # A camera has no length: endless, so that the bar moves to and fro instead of showing "2/0".
            endless: Iterator[Any] | None = itertools.count() if count is None else None
            bar = stack.enter_context(
                click.progressbar(
                    endless,
                    length=count,
                    label="judging",
                    file=sys.stderr,
                    show_pos=True,
                    item_show_func=_rate(),
                )
            )

        def on_part(frame: Frame, verdict: Verdict) -> None:
            if is_listed:
                word = (
                    click.style("DEFECT", fg="red", bold=True)
                    if verdict.is_defective
                    else click.style("good  ", fg="green")
                )
                say(f"{word} {verdict.pred_score:.3f}  {frame.source}")
            if bar is not None:
                bar.update(1, frame)

        def on_failure(message: str) -> None:
            if bar is not None:
                click.echo("\r\x1b[K", err=True, nl=False)  # the message takes the bar's line, the bar the next
            click.echo(f"error: {message}", err=True)
            if bar is not None:
                bar.update(1)

        return run_station(
            source,
            inspector,
            records=records,
            overlays=overlays,
            limit=limit,
            streams=streams,
            on_part=on_part,
            on_failure=on_failure,
        )


def _rate() -> Callable[[Any], str]:
    """Return what the bar shows behind its count: parts a second so far."""
    started = time.perf_counter()
    shown = 0

    def text(frame: Any) -> str:
        nonlocal shown
        shown += frame is not None
        return f"{shown / max(time.perf_counter() - started, 1e-9):.1f} parts/s"

    return text


def print_summary(summary: Summary, inspector: Inspector) -> None:
    """Say on stderr what the run came to."""
    stopped = "stopped: " if summary.is_stopped else ""
    rate = summary.parts / summary.seconds if summary.seconds else 0.0
    line = f"{stopped}{summary.parts} parts, {summary.rejects} rejects"
    if summary.failed:
        line += f", {summary.failed} failures"
    if inspector.bundle.manifest.cascade is not None:
        line += f", {summary.rejudged} judged twice"
    if summary.parts:
        line += (
            f"; p50 {summary.percentile_ms(50):.1f} ms, p95 {summary.percentile_ms(95):.1f} ms, {rate:.1f} parts/s"
            f" ({inspector.engine.name}, {inspector.bundle.manifest.precision})"
        )
    click.echo(line, err=True)
