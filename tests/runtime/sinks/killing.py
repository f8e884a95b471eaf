"""Kills writers of every output with SIGKILL at random moments, and looks at what they leave.

    python tests/runtime/sinks/killing.py 500

A writer is a process of its own that opens an output, goes on from its last number, and writes parts as fast as it can;
after each `write` has returned it says the number over a pipe: that is what was acknowledged. After each kill: the file
is whole, everything acknowledged is in it exactly once, at most one part more is, and the numbers have no gap over all
the runs. Exit code 1 and the findings where that does not hold.
"""

import argparse
import csv
import importlib.util
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.csv_file import CsvJournal
from nut_runtime.sinks.jsonl import JsonlJournal
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.sinks.pictures import PictureSink, picture_path
from nut_runtime.sinks.sqlite import SqliteJournal
from nut_runtime.station_file.config import PicturesConfig, SavePolicy
from nut_runtime.verdict import Label

LONGEST_LIFE_S = 0.08
ROUNDS_A_FILE = 10  # kills of one file, which is read as a whole after each


class FileReceiver:
    """A destination that appends the id of each record to a file."""

    name = "mqtt"
    batch = 7

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def deliver(self, records: Sequence[StoredRecord]) -> int:
        for record in records:
            os.write(self._file, f"{record.id}\n".encode())
        return len(records)

    def close(self) -> None:
        os.close(self._file)


class PicturesAsJournal:
    """The pictures' output behind the interface of the others."""

    def __init__(self, folder: Path) -> None:
        self._config = PicturesConfig(folder=folder, save=SavePolicy.ALL, keep=None, least_free_mb=0)
        self._sink = PictureSink(self._config)

    def write(self, part: JudgedPart) -> None:
        frame = part.views[0].frame
        path = picture_path(self._config, frame.timestamp, part.sequence, part.label, frame.name)
        part.record["picture"] = str(path)
        self._sink.hear(part)

    def last_sequence(self) -> int:
        # By number: the stamps of the test's parts repeat.
        return max((int(path.name.split("-")[1]) for path in self._sink.recent(10**6)), default=0)


def numbers_in_jsonl(path: Path) -> list[int]:
    JsonlJournal(str(path)).close()  # as the next run does
    return [json.loads(line)["sequence"] for line in path.read_text().splitlines()]


def numbers_in_csv(path: Path) -> list[int]:
    CsvJournal(path).close()
    return [int(row["sequence"]) for row in csv.DictReader(path.read_text().splitlines(), strict=True)]


def numbers_in_sqlite(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT sequence FROM parts ORDER BY number")]


def numbers_in_outbox(path: Path) -> list[int]:
    """Return what was delivered, in the order of its first time, and then what waits."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        waiting = [row[0] for row in connection.execute("SELECT id FROM records ORDER BY number")]
    delivered = path.with_suffix(".delivered").read_text().split()
    return [int(record_id.partition("-")[2]) for record_id in dict.fromkeys(delivered + waiting)]


def numbers_in_pictures(folder: Path) -> list[int]:
    import cv2

    numbers = []
    for path in folder.glob("[!.]*"):
        # Only the end needs a look: a picture appears whole or not at all.
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), f"{path} is half a picture"
        numbers.append(int(path.name.split("-")[1]))
    if numbers:
        assert cv2.imread(str(next(folder.glob("[!.]*")))) is not None
    return sorted(numbers)


def open_outbox(path: Path) -> Outbox:
    return Outbox(path, [FileReceiver(path.with_suffix(".delivered"))], Health())


Kind = tuple[Callable[[Path], Any], Callable[[Path], list[int]]]
KINDS: dict[str, Kind] = {
    "jsonl": (lambda path: JsonlJournal(str(path)), numbers_in_jsonl),
    "csv": (CsvJournal, numbers_in_csv),
    "sqlite": (SqliteJournal, numbers_in_sqlite),
    "outbox": (open_outbox, numbers_in_outbox),
    "pictures": (PicturesAsJournal, numbers_in_pictures),
}


def write_until_killed(kind: str, path: Path, pipe: int, make_part: Callable[..., JudgedPart]) -> None:
    """Be a writer."""
    journal = KINDS[kind][0](path)
    number = journal.last_sequence()
    while True:
        number += 1
        journal.write(make_part(number, Label.DEFECT if number % 3 == 0 else Label.GOOD))
        os.write(pipe, f"{number}\n".encode())


def kill_once(kind: str, path: Path, chance: random.Random, make_part: Callable[..., JudgedPart]) -> list[int]:
    """Let a writer live for a random time; return the numbers it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_until_killed(kind, path, writing, make_part)
        finally:
            os._exit(1)
    os.close(writing)
    if chance.random() < 0.8:  # else it may be killed while it opens the file
        os.set_blocking(reading, True)
        first = os.read(reading, 65536)
    else:
        first = b""
    time.sleep(chance.random() * LONGEST_LIFE_S)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the {kind} writer ended by itself"
    data = first
    while more := os.read(reading, 65536):
        data += more
    os.close(reading)
    return [int(line) for line in data.decode().split()]


def run(kills: int, folder: Path, seed: int) -> dict[str, int]:
    """Kill writers in turn; return how many parts each output was told.

    Raises:
        AssertionError: If anything was lost, doubled or halved.
    """
    import cv2

    cv2.setNumThreads(0)  # a thread would not come along into a forked process
    spec = importlib.util.spec_from_file_location("parts_of_tests", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chance = random.Random(seed)  # noqa: S311 - no secret, but repeatable
    held, total = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for index in range(kills):
        kind = list(KINDS)[index % len(KINDS)]
        rounds = index // len(KINDS) // ROUNDS_A_FILE
        path = folder / f"{kind}{rounds}"
        if index // len(KINDS) % ROUNDS_A_FILE == 0:
            held[kind] = 0
        acknowledged = kill_once(kind, path, chance, module._judged_part)
        if not path.exists():
            assert not acknowledged
            continue
        numbers = KINDS[kind][1](path)
        last = acknowledged[-1] if acknowledged else held[kind]
        where = f"kill {index + 1}, {kind}"
        assert numbers == list(range(1, len(numbers) + 1)), f"{where}: gaps, repeats or wrong order"
        assert last <= len(numbers) <= last + 1, f"{where}: {last} were acknowledged, {len(numbers)} are there"
        assert not acknowledged or acknowledged[0] == held[kind] + 1, f"{where}: the numbers did not go on"
        total[kind] += len(numbers) - held[kind]
        held[kind] = len(numbers)
    assert not list(folder.glob("*.corrupt-*")), "a database was damaged"
    return total


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="kill writers and look at what they leave")
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nut-killing-"))
    started = time.monotonic()
    try:
        held = run(options.kills, folder, options.seed)
    except AssertionError as error:
        sys.stdout.write(f"FAILED: {error}; the files are in {folder}\n")
        return 1
    shutil.rmtree(folder)
    parts = ", ".join(f"{count} in {kind}" for kind, count in held.items())
    seconds = time.monotonic() - started
    sys.stdout.write(f"{options.kills} kills in {seconds:.0f} s: {parts}; none lost, doubled or halved\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
