"""`nut dataset`: commands about data sets."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_runtime.cli_errors import NutGroup

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["dataset"]

_QUIET_S = 1.0  # a check that takes less needs no progress bar


@click.group(cls=NutGroup)
def dataset() -> None:
    """Check data sets and draw synthetic ones."""


@dataset.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON instead of a table.")
@click.pass_context
def check(context: click.Context, folder: Path, as_json: bool) -> None:
    """Say what is wrong with the data set in DIR, or with figures measured on it.

    DIR holds train/good and, to measure with, test/good, test/KIND and ground_truth/KIND. Reported are
    counts, unreadable files, duplicates across and within the splits, masks that do not fit, groups of
    pictures, and properties of the files that give the answer away.

    \b
    Exit code 0: usable, warnings allowed. 2: errors to mend first.
    """
    from rich.console import Console

    from nut_dataset.check import check as check_dataset
    from nut_dataset.render import print_report, report_lines

    with _progress_bar(Console(stderr=True)) as progress:
        report = check_dataset(folder, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2, allow_nan=False))
        for line in report_lines(report):
            click.echo(line, err=True)
    else:
        print_report(report, Console())
    context.exit(0 if report.is_usable else 2)


@contextmanager
def _progress_bar(console: "Console") -> Iterator[Callable[[int, int], None]]:
    """Give a function that draws a bar on `console` once a second has passed; on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("")
    begin = time.monotonic()

    def progress(done: int, total: int) -> None:
        if time.monotonic() - begin > _QUIET_S:
            bar.start()  # once started, further calls do nothing
        bar.update(task, completed=done, total=total)

    try:
        yield progress
    finally:
        bar.stop()
