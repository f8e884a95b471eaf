"""A folder of saved pictures, and which of them have to go."""

import os
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from nut_runtime.errors import OutputError
from nut_runtime.verdict import Label

__all__ = ["PictureFolder", "usable_folder"]

# As `picture_path` names them; nothing else is ever removed.
_OURS = re.compile(rf"(\d{{8}}T\d{{6}})-(\d{{6,}})-({'|'.join(Label)})-[A-Za-z0-9._-]{{0,80}}\.png")
_HALF = re.compile(rf"\.{_OURS.pattern}\.\d+\.tmp")  # as `write_bytes` names what it has not finished
_HALF_IS_LEFT_AFTER_S = 60.0


class PictureFolder:
    """Knows the pictures of a folder by heart, oldest first, so that no listing is needed for each new one.

    The folder is read once. What other programs remove from it meanwhile is noticed when its turn comes. Pictures are
    ordered by the time in their name, those of this run by when they were added, whatever the clock said.

    Args:
        folder: The folder; it must exist.
        keep: Pictures at most; None keeps all.
        keep_days: Days that one is kept, by the time in its name; None keeps all.
        least_free_bytes: What stays free on the disk.

    Raises:
        OutputError: If the folder cannot be read.
    """

    def __init__(self, folder: Path, *, keep: int | None, keep_days: float | None, least_free_bytes: float) -> None:
        self._folder = folder
        self._keep, self._keep_days, self._least_free_bytes = keep, keep_days, least_free_bytes
        self._lock = threading.Lock()
        self._names: deque[str] = deque()
        try:
            with os.scandir(folder) as entries:
                found = []
                for entry in entries:
                    if _OURS.fullmatch(entry.name):
                        found.append(entry.name)
                    elif _HALF.fullmatch(entry.name):
                        _remove_if_left(Path(entry.path))
        except OSError as error:
            raise OutputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
        self._names.extend(sorted(found, key=_age_order))

    def make_room(self, size_bytes: int) -> None:
        """Remove what has to go before a picture of this size is written.

        Raises:
            OutputError: If an old picture cannot be removed, or nothing is left to remove and the disk is still too
                full.
        """
        with self._lock:
            while self._keep is not None and self._names and len(self._names) >= self._keep:
                self._remove_oldest()
            if self._keep_days is not None:
                earliest = f"{datetime.fromtimestamp(time.time() - self._keep_days * 86400, UTC):%Y%m%dT%H%M%S}"
                while self._names and self._names[0][: len(earliest)] < earliest:
                    self._remove_oldest()
            try:
                free = shutil.disk_usage(self._folder).free
            except OSError as error:
                raise OutputError(f"cannot read the folder {self._folder}: {error.strerror or error}") from error
            # What was freed is added up, for a file system may take its time to say so.
            while self._names and free - size_bytes < self._least_free_bytes:
                free += self._remove_oldest()
        if free - size_bytes < self._least_free_bytes:
            raise OutputError(
                f"the disk of {self._folder} has less than {self._least_free_bytes / 1e6:.0f} MB free and no pictures"
                " to remove; make room on it"
            )

    def add(self, path: Path) -> None:
        """Take note of a picture that was written."""
        with self._lock:
            if path.parent == self._folder and (not self._names or self._names[-1] != path.name):
                self._names.append(path.name)

    def recent(self, limit: int) -> list[Path]:
        """Return the last pictures, the last one first."""
        with self._lock:
            names = list(islice(reversed(self._names), limit))
        return [self._folder / name for name in names]

    def __len__(self) -> int:
        return len(self._names)

    def _remove_oldest(self) -> int:
        """Remove the oldest picture; return the bytes that it took on the disk."""
        path = self._folder / self._names[0]
        size = 0
        try:
            status = path.lstat()
            path.unlink()
            size = getattr(status, "st_blocks", status.st_size // 512) * 512
        except FileNotFoundError:
            pass  # somebody else removed it
        except OSError as error:
            raise OutputError(f"cannot remove the old picture {path}: {error.strerror or error}") from error
        self._names.popleft()
        return size


def _age_order(name: str) -> tuple[str, int]:
    stamp, number = name.split("-", 2)[:2]
    return stamp, int(number)


def _remove_if_left(path: Path) -> None:
    """Remove half a picture that a killed process left; one that is being written by another is younger."""
    try:
        if time.time() - path.lstat().st_mtime > _HALF_IS_LEFT_AFTER_S:
            path.unlink()
    except OSError:
        pass  # it is only in the way of nobody


def usable_folder(folder: Path) -> None:
    """Make a folder to save to, and try whether it can be written to: now, for the first reject may come at 3 a.m.

    Raises:
        OutputError: If one of the two fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to the folder {folder}: {error.strerror or error}") from error
