"""The cases as tables, on screen and as Markdown."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nut_benchmarks.cases import CaseResult
from nut_benchmarks.tables import markdown_table, terminal_table
from nut_runtime.atomic import write_json, write_text
from nut_runtime.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

CASES_FILE = "cases.json"

__all__ = ["CASES_FILE", "case_rows", "case_table", "write_cases"]

_COLUMNS = (
    "",
    "p50 ms",
    "p95 ms",
    "faster",
    "load s",
    "first ms",
    "peak MB",
    "model MB",
    "1 by 1 /s",
    "streams /s",
    "max d score",
)


def case_rows(result: CaseResult) -> list[list[str]]:
    """Return one row an engine, as text."""
    rows = []
    for engine, timing in result.timings.items():
        ratio = result.ratio(engine)
        size = result.model_mb.get(engine)
        rows.append(
            [
                engine,
                f"{timing.p50_ms:.1f}",
                f"{timing.p95_ms:.1f}",
                "-" if ratio is None else f"{ratio:.2f}x",
                f"{timing.load_s:.1f}",
                f"{timing.first_ms:.1f}",
                f"{timing.peak_mb:.0f}",
                "-" if size is None else f"{size:.0f}",
                f"{timing.frames_per_s:.1f}",
                "-" if timing.streams_per_s is None else f"{timing.streams_per_s:.1f}",
                f"{result.max_d_score[engine]:.1e}" if engine in result.max_d_score else "-",
            ]
        )
    return rows


def case_table(result: CaseResult) -> "Table":
    """Return a table for a terminal."""
    return terminal_table(_COLUMNS, case_rows(result))


def write_cases(folder: Path, results: Sequence[CaseResult], machine: Machine, *, threads: int) -> None:
    """Write `cases.json` and `cases.md` into `folder`."""
    write_json(
        folder / CASES_FILE,
        {
            "machine": machine.to_json(),
            "threads": threads,
            "cases": [
                {
                    "name": result.name,
                    "rows": result.rows,
                    "width": result.width,
                    "timings": {name: timing.to_json() for name, timing in result.timings.items()},
                    "max_d_score": dict(result.max_d_score),
                    "notes": dict(result.notes),
                    "model_mb": dict(result.model_mb),
                }
                for result in results
            ],
        },
    )
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {platform.system()}, {threads} threads.",
        "Faster: than anomalib's own export in the same engine.",
        "",
    ]
    for result in results:
        lines += [f"## {result.name}: bank {result.rows} x {result.width}", ""]
        lines += [*markdown_table(_COLUMNS, case_rows(result)), ""]
        lines += [f"{engine}: {note}.  " for engine, note in result.notes.items()] + [""]
    write_text(folder / "cases.md", "\n".join(lines))
