"""Progress bars for everything that takes longer than a second, one a step, on a terminal's stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "no_progress", "progress_bars"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is."""

_QUIET_S = 1.0  # work that takes less needs no bar


def no_progress(what: str, done: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Give a `Progress` that draws a bar a step; nothing is drawn where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
    tasks = {}
    begin = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() - begin > _QUIET_S:
            bars.start()  # once started, further calls do nothing
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    try:
        yield progress
    finally:
        bars.stop()
