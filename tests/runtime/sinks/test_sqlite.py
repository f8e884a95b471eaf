"""The SQLite journal: each part once, nothing of others touched, nothing damaged thrown away."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.sqlite import SqliteJournal, count_labels, read_parts
from nut_runtime.verdict import Label, Reason


def rows(path: Path, statement: str = "SELECT sequence FROM parts ORDER BY number") -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def written(path: Path, *parts: JudgedPart, health: Health | None = None) -> None:
    journal = SqliteJournal(path, health=health)
    for part in parts:
        journal.write(part)
    journal.close()


def test_a_row_has_the_columns_and_the_whole_record(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    part = judged_part(5, Label.DEFECT, picture="rejects/5.png", trigger="A-17")
    written(path, part)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM parts").fetchone())
    assert json.loads(row.pop("record")) == part.record
    assert row == {
        "number": 1,
        "id": "run1-5",
        "timestamp": "2026-11-24T12:00:05.000+00:00",
        "sequence": 5,
        "station": "line 3",
        "source": "front",
        "trigger_name": "A-17",
        "label": "defect",
        "reason": None,
        "pred_score": 0.75,
        "raw_score": 30.0,
        "total_ms": 6.5,
        "picture": "rejects/5.png",
        "error": "",
    }


def test_a_part_that_is_offered_again_is_there_once(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    written(path, judged_part(1), judged_part(1))
    written(path, judged_part(1), judged_part(2))
    assert rows(path) == [(1,), (2,)]


def test_the_sequence_goes_on_in_the_next_run(judged_part, tmp_path):
    path = tmp_path / "new" / "verdicts.sqlite"
    written(path, judged_part(41), judged_part(42))
    journal = SqliteJournal(path)
    assert journal.last_sequence() == 42
    journal.close()
    journal.close()


def test_a_clock_that_is_set_back_changes_neither_order_nor_numbers(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    early, late, later = judged_part(50), judged_part(51), judged_part(12)  # their times are their numbers' seconds
    later = replace(later, sequence=52, record=later.record | {"sequence": 52, "id": "run1-52"})
    written(path, early, late, later)
    assert later.record["timestamp"] < early.record["timestamp"]
    assert [record["sequence"] for record in read_parts(path, 3)] == [52, 51, 50]
    journal = SqliteJournal(path)
    assert journal.last_sequence() == 52
    journal.close()


def test_every_commit_waits_for_the_disk(judged_part, tmp_path):
    journal = SqliteJournal(tmp_path / "verdicts.sqlite")
    journal.write(judged_part(1))
    with journal._database.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    journal.close()


def test_times_and_labels_are_found_through_an_index(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    written(path, judged_part(1))
    assert "parts_by_time" in str(rows(path, "EXPLAIN QUERY PLAN SELECT * FROM parts WHERE timestamp >= 'x'"))
    assert "parts_by_label" in str(rows(path, "EXPLAIN QUERY PLAN SELECT * FROM parts WHERE label = 'x'"))


def test_a_page_reads_while_the_station_writes(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    journal = SqliteJournal(path)
    labels = [Label.GOOD, Label.DEFECT, Label.GOOD, Label.REVIEW, Label.NO_VERDICT]
    for number, label in enumerate(labels, start=1):
        journal.write(judged_part(number, label, reason=Reason.DARK if label is Label.NO_VERDICT else None))
    assert [record["sequence"] for record in read_parts(path, 2)] == [5, 4]
    assert [record["sequence"] for record in read_parts(path, 9, labels=[Label.DEFECT, Label.REVIEW])] == [4, 2]
    assert count_labels(path) == {Label.GOOD: 2, Label.DEFECT: 1, Label.REVIEW: 1, Label.NO_VERDICT: 1}
    since = datetime(2026, 11, 24, 12, 0, 3, tzinfo=UTC)
    assert count_labels(path, since=since) == {Label.GOOD: 1, Label.DEFECT: 0, Label.REVIEW: 1, Label.NO_VERDICT: 1}
    journal.close()


def test_reading_what_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"cannot read .*none\.sqlite"):
        read_parts(tmp_path / "none.sqlite", 1)


def test_a_second_instance_is_told_who_has_the_database(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    journal = SqliteJournal(path)
    program = (
        "import sys, pathlib; from nut_runtime.sinks.sqlite import SqliteJournal;"
        " SqliteJournal(pathlib.Path(sys.argv[1]))"
    )
    second = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert f"{path} is in use by process {os.getpid()}" in second.stderr
    journal.write(judged_part(1))
    journal.close()
    SqliteJournal(path).close()
    assert rows(path) == [(1,)]


def test_a_newer_database_is_refused_and_left_as_it_is(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    written(path, judged_part(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(OutputError, match="written by a newer nut-runtime"):
        SqliteJournal(path)
    assert rows(path) == [(1,)]


def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "recipes.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(OutputError, match="database of something else"):
        SqliteJournal(path)
    assert rows(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG" * 100)
    for _ in range(2):
        with pytest.raises(OutputError, match="not a SQLite database"):
            SqliteJournal(path)
    assert path.read_bytes() == b"\x89PNG" * 100
    assert list(tmp_path.iterdir()) == [path]


def spoil(path: Path, start: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[start : start + 3000] = b"\xa5" * 3000
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("start", [pytest.param(0, id="its-header"), pytest.param(8192, id="a-page-within")])
def test_a_damaged_database_is_set_aside_with_all_it_holds(judged_part, tmp_path, start, caplog):
    path = tmp_path / "verdicts.sqlite"
    written(path, *(judged_part(number) for number in range(1, 60)))
    spoiled = spoil(path, start)
    health = Health()
    written(path, judged_part(60), health=health)
    (aside,) = tmp_path.glob("verdicts.sqlite.corrupt-*")
    assert aside.read_bytes() == spoiled
    assert rows(path) == [(60,)]
    assert health.counters() == {"databases_set_aside": 1}
    assert "is damaged" in caplog.text


def test_a_database_that_is_damaged_while_in_use_is_set_aside_and_the_part_kept_at_the_second_offer(
    judged_part, tmp_path
):
    path = tmp_path / "verdicts.sqlite"
    written(path, *(judged_part(number) for number in range(1, 60)))
    health = Health()
    journal = SqliteJournal(path, health=health)
    with path.open("r+b") as file:  # in place: the same file, as a failing disk does it
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with journal._database.reading() as connection:
        connection.execute("PRAGMA shrink_memory")  # what it remembers of the file is still whole
    with pytest.raises(OutputError, match=r"was damaged .*corrupt-"):
        journal.write(judged_part(60))
    journal.write(judged_part(60))
    journal.close()
    assert rows(path) == [(60,)]
    assert health.counters() == {"databases_set_aside": 1}


def test_a_database_that_is_moved_away_while_in_use_takes_all_its_parts_with_it(judged_part, tmp_path):
    path = tmp_path / "verdicts.sqlite"
    journal = SqliteJournal(path)
    journal.write(judged_part(1))
    journal.write(judged_part(2))
    path.rename(tmp_path / "old.sqlite")
    journal.write(judged_part(3))
    journal.close()
    assert rows(path) == [(3,)]
    assert rows(tmp_path / "old.sqlite") == [(1,), (2,)]


def test_somebody_who_holds_the_database_delays_a_part_but_loses_none(judged_part, tmp_path, monkeypatch):
    monkeypatch.setattr("nut_runtime.sinks.database._BUSY_S", 0.1)
    path = tmp_path / "verdicts.sqlite"
    journal = SqliteJournal(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="locked"):
            journal.write(judged_part(1))
        other.execute("ROLLBACK")
    journal.write(judged_part(1))
    journal.close()
    assert rows(path) == [(1,)]
