"""A real `nut-runtime` process with a station file of its own, to do things to."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["StationProcess", "wait_for"]


def wait_for(what: Callable[[], Any], *, within_s: float, why: str) -> Any:
    """Return what a function gives, once that is true.

    Raises:
        TimeoutError: If it is not within the time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{why}: not within {within_s:g} s")


class StationProcess:
    """Runs `nut-runtime --config` in a folder, and looks at what it keeps there.

    Args:
        folder: Where the station file and all outputs are.
        text: The station file.
    """

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "station.toml").write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def database(self) -> Path:
        """Where it keeps its verdicts."""
        return self.folder / "verdicts.sqlite"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None  # noqa: S101 - a mistake of the scenario, not of a user
        return self._process.pid

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        with (self.folder / "stderr.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nut_runtime", "run", "--config", str(self.folder / "station.toml"), "--quiet"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it as a power cut would, but for the disk's cache."""
        os.killpg(self.pid, signal.SIGKILL)
        self.end(within_s=10)

    def terminate(self) -> float:
        """Send SIGTERM and wait; return how long it took, in seconds.

        Raises:
            TimeoutError: If it takes longer than 10 s.
        """
        started = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        self.end(within_s=10)
        return time.monotonic() - started

    def end(self, *, within_s: float) -> int:
        """Wait for its end; return its exit code.

        Raises:
            TimeoutError: If it does not end in time.
        """
        assert self._process is not None  # noqa: S101
        try:
            self.exit_code = self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the station did not end within {within_s:g} s") from error
        return self.exit_code

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")

    def rows(self) -> list[dict[str, Any]]:
        """Return every record in the database, in the order they were kept."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                found = connection.execute("SELECT record FROM parts ORDER BY number").fetchall()
            except sqlite3.OperationalError:  # it is being made
                return []
        return [json.loads(row[0]) for row in found]

    def count(self) -> int:
        """Return how many records the database has."""
        if not self.database.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                return int(connection.execute("SELECT COUNT(*) FROM parts").fetchone()[0])
            except sqlite3.OperationalError:
                return 0

    def wait_for_parts(self, number: int, *, within_s: float = 60.0) -> None:
        """Wait until the database has so many records.

        Raises:
            TimeoutError: If it has not within the time.
        """
        wait_for(lambda: self.count() >= number, within_s=within_s, why=f"{number} parts are not judged")

    def integrity(self) -> str:
        """Return what SQLite says of its integrity: `ok`."""
        with closing(sqlite3.connect(self.database)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])

    def memory_mb(self) -> float:
        """Return its resident memory, in megabytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def descriptors(self) -> int:
        """Return how many files, sockets and pipes it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - a count, no paths

    def threads(self) -> int:
        """Return how many threads it has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))  # noqa: PTH208

    @staticmethod
    def trigger(port: int, name: str, *, timeout_s: float = 5.0) -> dict[str, Any] | None:
        """Trigger a part over HTTP; return its record, or None where no answer came."""
        query = urllib.parse.urlencode({"name": name, "timeout_s": timeout_s})
        request = urllib.request.Request(f"http://127.0.0.1:{port}/trigger?{query}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s + 1) as answer:  # noqa: S310
                record: dict[str, Any] = json.loads(answer.read())
                return record
        except (OSError, ValueError, http.client.HTTPException):  # the last where it is killed within its answer
            return None
