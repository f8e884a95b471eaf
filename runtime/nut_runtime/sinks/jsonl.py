"""Verdict records as JSON lines, in a file or on standard output."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from nut_runtime.errors import OutputError
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.line_file import LineFile

__all__ = ["JsonlJournal"]

_log = logging.getLogger("nut_runtime")


class JsonlJournal:
    """A `Journal` that writes one record a line; each line is with the operating system before the next part.

    An existing file is continued, never overwritten; `LineFile` says how each line of it stays valid JSON.

    Args:
        path: The file, or `-` for standard output.

    Raises:
        OutputError: If the file cannot be written, holds something else, or another process writes to it.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard output" if path == "-" else Path(path).name
        self._file = _StandardOutput() if path == "-" else LineFile(Path(path), begins=b"{")
        self._last: dict[str, Any] = next(filter(None, map(_record, self._file.last_lines())), {})

    def write(self, part: JudgedPart) -> None:
        """Write one part's record; one that is the file's last already is not written again.

        Raises:
            OutputError: If the disk is full or the reader of the pipe has gone.
        """
        if part.record["id"] == self._last.get("id"):
            return
        self._file.append(json.dumps(part.record, allow_nan=False).encode() + b"\n")
        self._last = {"id": part.record["id"], "sequence": part.record["sequence"]}

    def last_sequence(self) -> int:
        """Return the number in the last record; 0 for an empty file and for standard output."""
        sequence = self._last.get("sequence")
        return sequence if isinstance(sequence, int) else 0

    def close(self) -> None:
        """Close the file; standard output stays open."""
        self._file.close()


class _StandardOutput:
    """Standard output, which a service may have been started without.

    It is written to past Python's buffer, which keeps what it could not write: a record that is offered again would
    come once more for each time. What cannot be taken back is the first half of a line in a pipe that was full then,
    so such a line counts as written and its rest goes before the next one.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("standard output is closed; give a file with --output")
        self._buffer = sys.stdout.buffer
        self._rest = b""
        try:
            self._descriptor: int | None = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):  # one in memory, as a test or a notebook has
            self._descriptor = None
        try:
            sys.stdout.flush()  # what was printed before comes before
        except OSError as error:
            raise _not_written(error) from error

    def append(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OutputError: If none of it was written.
        """
        try:
            self._write_rest()
        except OSError as error:
            raise _not_written(error) from error
        self._rest = line
        try:
            self._write_rest()
        except OSError as error:
            if len(self._rest) == len(line):
                self._rest = b""
                raise _not_written(error) from error
            # It is begun; whether its rest can be written is told to the next one.

    def last_lines(self) -> list[bytes]:
        return []

    def close(self) -> None:
        """Write the rest of a line, and leave it open for whoever writes after us."""
        try:
            self._write_rest()
        except OSError as error:
            _log.warning("%s; the last line is cut off", _not_written(error))
            self._rest = b""

    def _write_rest(self) -> None:
        """Write what is left of a line; `_rest` is then what is still left."""
        if self._descriptor is None:
            self._buffer.write(self._rest)
            self._buffer.flush()
            self._rest = b""
            return
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]


def _not_written(error: OSError) -> OutputError:
    return OutputError(f"cannot write to standard output: {error.strerror or error}")


def _record(line: bytes) -> dict[str, Any]:
    """Return a line's record, or an empty one where it is none, such as the zeros that a power cut may leave."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
