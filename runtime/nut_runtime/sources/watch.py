"""A folder that another program writes pictures to."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from nut_runtime.cameras.jpeg import check_jpeg
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import EXTENSIONS, read_picture
from nut_runtime.sources.base import Frame, now

__all__ = ["WatchSource"]

_log = logging.getLogger("nut_runtime")

_POLL_S = 0.1
_PATIENCE_S = 5.0
_REST = 4  # times as long as it took to look
_JPEG = frozenset({".jpg", ".jpeg"})
_HIDDEN = (".", "~")
_FOLDERS_KNOWN = 4

_Stamp = tuple[int, int]  # size in bytes, time of change in ns


@dataclass(slots=True)
class _Coming:
    """A file that is not known to be finished."""

    stamp: _Stamp
    since: float  # when it last changed, in seconds of `time.monotonic`
    was_tried: bool = False  # and could not be read


class WatchSource:
    """Gives each picture that comes into a folder, once it is finished.

    A file is finished when neither its size nor its time have changed for `settle_s`; one that is renamed into the
    folder waits as long. What then cannot be read is given 5 s more, for writers that pause, before it is given as an
    error. The order is that in which they are finished. A file that is written again under the same name is a new
    picture. Sub-folders, names that begin with `.` or `~`, and endings that are not those of pictures are left out.

    A folder that vanishes is waited for; what was given before is not given again when it returns.

    Args:
        folder: The folder.
        existing: Whether what is there already is given first, the oldest first, or left out.
        settle_s: How long a file must be at rest.

    Raises:
        InputError: If the folder is not there at the start.
    """

    count: int | None = None

    def __init__(self, folder: Path, *, existing: bool = False, settle_s: float = 0.5) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._closed = threading.Event()
        self._coming: dict[str, _Coming] = {}
        self._done: dict[tuple[int, int], dict[str, _Stamp]] = {}  # of each folder that was there under the name
        self._is_there = True
        try:
            identity, stamps = _look(folder)
        except OSError as error:
            raise InputError(f"cannot watch {folder}: {error.strerror or error}") from error
        self._done[identity] = {} if existing else stamps

    def __iter__(self) -> Iterator[Frame]:
        """Give frames as files are finished, until `close`."""
        while not self._closed.is_set():
            began = time.monotonic()
            finished = self._finished()
            took = time.monotonic() - began
            for name in finished:
                if self._closed.is_set():
                    return
                frame = self._read(name)
                if frame is not None:
                    yield frame
            # A folder of a hundred thousand files takes a while to look through; that must not be all we do.
            self._closed.wait(max(min(_POLL_S, self._settle_s / 2), _REST * took))

    def close(self) -> None:
        """End the iteration; may be called from another thread."""
        self._closed.set()

    def _finished(self) -> list[str]:
        """Look through the folder; return the files that are finished, in order."""
        try:
            identity, stamps = _look(self._folder)
        except OSError as error:
            if self._is_there:
                _log.warning("watch: %s is gone (%s); waiting for it", self._folder, error.strerror or error)
            self._is_there = False
            return []
        if not self._is_there:
            _log.warning("watch: %s is back", self._folder)
        self._is_there = True
        done = self._done_in(identity)
        for name in done.keys() - stamps.keys():
            del done[name]  # so that this does not grow for months
        for name in self._coming.keys() - stamps.keys():
            del self._coming[name]
        moment = time.monotonic()
        for name, stamp in stamps.items():
            if done.get(name) == stamp:
                self._coming.pop(name, None)
                continue
            coming = self._coming.get(name)
            if coming is None or coming.stamp != stamp:
                self._coming[name] = _Coming(stamp, moment)
        ready = [
            (coming.since, coming.stamp[1], name)
            for name, coming in self._coming.items()
            if moment - coming.since >= (_PATIENCE_S if coming.was_tried else self._settle_s)
        ]
        return [name for _, _, name in sorted(ready)]

    def _done_in(self, identity: tuple[int, int]) -> dict[str, _Stamp]:
        """Return what was given of this very folder.

        An empty mount point shows another folder under the name: what is not in it was not deleted.
        """
        done = self._done.pop(identity, None)
        if done is None:
            done = {name: stamp for known in self._done.values() for name, stamp in known.items()}
        self._done[identity] = done  # the last one again
        while len(self._done) > _FOLDERS_KNOWN:
            del self._done[next(iter(self._done))]
        return done

    def _read(self, name: str) -> Frame | None:
        """Return a file's picture; None where it cannot be read yet."""
        path = self._folder / name
        coming = self._coming[name]
        began = time.perf_counter()
        picture, failure = None, None
        try:
            if path.suffix.lower() in _JPEG:
                check_jpeg(path.read_bytes(), name=str(path))  # some decoders give half a picture for a whole one
            picture = read_picture(path)
        except (PictureError, OSError) as error:
            if not path.exists():  # taken away again
                return None
            if not coming.was_tried:
                coming.was_tried = True
                return None
            failure = error if isinstance(error, PictureError) else PictureError(f"cannot read {path}: {error}")
        del self._coming[name]
        next(reversed(self._done.values()))[name] = coming.stamp
        return Frame(
            source=str(path),
            name=path.stem,
            timestamp=now(),
            capture_ms=(time.perf_counter() - began) * 1e3,
            picture=picture,
            error=failure,
        )


def _look(folder: Path) -> tuple[tuple[int, int], dict[str, _Stamp]]:
    """Return which folder this is, and the pictures in it with their stamps.

    Raises:
        OSError: If it is not there.
    """
    status = folder.stat()
    stamps: dict[str, _Stamp] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(_HIDDEN) or PurePath(name).suffix.lower() not in EXTENSIONS:
                continue
            try:
                if entry.is_file():
                    found = entry.stat()
                    stamps[name] = (found.st_size, found.st_mtime_ns)
            except OSError:  # gone since
                continue
    return (status.st_dev, status.st_ino), stamps
