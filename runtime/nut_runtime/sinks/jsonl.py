"""Verdict records as JSON lines, in a file or on standard output."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from nut_runtime.errors import OutputError

__all__ = ["JsonlSink"]


class JsonlSink:
    """Writes one record a line; each line is handed to the operating system whole before the next part.

    An existing file is continued, never overwritten. Half a line at its end, left by a computer that lost power,
    is cut off first, so that every line of the file is valid JSON.

    Args:
        path: The file, or `-` for standard output.

    Raises:
        OutputError: If the file cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._name = "standard output" if path == "-" else path
        self._file: IO[bytes] = _standard_output() if path == "-" else _open(Path(path))
        self._closes = path != "-"
        self._can_cut = self._closes and self._file.seekable()

    def write(self, record: dict[str, Any]) -> None:
        """Write one record.

        Raises:
            OutputError: If the disk is full or the reader of the pipe has gone.
        """
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        start = self._file.seek(0, os.SEEK_END) if self._can_cut else 0
        try:
            left = memoryview(line)
            while left:  # the file has no buffer, and an unbuffered write may take only a part
                left = left[self._file.write(left) :]
            self._file.flush()
        except OSError as error:
            if self._can_cut:
                with suppress(OSError):
                    self._file.truncate(start)  # no half a line on a full disk
            raise OutputError(f"cannot write to {self._name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._closes:
            self._file.close()


def _standard_output() -> IO[bytes]:
    """Return standard output, which a service may have been started without."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; give a file with --output")
    return sys.stdout.buffer


def _open(path: Path) -> IO[bytes]:
    """Open a file to append to, after cutting off half a line at its end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+", buffering=0)
        if file.seekable():  # a pipe or a terminal is not
            size = file.seek(0, os.SEEK_END)
            end = _last_newline(file, size)
            if end != size:
                file.truncate(end)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return file


def _last_newline(file: IO[bytes], size: int) -> int:
    """Return the position behind the file's last newline, or 0."""
    block = 1 << 16
    stop = size
    while stop > 0:
        start = max(0, stop - block)
        file.seek(start)
        found = file.read(stop - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
