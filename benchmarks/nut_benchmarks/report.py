"""The bench as a table on screen, Markdown and a figure."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_benchmarks.bench import Bench
from nut_benchmarks.tables import command_block, markdown_table
from nut_runtime.atomic import write_bytes, write_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["COLUMNS", "bench_markdown", "bench_rows", "bench_table", "bench_title", "write_bench_report"]

_WRAP: dict[str, Any] = {"width": 118, "subsequent_indent": "  ", "break_on_hyphens": False}

COLUMNS = (
    "engine",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "frames/s",
    "frames/s, streams",
    "faster",
    "mixed sizes p50 ms",
    "load s",
    "first ms",
    "peak MB",
    "max |d score|",
    "mean |d score|",
    "flips",
    "d image AUROC",
    "d pixel AUROC",
    "max |d map|",
    "mask IoU",
)


def bench_title(bench: Bench) -> str:
    """Return what was measured, in one line."""
    return f"{bench.model}; {bench.dataset}; {bench.threads} threads"


def bench_rows(bench: Bench) -> list[list[str]]:
    """Return one row an engine, as text, in the order of `COLUMNS`."""
    slowest = next(iter(bench.timings.values())).p50_ms
    rows = []
    for name, timing in bench.timings.items():
        parity = bench.parity.get(name)
        proof = ["-"] * 7
        if parity is not None:
            proof = [
                f"{parity.max_d_score:.1e}",
                f"{parity.mean_d_score:.1e}",
                f"{len(parity.flips)}/{parity.pictures}",
                _small(parity.d_image_auroc),
                _small(parity.d_pixel_auroc),
                f"{parity.max_d_map:.1e}",
                f"{parity.mask_iou:.5f}",
            ]
        rows.append(
            [
                name,
                f"{timing.p50_ms:.1f}",
                f"{timing.p95_ms:.1f}",
                f"{timing.p99_ms:.1f}",
                f"{timing.frames_per_s:.1f}",
                "-" if timing.streams_per_s is None else f"{timing.streams_per_s:.1f}",
                f"{slowest / timing.p50_ms:.1f}x",
                f"{timing.mixed_p50_ms:.1f}",
                f"{timing.load_s:.1f}",
                f"{timing.first_ms:.0f}",
                f"{timing.peak_mb:.0f}",
                *proof,
            ]
        )
    return rows


def bench_table(bench: Bench) -> "Table":
    """Return the table for a terminal: engines side by side, one figure a line."""
    from rich.table import Table

    rows = bench_rows(bench)
    table = Table(box=None)
    table.add_column("")
    for row in rows:
        table.add_column(row[0], justify="right")
    for place, column in enumerate(COLUMNS[1:], start=1):
        table.add_row(column, *(row[place] for row in rows))
    return table


def bench_markdown(bench: Bench) -> str:
    """Return the bench as Markdown: caveats first, then the table, then the command."""
    height, width = bench.frame_size
    rows = bench_rows(bench)
    machine = bench.machine
    lines = [f"# {bench.model} on {bench.dataset}", ""]
    lines += textwrap.wrap(
        f"- Measured {bench.created} on {machine.cpu}, {machine.cores} cores, {' '.join(machine.instruction_sets)}; "
        f"{machine.system}, Python {machine.python}; {bench.threads} threads for every engine. Another machine gives "
        "other times, and so does a busy one.",
        **_WRAP,
    )
    lines += textwrap.wrap(
        f"- Latency is from a decoded frame in memory to all five outputs in memory, one {width}x{height} frame after "
        f"the other, {bench.config.repeats} of them after {bench.config.warm_up} to warm up; no disk, no camera. "
        "Mixed sizes: every picture once, each of its own size. Streams: as many frames at a time as there are "
        "threads, one thread each.",
        **_WRAP,
    )
    lines += textwrap.wrap(
        "- Load is from the start of the process to a model ready to run. Peak is the resident memory "
        "of that engine's own process.",
        **_WRAP,
    )
    lines += textwrap.wrap(
        "- Parity is against anomalib's own prediction (`Engine.predict`) on the same files; `pytorch` is the same "
        "model called without the Engine around it.",
        **_WRAP,
    )
    turned = [[column, *(row[place] for row in rows)] for place, column in enumerate(COLUMNS[1:], start=1)]
    lines += ["", *markdown_table(["", *(row[0] for row in rows)], turned)]
    versions = ", ".join(f"{name} {value}" for name, value in bench.versions.items())
    lines += [
        "",
        f"Bundle {bench.bundle_id}, commit {bench.commit or 'unknown'}. {versions}.",
        *command_block(bench.command),
    ]
    return "\n".join(lines)


def write_bench_report(folder: Path, bench: Bench) -> None:
    """Write `bench.md` and `bench.png` into `folder`."""
    write_text(folder / "bench.md", bench_markdown(bench))
    write_bytes(folder / "bench.png", _figure(bench))


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _figure(bench: Bench) -> bytes:
    """Draw latency and memory of the engines side by side."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    names = list(bench.timings)
    panels = {
        "latency of one frame, p50 to p95 (ms)": [timing.p50_ms for timing in bench.timings.values()],
        "peak memory (MB)": [timing.peak_mb for timing in bench.timings.values()],
    }
    for place, (title, values) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.barh(names, values, color=["#8a8f98", "#3b7dd8", "#2b7a4b"][: len(names)])
        ends = list(values)
        if place == 1:
            ends = [timing.p95_ms for timing in bench.timings.values()]
            spread = np.array([np.zeros(len(names)), np.subtract(ends, values)])
            axes.errorbar(values, names, xerr=spread, fmt="none", ecolor="#333333", capsize=3)
        for name, value, end in zip(names, values, ends, strict=True):
            axes.annotate(
                f"{value:.1f}" if place == 1 else f"{value:.0f}",
                (end, name),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_title(title, fontsize=9, loc="left")
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{bench.model}; {bench.threads} threads, {bench.machine.cpu}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
