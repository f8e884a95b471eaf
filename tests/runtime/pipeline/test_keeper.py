"""A journal that fails for a while loses nothing, in order; one that must not fail ends the run."""

import time

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.pipeline import keeper as module
from nut_runtime.pipeline.keeper import Keeper


class _Journal:
    """Keeps numbers, while there is room."""

    name = "list"

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.is_full = False
        self.is_closed = False

    def write(self, part) -> None:
        if self.is_full:
            raise OutputError("no space left")
        self.kept.append(part.sequence)

    def last_sequence(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def journal() -> _Journal:
    return _Journal()


def test_what_could_not_be_kept_is_kept_later_in_order(journal, judged_part):
    health = Health()
    keeper = Keeper(journal, health, is_strict=False)
    assert keeper.keep(judged_part(1))
    journal.is_full = True
    assert not keeper.keep(judged_part(2))
    assert not keeper.keep(judged_part(3))
    assert "no space left" in health.components()["output list"].message
    assert not health.is_well
    journal.is_full = False
    keeper.retry(is_last=True)
    assert journal.kept == [1, 2, 3]
    assert health.is_well
    assert keeper.keep(judged_part(4))
    assert keeper.close() == 0
    assert journal.is_closed


def test_a_failing_journal_is_not_tried_for_each_part(journal, judged_part, monkeypatch):
    keeper = Keeper(journal, Health(), is_strict=False)
    journal.is_full = True
    assert not keeper.keep(judged_part(1))
    journal.is_full = False
    assert not keeper.keep(judged_part(2))  # within the second after the failure
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    keeper._retry_at = 0.0
    assert keeper.keep(judged_part(3))
    assert journal.kept == [1, 2, 3]


def test_what_waits_holds_no_frames(journal, judged_part):
    keeper = Keeper(journal, Health(), is_strict=False)
    journal.is_full = True
    keeper.keep(judged_part(1))
    assert keeper._backlog[0].views == ()
    assert keeper._backlog[0].record["sequence"] == 1


def test_memory_is_bounded_and_what_no_longer_fits_is_counted(journal, judged_part, monkeypatch):
    monkeypatch.setattr(module, "_BACKLOG", 3)
    health = Health()
    keeper = Keeper(journal, health, is_strict=False)
    journal.is_full = True
    for number in range(1, 6):
        keeper.keep(judged_part(number))
    assert health.counters()["records_lost"] == 2
    journal.is_full = False
    assert keeper.close() == 2
    assert journal.kept == [3, 4, 5]


def test_what_is_left_at_the_end_is_told(journal, judged_part):
    keeper = Keeper(journal, Health(), is_strict=False)
    journal.is_full = True
    keeper.keep(judged_part(1))
    assert keeper.close() == 1


def test_a_strict_one_raises(journal, judged_part):
    journal.is_full = True
    with pytest.raises(OutputError, match="no space left"):
        Keeper(journal, Health(), is_strict=True).keep(judged_part(1))


def test_catching_up_does_not_hold_up_the_line(journal, judged_part, monkeypatch):
    """A disk that is slow and has room again: a little at a time, with the order kept."""
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    keeper = Keeper(journal, Health(), is_strict=False)
    journal.is_full = True
    for number in range(1, 21):
        keeper.keep(judged_part(number))
    journal.is_full = False
    write, journal.write = journal.write, lambda part: (time.sleep(0.02), write(part))
    started = time.perf_counter()
    assert not keeper.keep(judged_part(21))
    assert time.perf_counter() - started < 0.2
    assert journal.kept == list(range(1, len(journal.kept) + 1))
    assert keeper.close() == 0
    assert journal.kept == list(range(1, 22))
