"""Verdicts in a SQLite database."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.database import Database
from nut_runtime.verdict import Label

__all__ = ["SqliteJournal", "count_labels", "read_parts"]

_KIND = 0x6E757470  # "nutp"
_SCHEMA = """
    CREATE TABLE parts (
        number INTEGER PRIMARY KEY,   -- in the order they were kept, whatever the clock said
        id TEXT NOT NULL UNIQUE,
        timestamp TEXT NOT NULL,      -- UTC, ISO 8601, so that text order is time order
        sequence INTEGER NOT NULL,
        station TEXT NOT NULL,
        source TEXT NOT NULL,
        trigger_name TEXT NOT NULL,
        label TEXT NOT NULL,
        reason TEXT,
        pred_score REAL,
        raw_score REAL,
        total_ms REAL,
        picture TEXT,
        error TEXT NOT NULL,
        record TEXT NOT NULL          -- all of it, as JSON
    );
    CREATE INDEX parts_by_time ON parts (timestamp);
    CREATE INDEX parts_by_label ON parts (label, timestamp)
"""
_NUTS = """
    CREATE TABLE IF NOT EXISTS nuts (
        id TEXT PRIMARY KEY,
        part TEXT NOT NULL,           -- id of the tray, in parts
        number INTEGER NOT NULL,      -- in reading order, from 1
        camera TEXT NOT NULL,
        timestamp TEXT NOT NULL,      -- the tray's
        label TEXT NOT NULL,
        flaw TEXT,                    -- why it is not judged
        pred_score REAL,
        raw_score REAL,
        x REAL NOT NULL,              -- its centre, in pixels of the frame
        y REAL NOT NULL,
        angle_deg REAL NOT NULL
    ) WITHOUT ROWID
"""
_NUT_INDICES = (
    "CREATE INDEX IF NOT EXISTS nuts_by_part ON nuts (part)",
    "CREATE INDEX IF NOT EXISTS nuts_by_label ON nuts (label, timestamp)",
)
_INSERT_NUT = """
    INSERT INTO nuts (id, part, number, camera, timestamp, label, flaw, pred_score, raw_score, x, y, angle_deg)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_INSERT = """
    INSERT INTO parts (id, timestamp, sequence, station, source, trigger_name, label, reason, pred_score, raw_score,
                       total_ms, picture, error, record)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""


class SqliteJournal:
    """A `Journal` that adds one row a part, each in a transaction that the disk has before `write` returns.

    The parts of a tray are rows of a table `nuts`, written in the same transaction. It is made with the first tray, so
    that the database of a station without trays stays as every version knows it.

    `Database` says what happens to damaged databases, those of others, and where two want the same one. The page and
    people read it while it is written: `read_parts`, `count_labels`, or any SQLite program.

    Args:
        path: The file; made where it is missing.
        health: Counts databases set aside.

    Raises:
        OutputError: If it cannot be opened, is not a journal, is of a newer version, or is in use.
    """

    def __init__(self, path: Path, *, health: Health | None = None) -> None:
        self.name = path.name
        self._database = Database(path, kind=_KIND, version=1, schema=_SCHEMA, health=health)

    def write(self, part: JudgedPart) -> None:
        """Keep one part; a repeat of one that is kept already changes nothing.

        Raises:
            OutputError: If it cannot be kept now; nothing of it is.
        """
        record = part.record
        row = (
            record["id"],
            record["timestamp"],
            record["sequence"],
            record["station"],
            record["source"],
            record["trigger"],
            record["label"],
            record["reason"],
            record["pred_score"],
            record["raw_score"],
            record["ms"]["total"],
            record["picture"],
            record["error"],
            json.dumps(record, allow_nan=False),
        )
        with self._database.transaction() as connection:
            connection.execute(_INSERT, row)
            if record.get("nuts"):
                connection.execute(_NUTS)
                for index in _NUT_INDICES:
                    connection.execute(index)
                connection.executemany(_INSERT_NUT, [_nut_row(nut, record) for nut in record["nuts"]])

    def last_sequence(self) -> int:
        """Return the number of the last part kept, 0 for none.

        Raises:
            OutputError: If the database cannot be read.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT sequence FROM parts ORDER BY number DESC LIMIT 1").fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        """Close the database; safe to call twice."""
        self._database.close()


def _nut_row(nut: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        nut["id"],
        record["id"],
        nut["number"],
        nut["camera"],
        record["timestamp"],
        nut["label"],
        nut["flaw"],
        nut["pred_score"],
        nut["raw_score"],
        *nut["centre"],
        nut["angle_deg"],
    )


def read_parts(path: Path, limit: int, *, labels: Sequence[Label] = ()) -> list[dict[str, Any]]:
    """Return the records of the last parts, the last one first, while a station may be writing.

    Args:
        path: A `SqliteJournal`'s file.
        limit: How many at most.
        labels: Only those with one of these labels; empty takes all.

    Raises:
        OutputError: If it cannot be read.
    """
    chosen = f"WHERE label IN ({', '.join('?' * len(labels))})" if labels else ""
    # The numbers of the placeholders come from us, their values from SQLite's own binding.
    statement = f"SELECT record FROM parts {chosen} ORDER BY number DESC LIMIT ?"  # noqa: S608
    with _reader(path) as connection:
        rows = connection.execute(statement, (*map(str, labels), limit)).fetchall()
    return [json.loads(record) for (record,) in rows]


def count_labels(path: Path, *, since: datetime | None = None) -> dict[Label, int]:
    """Return how many parts had each label, all four of them, while a station may be writing.

    Args:
        path: A `SqliteJournal`'s file.
        since: Only parts from this moment on, with its time zone; None counts all.

    Raises:
        OutputError: If it cannot be read.
    """
    earliest = "" if since is None else since.astimezone(UTC).isoformat(timespec="milliseconds")
    with _reader(path) as connection:
        rows = connection.execute(
            "SELECT label, COUNT(*) FROM parts WHERE timestamp >= ? GROUP BY label", (earliest,)
        ).fetchall()
    return dict.fromkeys(Label, 0) | {Label(label): count for label, count in rows}


@contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection of its own that cannot write, so that no reader keeps the station waiting."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise OutputError(f"cannot read {path}: {error}") from error
