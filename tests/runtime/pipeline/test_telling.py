"""Listeners that hang, fail or are slow: the line does not notice, a run over files waits."""

import logging
import threading
import time

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.pipeline import telling
from nut_runtime.pipeline.telling import Teller


class _Listener:
    """Hears, after whatever it is told to do first."""

    name = "ear"

    def __init__(self, first=lambda: None) -> None:
        self.heard: list[int] = []
        self.first = first
        self.is_closed = False

    def hear(self, part) -> None:
        self.first()
        self.heard.append(part.sequence)

    def close(self) -> None:
        self.is_closed = True


def test_everything_is_heard_in_order_before_it_is_closed(judged_part):
    listener = _Listener()
    teller = Teller(listener, Health(), is_patient=False)
    for number in range(10):
        teller.tell(judged_part(number))
    teller.close()
    assert listener.heard == list(range(10))
    assert listener.is_closed


def test_one_that_hangs_holds_up_nobody_and_what_it_misses_is_counted(judged_part, monkeypatch):
    monkeypatch.setattr(telling, "_CLOSE_S", 0.05)
    release = threading.Event()
    health = Health()
    teller = Teller(_Listener(release.wait), health, is_patient=False)
    started = time.perf_counter()
    for number in range(100):
        teller.tell(judged_part(number))
    teller.close()
    assert time.perf_counter() - started < 1.0
    assert health.counters()["parts_missed_by_ear"] >= 100 - telling._WAITING - 1
    assert not health.is_well
    release.set()


def test_one_that_fails_is_reported_and_hears_the_next_part(judged_part):
    def fail_once() -> None:
        listener.first = lambda: None
        raise OutputError("no space left")

    health = Health()
    listener = _Listener(fail_once)
    teller = Teller(listener, health, is_patient=False)
    teller.tell(judged_part(1))
    teller.tell(judged_part(2))
    teller.close()
    assert listener.heard == [2]
    assert health.is_well


def test_a_defect_in_one_is_logged_with_its_traceback_and_the_next_part_follows(judged_part, caplog):
    def fail_once() -> None:
        listener.first = lambda: None
        raise ZeroDivisionError

    listener = _Listener(fail_once)
    teller = Teller(listener, Health(), is_patient=False)
    with caplog.at_level(logging.ERROR):
        teller.tell(judged_part(1))
        teller.tell(judged_part(2))
        teller.close()
    assert listener.heard == [2]
    assert "ZeroDivisionError" in caplog.text


def test_where_nobody_waits_on_a_line_all_is_heard_however_slow_and_a_failure_is_raised(judged_part):
    slow = _Listener(lambda: time.sleep(0.002))
    teller = Teller(slow, Health(), is_patient=True)
    for number in range(40):
        teller.tell(judged_part(number))
    teller.close()
    assert slow.heard == list(range(40))

    def fail() -> None:
        raise OutputError("no space left")

    teller = Teller(_Listener(fail), Health(), is_patient=True)
    teller.tell(judged_part(1))
    with pytest.raises(OutputError, match="no space left"):
        teller.close()
