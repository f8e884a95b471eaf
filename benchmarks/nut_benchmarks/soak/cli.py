"""`python -m nut_benchmarks.soak`: do it all to a real station and write down what was seen."""

import logging
import platform
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nut_benchmarks.soak.checks import Finding, LostError, Setting
from nut_benchmarks.soak.scenarios import SCENARIOS
from nut_dataset.evenly import evenly
from nut_dataset.layout import open_dataset
from nut_runtime.atomic import write_text
from nut_runtime.bundle import open_bundle
from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.machine import this_machine
from nut_runtime.pictures import read_picture

__all__ = ["main"]

_SIDE_PX = 320


@click.command(cls=NutCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "bundle", type=click.Path(path_type=Path), required=True, metavar="BUNDLE", help="The bundle.")
@click.option(
    "--dataset", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Its test pictures are shown."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.md", help="Also write the table there.")
@click.option("--only", multiple=True, type=click.Choice(sorted(SCENARIOS)), help="Only these; may be given again.")
@click.pass_context
def main(ctx: click.Context, bundle: Path, dataset: Path, output: Path | None, only: tuple[str, ...]) -> None:
    """Do to a station what it must survive, and say what was lost: nothing, or it ends with code 1.

    \b
    python -m nut_benchmarks.soak --model bundle --dataset nuts -o soak.md
    python -m nut_benchmarks.soak --model bundle --dataset nuts --only killed --only broker-away
    """
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    rows: list[tuple[Finding, float]] = []
    failed = []
    with tempfile.TemporaryDirectory(prefix="nut-soak-") as scratch:
        setting = Setting(bundle=bundle.resolve(), pictures=_pictures(dataset), folder=Path(scratch))
        for name in only or SCENARIOS:
            started = time.monotonic()
            try:
                finding = SCENARIOS[name](setting)
            except (LostError, TimeoutError) as error:
                failed.append(name)
                say(f"{name}: FAILED after {time.monotonic() - started:.0f} s: {error}")
                continue
            rows.append((finding, time.monotonic() - started))
            say(f"{name}: {finding.times}x {finding.what}: {finding.outcome} ({rows[-1][1]:.0f} s)")
            if output is not None:
                write_text(output, _table(rows, bundle))  # after each, so that what was seen is not lost
    if output is not None:
        say(f"table  {output}")
    if failed:
        say(f"failed: {', '.join(failed)}")
        ctx.exit(1)


def _pictures(dataset: Path) -> list[NDArray[np.uint8]]:
    """Return a few test pictures, good and defective, brought to one size as a camera has one."""
    import cv2

    found = open_dataset(dataset)
    paths = [*evenly(found.test_good or found.train_good, 6), *evenly(found.defective, 2)]
    return [cv2.resize(read_picture(path), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA) for path in paths]


def _table(rows: Sequence[tuple[Finding, float]], bundle: Path) -> str:
    machine = this_machine()
    manifest = open_bundle(bundle).manifest
    measured = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine.cpu}, {machine.cores} cores, {platform.system()}, Python "
        f"{machine.python}; bundle {manifest.bundle_id} ({manifest.precision}), one thread."
    )
    lines = [
        measured,
        "",
        "| done | times | lost | seen | s |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {one.what} | {one.times:,} | {one.lost} | {one.outcome} | {spent:.0f} |" for one, spent in rows]
    return "\n".join(lines) + "\n"
