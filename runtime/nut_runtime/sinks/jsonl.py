"""Verdict records as JSON lines, in a file or on standard output."""

import json
import sys
from pathlib import Path
from typing import IO, Any

from nut_runtime.errors import OutputError
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.line_file import LineFile

__all__ = ["JsonlJournal"]


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
    """Standard output, which a service may have been started without."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("standard output is closed; give a file with --output")
        self._file: IO[bytes] = sys.stdout.buffer

    def append(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error

    def last_lines(self) -> list[bytes]:
        return []

    def close(self) -> None:
        """Leave it open for whoever writes after us."""


def _record(line: bytes) -> dict[str, Any]:
    """Return a line's record, or an empty one where it is none, such as the zeros that a power cut may leave."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
