"""JSON lines and CSV: whole lines only, each part once, never another program's file."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.sinks.csv_file import COLUMNS, CsvJournal
from nut_runtime.sinks.jsonl import JsonlJournal
from nut_runtime.verdict import Label, Reason


def jsonl(path: Path) -> JsonlJournal:
    return JsonlJournal(str(path))


KINDS = [pytest.param(jsonl, id="jsonl"), pytest.param(CsvJournal, id="csv")]


def sequences(path: Path) -> list[int]:
    text = path.read_text(encoding="utf-8")
    if text.startswith("{"):
        return [json.loads(line)["sequence"] for line in text.splitlines()]
    return [int(row["sequence"]) for row in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("open_journal", KINDS)
def test_a_journal_goes_on_from_its_last_whole_line(open_journal, judged_part, tmp_path):
    path = tmp_path / "verdicts"
    journal = open_journal(path)
    assert journal.last_sequence() == 0
    for number in (1, 2, 3):
        journal.write(judged_part(number))
    assert journal.last_sequence() == 3
    journal.close()
    journal.close()
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines()[-1][:20])  # a power cut
    journal = open_journal(path)
    assert journal.last_sequence() == 3
    journal.write(judged_part(4))
    journal.close()
    assert sequences(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("open_journal", KINDS)
def test_a_part_that_is_offered_again_is_in_the_file_once(open_journal, judged_part, tmp_path):
    path = tmp_path / "verdicts"
    journal = open_journal(path)
    journal.write(judged_part(1))
    journal.write(judged_part(1))
    journal.close()
    journal = open_journal(path)
    journal.write(judged_part(1))
    journal.write(judged_part(2))
    journal.close()
    assert sequences(path) == [1, 2]


@pytest.mark.parametrize("open_journal", KINDS)
def test_a_file_that_is_moved_away_is_begun_anew_and_nothing_is_lost(open_journal, judged_part, tmp_path):
    path = tmp_path / "verdicts"
    journal = open_journal(path)
    journal.write(judged_part(1))
    path.rename(tmp_path / "old")
    journal.write(judged_part(2))
    path.unlink()
    journal.write(judged_part(3))
    journal.close()
    assert (sequences(tmp_path / "old"), sequences(path)) == ([1], [3])


@pytest.mark.parametrize("open_journal", KINDS)
def test_a_second_instance_is_refused_until_the_first_has_ended(open_journal, judged_part, tmp_path):
    path = tmp_path / "verdicts"
    first = open_journal(path)
    with pytest.raises(OutputError, match="in use by another instance"):
        open_journal(path)
    first.write(judged_part(1))
    first.close()
    open_journal(path).close()


@pytest.mark.parametrize("open_journal", KINDS)
def test_zeros_that_a_power_cut_left_are_no_record(open_journal, judged_part, tmp_path):
    path = tmp_path / "verdicts"
    journal = open_journal(path)
    journal.write(judged_part(7))
    journal.close()
    with path.open("ab") as file:
        file.write(bytes(5000) + b"\n" + bytes(300))
    journal = open_journal(path)
    assert journal.last_sequence() == 7
    journal.close()


@pytest.mark.parametrize("open_journal", KINDS)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(open_journal, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG\nlines without an end")
    with pytest.raises(OutputError, match="choose another"):
        open_journal(path)
    assert path.read_bytes() == b"\x89PNG\nlines without an end"


def test_a_csv_file_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text("id,timestamp,verdict\n1,2,3\n")
    with pytest.raises(OutputError, match="another header"):
        CsvJournal(path)
    assert path.read_text() == "id,timestamp,verdict\n1,2,3\n"


def test_half_a_header_is_begun_again(judged_part, tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text(",".join(COLUMNS)[:15])
    journal = CsvJournal(path)
    journal.write(judged_part(1))
    journal.close()
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert sequences(path) == [1]


def test_a_csv_line_has_every_column_of_the_record(judged_part, tmp_path):
    path = tmp_path / "verdicts.csv"
    journal = CsvJournal(path)
    journal.write(judged_part(1, Label.DEFECT, picture="rejects/1.png"))
    journal.write(judged_part(2, Label.NO_VERDICT, reason=Reason.DARK))
    journal.close()
    defect, dark = csv.DictReader(path.read_text().splitlines())
    assert defect == {
        "id": "run1-1",
        "timestamp": "2026-11-24T12:00:01.000+00:00",
        "sequence": "1",
        "station": "line 3",
        "source": "front",
        "trigger": "",
        "label": "defect",
        "reason": "",
        "pred_score": "0.75",
        "raw_score": "30.0",
        "total_ms": "6.5",
        "picture": "rejects/1.png",
        "error": "",
    }
    assert (dark["label"], dark["reason"], dark["pred_score"], dark["error"]) == ("no-verdict", "dark", "", "dark")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        pytest.param("=1+1", "'=1+1", id="equals"),
        pytest.param("+1", "'+1", id="plus"),
        pytest.param("-1", "'-1", id="minus"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="at"),
        pytest.param("\t=1", " '=1", id="behind-a-tab"),
        pytest.param("\r=1", " '=1", id="behind-a-carriage-return"),
        pytest.param("a;=1", "a;'=1", id="behind-a-semicolon"),
        pytest.param("\uff1d1", "'\uff1d1", id="full-width"),
        pytest.param("part 7-b", "part 7-b", id="harmless"),
        pytest.param('a"b,c', 'a"b,c', id="quoted"),
        pytest.param("a\nb", "a b", id="two-lines"),
    ],
)
def test_no_text_becomes_a_formula_and_each_part_stays_one_line(judged_part, tmp_path, name, written):
    path = tmp_path / "verdicts.csv"
    journal = CsvJournal(path)
    journal.write(judged_part(1, trigger=name))
    journal.close()
    assert len(path.read_bytes().splitlines()) == 2
    (row,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert row["trigger"] == written


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    program = (
        "import os, sys\n"
        "from nut_runtime.sinks.jsonl import JsonlJournal\n"
        "JsonlJournal(sys.argv[1])\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -9
    JsonlJournal(str(path)).close()
