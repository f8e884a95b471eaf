"""What a tray costs as a table, on screen and as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nut_benchmarks.tables import command_block, markdown_table, terminal_table
from nut_benchmarks.trays import TARGETS_MS, TrayTimings
from nut_runtime.atomic import write_json, write_text
from nut_runtime.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["TRAYS_FILE", "tray_rows", "trays_markdown", "trays_table", "write_trays"]

TRAYS_FILE = "trays-bench.json"
_WORDS = ("engine", "locator", "judge", "step")
_COLUMNS = (*_WORDS, "p50 ms", "p95 ms", "min ms", "cpu ms", "at most")


def tray_rows(found: Sequence[TrayTimings]) -> list[list[str]]:
    """Return one row an engine and step, as text."""
    rows = []
    for one in found:
        for step in one.steps:
            name = step.name.replace("tray", f"tray of {one.judged} judged", 1)
            target = TARGETS_MS.get(step.name)
            rows.append(
                [
                    one.engine,
                    one.precision,
                    one.judge,
                    name,
                    f"{step.p50_ms:.1f}",
                    f"{step.p95_ms:.1f}",
                    f"{step.min_ms:.1f}",
                    f"{step.cpu_ms:.1f}",
                    "-" if target is None else f"{target:.0f}",
                ]
            )
    return rows


def trays_table(found: Sequence[TrayTimings]) -> "Table":
    """Return a table for a terminal."""
    return terminal_table(_COLUMNS, tray_rows(found), words=_WORDS)


def trays_markdown(found: Sequence[TrayTimings], machine: Machine, *, threads: int, command: str) -> str:
    """Return the table as Markdown, with the machine before it and the command after it."""
    sizes = sorted({f"{one.frame_px[1]}x{one.frame_px[0]}" for one in found})
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {threads} threads; a frame of {', '.join(sizes)}.",
        "map: the network alone; locate: with the finding of parts; judge: one cut-out; tray: all of it, and",
        "with as many streams as threads.",
        "CPU: the least processor time of all threads together. At most: the target on two cores.",
        "",
        *markdown_table(_COLUMNS, tray_rows(found), words=_WORDS),
        *command_block(command),
    ]
    return "\n".join(lines)


def write_trays(folder: Path, found: Sequence[TrayTimings], machine: Machine, *, threads: int, command: str) -> None:
    """Write `trays-bench.json` and `trays.md` into `folder`."""
    data = {"timings": [asdict(one) for one in found], "machine": machine.to_json(), "threads": threads}
    write_json(folder / TRAYS_FILE, data | {"command": command})
    write_text(folder / "trays.md", trays_markdown(found, machine, threads=threads, command=command))
