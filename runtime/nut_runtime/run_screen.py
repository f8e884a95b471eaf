"""What a person sees of a run: a bar or a line a part while it goes, and what it came to."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import click

from nut_runtime.cli_errors import say
from nut_runtime.errors import OutputError
from nut_runtime.inspector import Inspector
from nut_runtime.locate.tray_overlay import count_words
from nut_runtime.parts import JudgedPart
from nut_runtime.pipeline import Pipeline, Summary
from nut_runtime.verdict import Label

__all__ = ["print_summary", "run_on_screen"]

_WORDS: dict[Label, tuple[str, dict[str, Any]]] = {
    Label.GOOD: ("good  ", {"fg": "green"}),
    Label.DEFECT: ("DEFECT", {"fg": "red", "bold": True}),
    Label.REVIEW: ("review", {"fg": "yellow"}),
}


def run_on_screen(
    pipeline: Pipeline, *, count: int | None, is_listed: bool, has_bar: bool, is_station: bool
) -> Summary:
    """Run with a line a part, or with a bar on a terminal.

    Args:
        pipeline: What to run.
        count: Parts that will come; None where nobody knows.
        is_listed: Whether each verdict is a line on standard output.
        has_bar: Whether a bar may be shown on standard error, where that is a terminal.
        is_station: Whether it goes on where nothing can be printed any more.
    """
    with ExitStack() as stack:
        bar = None
        if has_bar and not is_listed and sys.stderr.isatty():
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

        def on_part(part: JudgedPart) -> None:
            if is_listed and part.label in _WORDS:
                word, style = _WORDS[part.label]
                # A station outlives the terminal it was started from.
                with suppress(OutputError) if is_station else nullcontext():
                    score, source = part.record["pred_score"], part.record["source"]
                    say(f"{click.style(word, **style)} {score:.3f}  {source}{_counts(part)}")
            if bar is not None:
                bar.update(1, part)

        def on_failure(message: str) -> None:
            if bar is not None:
                click.echo("\r\x1b[K", err=True, nl=False)  # the message takes the bar's line, the bar the next
            with suppress(OSError):  # a full disk behind standard error
                click.echo(f"error: {message}", err=True)

        return pipeline.run(on_part=on_part, on_failure=on_failure)


def _counts(part: JudgedPart) -> str:
    """Return what the parts of a tray came to, in words; nothing where a frame shows one part."""
    return f"  {count_words(part.record['counts'])}" if "counts" in part.record else ""


def _rate() -> Callable[[Any], str]:
    """Return what the bar shows behind its count: parts a second so far."""
    started = time.perf_counter()
    shown = 0

    def text(part: Any) -> str:
        nonlocal shown
        shown += part is not None
        return f"{shown / max(time.perf_counter() - started, 1e-9):.1f} parts/s"

    return text


def print_summary(summary: Summary, inspector: Inspector) -> None:
    """Say on stderr what the run came to."""
    stopped = "stopped: " if summary.is_stopped else ""
    rate = summary.parts / summary.seconds if summary.seconds else 0.0
    line = f"{stopped}{summary.parts} parts, {summary.rejects} rejects"
    if summary.reviews:
        line += f", {summary.reviews} to review"
    if summary.failed:
        line += f", {summary.failed} failures"
    if summary.nuts:
        line += f", {count_words(summary.nuts)}"
    if inspector.bundle.manifest.cascade is not None:
        line += f", {summary.rejudged} judged twice"
    if summary.parts:
        line += (
            f"; p50 {summary.percentile_ms(50):.1f} ms, p95 {summary.percentile_ms(95):.1f} ms, {rate:.1f} parts/s"
            f" ({inspector.engine.name}, {inspector.bundle.manifest.precision})"
        )
    click.echo(line, err=True)
