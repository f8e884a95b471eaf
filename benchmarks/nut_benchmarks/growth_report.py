"""Growth with the bank as a table, in Markdown and as a figure."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nut_benchmarks.cases import INT8_PREFIX
from nut_benchmarks.growth import GrowthStep
from nut_benchmarks.tables import markdown_table, terminal_table
from nut_runtime.atomic import write_bytes, write_json, write_text
from nut_runtime.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["GROWTH_FILE", "growth_rows", "growth_table", "write_growth"]

GROWTH_FILE = "growth.json"


def _columns(steps: Sequence[GrowthStep]) -> list[str]:
    return ["rows", *(f"{label} {what}" for label in steps[0].timings for what in ("ms", "MB"))]


def growth_rows(steps: Sequence[GrowthStep]) -> list[list[str]]:
    """Return one row a size of bank, as text, and the growth from the first to the last below it."""
    rows = [
        [
            f"{step.rows:,}",
            *(text for timing in step.timings.values() for text in (f"{timing.p50_ms:.1f}", f"{timing.peak_mb:.0f}")),
        ]
        for step in steps
    ]
    first, last = steps[0], steps[-1]
    grown = [f"x {last.rows / first.rows:.0f}"]
    for label, timing in last.timings.items():
        grown += [f"x {timing.p50_ms / first.timings[label].p50_ms:.1f}", ""]
    return [*rows, grown]


def growth_table(steps: Sequence[GrowthStep]) -> "Table":
    """Return a table for a terminal."""
    return terminal_table(_columns(steps), growth_rows(steps), words=())


def write_growth(folder: Path, steps: Sequence[GrowthStep], machine: Machine, *, threads: int, dataset: str) -> None:
    """Write `growth.json`, `growth.md` and `growth.png` into `folder`."""
    write_json(
        folder / GROWTH_FILE,
        {
            "machine": machine.to_json(),
            "threads": threads,
            "dataset": dataset,
            "steps": [
                {
                    "rows": step.rows,
                    "timings": {label: timing.to_json() for label, timing in step.timings.items()},
                    "notes": step.notes,
                }
                for step in steps
            ],
        },
    )
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {threads} threads, patches of {dataset}.",
        "",
        *markdown_table(_columns(steps), growth_rows(steps), words=()),
        "",
        *(f"{label} at {step.rows:,} rows: {note}.  " for step in steps for label, note in step.notes.items()),
        "",
    ]
    write_text(folder / "growth.md", "\n".join(lines))
    write_bytes(folder / "growth.png", _figure(steps, threads))


def _figure(steps: Sequence[GrowthStep], threads: int) -> bytes:
    """Draw latency and memory against the size of the bank, both axes logarithmic for latency."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    latency, memory = figure.subplots(1, 2)
    rows = [step.rows for step in steps]
    colours = {"openvino": "#1f5fa8", "onnxruntime": "#c26a1b"}
    for label in steps[0].timings:
        is_fast = label.startswith(INT8_PREFIX)
        style = {
            "color": colours.get(label.removeprefix(INT8_PREFIX), "#555555"),
            "linestyle": "-" if is_fast else "--",
            "marker": "o" if is_fast else "s",
            "markersize": 4,
            "label": label,
        }
        latency.plot(rows, [step.timings[label].p50_ms for step in steps], **style)
        memory.plot(rows, [step.timings[label].peak_mb for step in steps], **style)
    latency.set(xscale="log", yscale="log", xlabel="rows of the bank", ylabel=f"ms a frame, p50, {threads} threads")
    memory.set(xscale="log", ylim=(0, None), xlabel="rows of the bank", ylabel="peak memory of the process, MB")
    for axes in (latency, memory):
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    latency.legend(frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return content.getvalue()
