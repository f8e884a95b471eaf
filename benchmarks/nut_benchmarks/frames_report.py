"""Frame sizes as a table, on screen and as Markdown."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nut_benchmarks.frames import FrameSizes
from nut_benchmarks.tables import command_block, markdown_table, terminal_table
from nut_runtime.atomic import write_json, write_text
from nut_runtime.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

FRAMES_FILE = "frames.json"

__all__ = ["FRAMES_FILE", "frame_rows", "frames_markdown", "frames_table", "write_frames"]

_COLUMNS = ("", "frame", "p50 ms", "extra", "cpu ms", "extra", "first ms", "peak MB")


def frame_rows(found: FrameSizes) -> list[list[str]]:
    """Return one row an engine and size, as text; `extra` is over a frame of the model's own size."""
    rows = []
    for engine, timings in found.timings.items():
        own = found.own(engine)
        for one in timings:
            extra = ["-", "-"]
            if own is not None and one is not own:
                extra = [f"{one.p50_ms - own.p50_ms:+.2f}", f"{one.cpu_ms - own.cpu_ms:+.2f}"]
            rows.append(
                [
                    engine,
                    f"{one.width_px}x{one.height_px}",
                    f"{one.p50_ms:.2f}",
                    extra[0],
                    f"{one.cpu_ms:.2f}",
                    extra[1],
                    f"{one.first_ms:.1f}",
                    f"{one.peak_mb:.0f}",
                ]
            )
    return rows


def frames_table(found: FrameSizes) -> "Table":
    """Return a table for a terminal."""
    return terminal_table(_COLUMNS, frame_rows(found))


def frames_markdown(found: FrameSizes, machine: Machine, command: str) -> str:
    """Return the table as Markdown, with the machine before it and the command after it."""
    height, width = found.own_px
    lines = [
        f"{found.bundle_id}: {machine.cpu}, {machine.cores} cores, {found.threads} threads.",
        f"Extra: over a frame of {width}x{height}. CPU: the least processor time of a frame, of all threads together.",
        "Peak: of the process so far, sizes in this order.",
        "",
        *markdown_table(_COLUMNS, frame_rows(found)),
        *command_block(command),
    ]
    return "\n".join(lines)


def write_frames(folder: Path, found: FrameSizes, machine: Machine, command: str) -> None:
    """Write `frames.json` and `frames.md` into `folder`."""
    write_json(folder / FRAMES_FILE, asdict(found) | {"machine": machine.to_json(), "command": command})
    write_text(folder / "frames.md", frames_markdown(found, machine, command))
