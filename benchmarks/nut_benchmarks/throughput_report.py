"""Latency mode, streams and batches as a table, on screen and as Markdown."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nut_benchmarks.tables import command_block, markdown_table, terminal_table
from nut_benchmarks.throughput import Throughput
from nut_runtime.atomic import write_json, write_text
from nut_runtime.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["THROUGHPUT_FILE", "throughput_markdown", "throughput_rows", "throughput_table", "write_throughput"]

THROUGHPUT_FILE = "throughput.json"
_COLUMNS = ("", "threads", "mode", "frames/s", "of latency mode", "ms a frame")
_WORDS = ("", "mode")


def throughput_rows(found: Throughput) -> list[list[str]]:
    """Return one row an engine, number of threads and mode, as text."""
    return [
        [
            rate.engine,
            str(rate.threads) + (f" ({rate.used_threads})" if rate.used_threads != rate.threads else ""),
            rate.mode.describe(),
            f"{rate.rate:.1f}",
            f"{found.gain(rate):.2f}x",
            f"{rate.latency_ms:.1f}",
        ]
        for rate in found.rates
    ]


def throughput_table(found: Throughput) -> "Table":
    """Return a table for a terminal."""
    return terminal_table(_COLUMNS, throughput_rows(found), words=_WORDS)


def throughput_markdown(found: Throughput, machine: Machine, command: str) -> str:
    """Return the table as Markdown, with the machine before it and the command after it."""
    height, width = found.frame_px
    rounds = max((len(rate.frames_per_s) for rate in found.rates), default=0)
    lines = [
        f"{found.bundle_id}: {machine.cpu}, {machine.cores} cores, frames of {width}x{height}.",
        f"Medians of {rounds} rounds of {found.frames} frames, each in a process of its own, in turns.",
        "Threads in brackets: with more streams than threads, ONNX Runtime computes with one a stream.",
        "ms a frame: from a decoded frame to its verdict, in a batch that of the whole batch.",
        "",
        *markdown_table(_COLUMNS, throughput_rows(found), words=_WORDS),
        *command_block(command),
    ]
    return "\n".join(lines)


def write_throughput(folder: Path, found: Throughput, machine: Machine, command: str) -> None:
    """Write `throughput.json` and `throughput.md` into `folder`."""
    write_json(folder / THROUGHPUT_FILE, asdict(found) | {"machine": machine.to_json(), "command": command})
    write_text(folder / "throughput.md", throughput_markdown(found, machine, command))
