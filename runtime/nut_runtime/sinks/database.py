"""A SQLite file of ours: claimed, durable, set aside where it is damaged."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from nut_runtime.claims import claim, lock_file_of
from nut_runtime.errors import InputError, OutputError
from nut_runtime.health import Health

__all__ = ["Database"]

_log = logging.getLogger("nut_runtime")

_MAGIC = b"SQLite format 3\0"
_CHECKED_BYTES = 64_000_000  # a larger database is not looked through at start, which would keep the line waiting
_BUSY_S = 2.0  # how long somebody's own look into the database may keep it locked
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """One SQLite database that this process alone writes to; its methods may be called from any thread.

    WAL, so that readers never stop the writer, and `synchronous=FULL`: with the usual NORMAL a power cut takes the last
    transactions of a WAL database back, though the process was told that they are kept. FULL waits for the disk at each
    commit, and what was acknowledged stays.

    A damaged database must not stop a line, and nothing of it may be thrown away: it is renamed to
    `NAME.corrupt-TIME`, with its log, and a new one is begun. That is logged, and counted as `databases_set_aside`.
    A file that is no database of this kind is refused and left as it is.

    Args:
        path: The file; its folder is made where it is missing.
        kind: Number in the file's header that tells it from databases of other programs.
        version: Of the tables, from 1.
        schema: SQL statements that make the tables in an empty database.
        health: Counts databases set aside.
        on_open: Called within the lock whenever a database was opened: at first, and after one was set aside or lost.

    Raises:
        OutputError: If it cannot be opened or written, is of another kind or newer version, or another process has it.
    """

    def __init__(
        self,
        path: Path,
        *,
        kind: int,
        version: int,
        schema: str,
        health: Health | None = None,
        on_open: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = path
        self._kind, self._version, self._schema = kind, version, schema
        self._health = health
        self._on_open = on_open
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        if not lock_file_of(path).exists():  # with one it has been ours, whatever it looks like now
            self._refuse_other_files()
        try:
            self._claim = claim(path)
        except InputError as error:
            raise OutputError(f"{error}, or choose another file") from error
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the connection, and keep all that is done with it in the block, or nothing.

        Args:
            is_durable: Wait until the disk has it. Without, a power cut, and nothing else, may take it back.

        Raises:
            OutputError: If it cannot be kept: disk full, read-only, locked, or damaged and now set aside.
        """
        with self._lock:
            connection = self._usable()
            try:
                connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._told(error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to read with; short reads only, for the writer waits.

        Raises:
            OutputError: If it cannot be read.
        """
        with self._lock:
            connection = self._usable()
            try:
                yield connection
            except sqlite3.Error as error:
                raise self._told(error) from error

    def close(self) -> None:
        """Close it and let another process have it; safe to call twice."""
        with self._lock:
            if self._connection is not None:
                with suppress(sqlite3.Error):  # a full disk: the log stays, and is taken in at the next start
                    self._connection.close()
                self._connection = None
            self._claim.release()

    def _usable(self) -> sqlite3.Connection:
        """Return the connection, to a new database where the file was moved or removed from outside."""
        if self._connection is None:
            raise OutputError(f"{self.path} is closed")
        if self._is_moved():  # going on would write to a file that nobody can see any more
            _log.warning("%s was moved or removed; a new one is begun", self.path)
            with suppress(sqlite3.Error):  # closing a database that was moved would leave its log behind
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            self._connection.close()
            self._open()
        return self._connection

    def _is_moved(self) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return True
        except OSError:  # a disk that is away for a moment; the transaction itself will say so
            return False
        return (status.st_dev, status.st_ino) != self._inode

    def _told(self, error: sqlite3.Error) -> OutputError:
        """Return what to raise for an error; a damaged database is set aside first."""
        if not _is_damage(error):
            return OutputError(f"cannot write {self.path}: {error}")
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        aside = self._set_aside(str(error))
        self._open()
        return OutputError(f"{self.path} was damaged ({error}); it is now {aside.name}, and a new one is begun")

    def _open(self) -> None:
        try:
            self._connection = self._connected()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise OutputError(f"cannot open {self.path}: {error}") from error
            self._set_aside(str(error))
            try:
                self._connection = self._connected()
            except sqlite3.Error as again:
                raise OutputError(f"cannot open {self.path}: {again}") from again
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)
        if self._on_open is not None:
            try:
                self._on_open(self._connection)
            except sqlite3.Error as error:
                raise OutputError(f"cannot write {self.path}: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        kind, version = (_one(connection, f"PRAGMA {name}") for name in ("application_id", "user_version"))
        is_new = not kind and not version and not _one(connection, "SELECT COUNT(*) FROM sqlite_master")
        if not is_new and kind != self._kind:
            raise OutputError(f"{self.path} is the database of something else; choose another file")
        if not isinstance(version, int) or version > self._version:
            raise OutputError(
                f"{self.path} was written by a newer nut-runtime (tables {version}, this one knows {self._version});"
                " update, or choose another file"
            )
        if is_new:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if _one(connection, "PRAGMA journal_mode = WAL") != "wal":
            raise OutputError(
                f"{self.path} is on a disk without shared memory, such as a network share; use a local one"
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 16000000")  # a log that grew once gives its room back
        if is_new:  # one transaction, so that no kill leaves half the tables
            connection.executescript(
                f"BEGIN IMMEDIATE; {self._schema};"
                f" PRAGMA application_id = {self._kind}; PRAGMA user_version = {self._version}; COMMIT;"
            )
        elif self.path.stat().st_size <= _CHECKED_BYTES:
            found = _one(connection, "PRAGMA quick_check(1)")
            if found != "ok":
                raise _Damaged(str(found))

    def _refuse_other_files(self) -> None:
        try:
            with self.path.open("rb") as file:
                begin = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"cannot open {self.path}: {error.strerror or error}") from error
        if begin not in (b"", _MAGIC):
            raise OutputError(f"{self.path} is not a SQLite database; choose another file")

    def _set_aside(self, why: str) -> Path:
        """Rename the database and its log, so that a new one can be begun and the old one looked into."""
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}-{number}")
        try:
            self.path.rename(aside)
            for ending in ("-wal", "-shm"):
                log = self.path.with_name(self.path.name + ending)
                if log.exists():
                    log.rename(aside.with_name(aside.name + ending))
        except OSError as error:
            raise OutputError(f"cannot set {self.path} aside, which is damaged: {error.strerror or error}") from error
        _log.error("%s is damaged (%s); it is now %s, and a new one is begun", self.path, why, aside.name)
        if self._health is not None:
            self._health.count("databases_set_aside")
        return aside


class _Damaged(sqlite3.DatabaseError):
    """What SQLite's own check found."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _one(connection: sqlite3.Connection, statement: str) -> object:
    with closing(connection.execute(statement)) as rows:
        row = rows.fetchone()
    return None if row is None else row[0]
