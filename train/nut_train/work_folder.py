"""A folder for what an interrupted training can go on from: kept when it is stopped, gone when it is done."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nut_runtime.claims import try_to_lock
from nut_runtime.errors import InputError, NutError, OutputError

__all__ = ["WORK", "temporary_work_folder", "unfinished", "work_folder"]

WORK = "work.json"
"""Says what is in the folder, and that there is something worth keeping."""

_LOCK = ".training"


def unfinished(run: Path) -> Path:
    """Return the place of the work folder of a run folder, beside it."""
    run = run.resolve()
    return run.with_name(f"{run.name}.unfinished")


@contextmanager
def work_folder(place: Path) -> Iterator[Path]:
    """Give a folder that outlives an interruption, and nothing else.

    It is removed when the block ends, and when the user must mend something (`NutError`). Ctrl-C, a crash or a killed
    process leave it, if something was finished in it (`WORK` is there).

    Args:
        place: From `unfinished`; made, or found as an earlier run left it.

    Raises:
        InputError: If another process is at work in it.
        OutputError: If it cannot be made, or something else lies there.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()) and not (place / _LOCK).exists():
            raise OutputError(f"{place} is in the way and is not the rest of an unfinished training; move it")
        descriptor = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if isinstance(error, NutError):
            raise
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from error
    try:
        if not try_to_lock(descriptor):
            raise InputError(f"another training is at work in {place}; wait for it, or write to another folder")
        keep = True
        try:
            yield place
            keep = False
        except NutError:
            keep = False
            raise
        finally:
            if sys.platform == "win32":  # there an open file cannot be removed
                os.close(descriptor)
                descriptor = -1
            if not keep or not (place / WORK).exists():
                shutil.rmtree(place, ignore_errors=True)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def temporary_work_folder() -> Iterator[Path]:
    """Give a folder among the temporary files, for a training that nobody would go on with."""
    with tempfile.TemporaryDirectory(prefix="nut-features-") as folder:
        yield Path(folder)
