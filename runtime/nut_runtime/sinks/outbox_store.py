"""The table of records that wait for the network, and how far each destination has got."""

import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nut_runtime.health import Health
from nut_runtime.sinks.database import Database

__all__ = ["OutboxStore", "StoredRecord"]

_log = logging.getLogger("nut_runtime")

_KIND = 0x6E75746F  # "nuto"
# AUTOINCREMENT, for a number must never come again: a destination's place is a number.
_SCHEMA = """
    CREATE TABLE records (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, record TEXT NOT NULL);
    CREATE TABLE destinations (
        name TEXT PRIMARY KEY,
        number INTEGER NOT NULL,        -- of the last record that it took
        until INTEGER,                  -- of the last that it is owed, where the station no longer has it
        lost INTEGER NOT NULL DEFAULT 0 -- records that went because too many waited
    );
    CREATE TABLE refused (
        number INTEGER PRIMARY KEY, destination TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL,
        id TEXT NOT NULL, record TEXT NOT NULL
    );
    CREATE TABLE last_part (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, sequence INTEGER NOT NULL);
    INSERT INTO last_part VALUES (1, '', 0)
"""
_VACUUM_PAGES = 256  # given back to the disk at a time, of what an outage made the file grow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record as a destination gets it.

    Attributes:
        number: Its place in the outbox.
        id: The record's id, the same each time it is delivered.
        body: The record as JSON.
    """

    number: int
    id: str
    body: str


@dataclass(slots=True)
class _Place:
    """How far a destination has got."""

    number: int
    waiting: int


class OutboxStore:
    """Keeps records until every destination took them; its methods may be called from any thread.

    A destination that is new to the database gets what comes from now on. One that the station no longer has keeps what
    it is owed, until the station has it again, but gets nothing more.

    Args:
        path: The SQLite file.
        destinations: Their names.
        keep: Records that wait at most for each.
        health: Counts what was lost (`outbox_lost_NAME`) and refused (`outbox_refused_NAME`).

    Attributes:
        changed: Notified when a record was added; may be used to wake those who wait for one. Also the lock.

    Raises:
        OutputError: As `Database`.
    """

    def __init__(self, path: Path, destinations: Sequence[str], *, keep: int, health: Health) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._names = tuple(destinations)
        self._keep = max(1, keep)
        self._health = health
        self._places: dict[str, _Place] = {}
        self._swept = 0  # up to this number, every record that nobody needs is deleted
        self._last_id, self._last_sequence = "", 0
        self._database = Database(path, kind=_KIND, version=1, schema=_SCHEMA, health=health, on_open=self._read_places)

    def add(self, record_id: str, sequence: int, body: str) -> None:
        """Keep one record for all destinations; the last one again changes nothing.

        Raises:
            OutputError: If it cannot be kept now; nothing of it is.
        """
        with self.changed:
            if record_id == self._last_id:
                return
            with self._database.transaction() as connection:
                is_new = 0
                if self._places:
                    is_new = connection.execute(
                        "INSERT INTO records (id, record) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (record_id, body)
                    ).rowcount
                connection.execute("UPDATE last_part SET id = ?, sequence = ?", (record_id, sequence))
                places = {name: _Place(place.number, place.waiting + is_new) for name, place in self._places.items()}
                full = [name for name, place in places.items() if place.waiting > self._keep]
                for name in full:
                    self._pass_oldest(connection, name, places[name])
                swept = self._sweep(connection, places) if full else self._swept
            self._last_id, self._last_sequence = record_id, sequence
            self._places, self._swept = places, swept
            for name in full:
                self._health.count(f"outbox_lost_{name}")
            self.changed.notify_all()

    def next(self, destination: str, limit: int) -> list[StoredRecord]:
        """Return the oldest records that a destination has not taken, in order.

        Raises:
            OutputError: If they cannot be read.
        """
        with self.changed:
            if not self._places[destination].waiting:
                return []
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT number, id, record FROM records WHERE number > ? ORDER BY number LIMIT ?",
                    (self._places[destination].number, limit),
                ).fetchall()
        return [StoredRecord(number=number, id=record_id, body=body) for number, record_id, body in rows]

    def took(self, destination: str, records: Sequence[StoredRecord]) -> None:
        """Note that a destination took these, the oldest ones; what all took is deleted.

        The disk is not waited for: what a power cut takes back is delivered once more.

        Raises:
            OutputError: If it cannot be noted on disk; in this run it counts nevertheless.
        """
        if records:
            with self.changed:
                self._pass(destination, records)
                with self._database.transaction(is_durable=False) as connection:
                    self._keep_places(connection)

    def refuse(self, destination: str, record: StoredRecord, reason: str) -> None:
        """Set a record aside that a destination will never take, so that those behind it can go on.

        Raises:
            OutputError: If it cannot be kept aside; then it waits as before.
        """
        with self.changed:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO refused (destination, at, reason, id, record) VALUES (?, ?, ?, ?, ?)",
                    (destination, datetime.now(UTC).isoformat(timespec="seconds"), reason, record.id, record.body),
                )
                connection.execute(
                    "DELETE FROM refused WHERE number <= (SELECT MAX(number) FROM refused) - ?", (self._keep,)
                )
                connection.execute("UPDATE destinations SET number = ? WHERE name = ?", (record.number, destination))
            self._pass(destination, [record])
            self._health.count(f"outbox_refused_{destination}")

    def waiting(self, destination: str) -> int:
        """Return how many records wait for a destination; at once, whatever the disk is doing."""
        return self._places[destination].waiting

    def last_sequence(self) -> int:
        """Return the number of the last part that was added, delivered or not."""
        return self._last_sequence

    def close(self) -> None:
        """Close the database; safe to call twice."""
        with self.changed:
            self._database.close()

    def _pass(self, destination: str, records: Sequence[StoredRecord]) -> None:
        """Move a destination's place behind these records."""
        place = self._places[destination]
        # Some may have been passed meanwhile, because too many waited. They are counted as lost, though they were not.
        place.waiting -= sum(record.number > place.number for record in records)
        place.number = max(place.number, records[-1].number)

    def _pass_oldest(self, connection: sqlite3.Connection, name: str, place: _Place) -> None:
        """Give up the oldest record that waits for a destination."""
        (place.number,) = connection.execute(
            "SELECT MIN(number) FROM records WHERE number > ?", (place.number,)
        ).fetchone()
        place.waiting -= 1
        connection.execute("UPDATE destinations SET number = ?, lost = lost + 1 WHERE name = ?", (place.number, name))

    def _keep_places(self, connection: sqlite3.Connection) -> None:
        connection.executemany(
            "UPDATE destinations SET number = ? WHERE name = ?",
            [(place.number, name) for name, place in self._places.items()],
        )
        self._swept = self._sweep(connection, self._places)
        if not any(place.waiting for place in self._places.values()):
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    def _sweep(self, connection: sqlite3.Connection, places: Mapping[str, _Place]) -> int:
        """Delete what every destination took; return the number up to which that is done."""
        done = min(place.number for place in places.values())
        if done > self._swept:
            connection.execute(
                "DELETE FROM records WHERE number > ? AND number <= ? AND NOT EXISTS ("
                "SELECT 1 FROM destinations WHERE records.number > destinations.number AND records.number <= until)",
                (self._swept, done),
            )
        return done

    def _read_places(self, connection: sqlite3.Connection) -> None:
        """Take up where an earlier run stopped, or begin anew."""
        for name, place in self._places.items():  # what waited in a database that has just been set aside
            self._health.count(f"outbox_lost_{name}", place.waiting)
        (newest,) = connection.execute(
            "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'records'"
        ).fetchone()
        connection.execute("BEGIN IMMEDIATE")
        for name in self._names:
            connection.execute(
                "INSERT INTO destinations (name, number) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET until = NULL",
                (name, newest),
            )
        for name, number, until in connection.execute("SELECT name, number, until FROM destinations").fetchall():
            if name not in self._names:
                self._leave_owed(connection, name, number, newest if until is None else until)
        connection.execute("COMMIT")
        self._swept = 0
        self._last_id, self._last_sequence = connection.execute("SELECT id, sequence FROM last_part").fetchone()
        numbers = dict(connection.execute("SELECT name, number FROM destinations").fetchall())
        self._places = {name: _Place(numbers[name], _count(connection, numbers[name], newest)) for name in self._names}

    def _leave_owed(self, connection: sqlite3.Connection, name: str, number: int, until: int) -> None:
        """Let a destination that the station no longer has keep what waits for it, and nothing more."""
        owed = _count(connection, number, until)
        if owed:
            _log.warning("%d records wait for %s, which this station does not have; they are kept for it", owed, name)
            connection.execute("UPDATE destinations SET until = ? WHERE name = ?", (until, name))
        else:
            connection.execute("DELETE FROM destinations WHERE name = ?", (name,))


def _count(connection: sqlite3.Connection, number: int, until: int) -> int:
    (count,) = connection.execute(
        "SELECT COUNT(*) FROM records WHERE number > ? AND number <= ?", (number, until)
    ).fetchone()
    return int(count)
