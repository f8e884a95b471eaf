"""A text file that grows by whole lines and never holds half of one."""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from nut_runtime.claims import try_to_lock
from nut_runtime.errors import OutputError

__all__ = ["LineFile"]

_log = logging.getLogger("nut_runtime")

_TAIL = 1 << 20  # bytes from the end that `last_lines` looks at; a record of nine views has some ten thousand


class LineFile:
    """Appends lines; each is handed to the operating system whole before `append` returns.

    An existing file is continued. Half a line at its end, left by a computer that lost power, is cut off first. Where
    the disk fills up within a line, what was written of it is cut off, now or before the next one. A file that is moved
    or removed from outside, as log rotation does, is begun anew with the next line. A second instance is refused.
    Pipes and terminals can be written to as well, and have none of this.

    Args:
        path: The file; its folder is made where it is missing.
        header: First line, with its line end, of a new file; an older file must begin with it.
        begins: Bytes of which an older file's first must be one; empty takes any. So no picture is cut for a slip.

    Raises:
        OutputError: If the file cannot be written, is not what is said above, or another process writes to it.
    """

    def __init__(self, path: Path, *, header: bytes = b"", begins: bytes = b"") -> None:
        self._path = path
        self._header = header
        self._begins = begins
        self._is_regular = False
        self._inode = (0, 0)
        self._cut_to: int | None = None
        self._file = self._open()

    def append(self, line: bytes) -> None:
        """Add a line, given with its line end.

        Raises:
            OutputError: If the disk is full or the reader of the pipe has gone; nothing of the line is kept.
        """
        if self._is_moved():
            _log.warning("%s was moved or removed; a new one is begun", self._path)
            with suppress(OSError):
                self._file.close()
            self._file = self._open()
        start = 0
        try:
            if self._is_regular:
                if self._cut_to is not None:
                    self._file.truncate(self._cut_to)
                    self._cut_to = None
                start = self._file.seek(0, os.SEEK_END)
                if start == 0:
                    line = self._header + line
            left = memoryview(line)
            while left:  # the file has no buffer, and an unbuffered write may take only a part
                left = left[self._file.write(left) :]
        except OSError as error:
            if self._is_regular and self._cut_to is None:
                self._cut_to = start
                with suppress(OSError):
                    self._file.truncate(start)  # no half a line on a full disk
                    self._cut_to = None
            raise OutputError(f"cannot write to {self._path}: {error.strerror or error}") from error

    def last_lines(self) -> list[bytes]:
        """Return the last whole lines, without line ends, the last one first; none of a pipe, and not the header."""
        if not self._is_regular:
            return []
        try:
            size = self._file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL)
            self._file.seek(start)
            lines = self._file.read(size - start).split(b"\n")[:-1]  # what follows the last line end is no line
        except OSError as error:
            raise OutputError(f"cannot read {self._path}: {error.strerror or error}") from error
        first_is_whole = start == 0 and not self._header
        return lines[::-1] if first_is_whole else lines[:0:-1]

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with suppress(OSError):
            self._file.close()

    def _open(self) -> IO[bytes]:
        """Open the file to append to, after cutting off half a line at its end."""
        self._cut_to = None
        file: IO[bytes] | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab+", buffering=0)
            status = os.fstat(file.fileno())
            self._is_regular = stat.S_ISREG(status.st_mode)
            self._inode = (status.st_dev, status.st_ino)
            if self._is_regular:
                if os.name != "nt" and not try_to_lock(file.fileno()):  # there a lock would keep readers out
                    raise OutputError(
                        f"{self._path} is in use by another instance; stop that one or choose another file"
                    )
                self._check_begin(file)
                size = file.seek(0, os.SEEK_END)
                end = _last_newline(file, size)
                if end != size:
                    file.truncate(end)
        except OSError as error:
            if file is not None:
                file.close()
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        return file

    def _check_begin(self, file: IO[bytes]) -> None:
        """Refuse a file that is another program's, before half a line is cut off its end."""
        file.seek(0)
        first = file.read(max(1, len(self._header)))
        if self._header and first != self._header[: len(first)]:
            raise OutputError(f"{self._path} has another header than this version writes; move it or choose another")
        # A byte of 0 is what a power cut may leave of a file.
        if self._begins and first and first[0] not in self._begins + b"\0":
            raise OutputError(f"{self._path} holds something else than records; move it or choose another")

    def _is_moved(self) -> bool:
        """Whether the path no longer leads to the file that is open."""
        if not self._is_regular:
            return False
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return True
        except OSError:  # a share that is away for a moment; the write itself will say so
            return False
        return (status.st_dev, status.st_ino) != self._inode


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
