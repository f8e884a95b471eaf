"""Verdicts as a table that a spreadsheet opens."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nut_runtime.locate.tray import COUNTS
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.line_file import LineFile

__all__ = ["COLUMNS", "COUNT_COLUMNS", "CsvJournal"]

COLUMNS = (
    "id",
    "timestamp",
    "sequence",
    "station",
    "source",
    "trigger",
    "label",
    "reason",
    "pred_score",
    "raw_score",
    "total_ms",
    "picture",
    "error",
)

COUNT_COLUMNS = COUNTS
"""More columns where the parts are trays; empty for one that was not searched."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
# A spreadsheet takes a cell that begins so for a formula. Programs that split at `;` would begin a cell there too.
_FORMULA = re.compile("(^|;)(\\s*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")


class CsvJournal:
    """A `Journal` that adds one line a part to a CSV file: UTF-8, comma, header line, `COLUMNS`.

    Text never starts a formula: what would is given an apostrophe in front, as spreadsheets themselves do. Line ends
    and other control characters in it become spaces, so that a line of the file is a part.

    Args:
        path: The file; continued where it exists (see `LineFile`).
        has_counts: Add `COUNT_COLUMNS`.

    Raises:
        OutputError: If it cannot be written, has another header, or another process writes to it.
    """

    def __init__(self, path: Path, *, has_counts: bool = False) -> None:
        self.name = path.name
        self._counts = COUNT_COLUMNS if has_counts else ()
        self._file = LineFile(path, header=_line((*COLUMNS, *self._counts)))
        self._last_id, self._last_sequence = _last(self._file.last_lines())

    def write(self, part: JudgedPart) -> None:
        """Write one part; one that is the file's last already is not written again.

        Raises:
            OutputError: If the disk is full.
        """
        record = part.record
        values = [record["ms"]["total"] if column == "total_ms" else record[column] for column in COLUMNS]
        values += [record.get("counts", {}).get(column) for column in self._counts]
        cells = [_cell(value) for value in values]
        if cells[0] == self._last_id:
            return
        self._file.append(_line(cells))
        self._last_id, self._last_sequence = cells[0], record["sequence"]

    def last_sequence(self) -> int:
        """Return the number in the last line, 0 for none."""
        return self._last_sequence

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    return _FORMULA.sub(r"\1\2'", _CONTROL.sub(" ", value))


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "replace")


def _last(lines: Iterable[bytes]) -> tuple[str, int]:
    """Return id and number of the last line that has both; it may be zeros, after a power cut."""
    for line in lines:
        try:
            cells = next(csv.reader([line.decode()], strict=True))
            return cells[0], int(cells[COLUMNS.index("sequence")])
        except (ValueError, IndexError, StopIteration, csv.Error):
            continue
    return "", 0
