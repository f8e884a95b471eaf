"""The queue in front of the engine: bounded, in order, and nothing leaves it unseen."""

import threading

import numpy as np
import pytest

from nut_runtime.parts import Part, Trigger
from nut_runtime.pipeline.part_queue import PartQueue
from nut_runtime.sources.base import Frame, now
from nut_runtime.station_file.config import WhenBusy
from nut_runtime.verdict import Reason


def _part(sequence: int) -> Part:
    frame = Frame(source="a", name="a", timestamp=now(), capture_ms=0.0, picture=np.zeros((8, 8, 3), np.uint8))
    return Part(sequence=sequence, trigger=Trigger(), frames=(frame,))


def _drain(waiting: PartQueue) -> list[tuple[int, bool]]:
    """Close the queue; return what it hands out: numbers, and whether there is a picture."""
    waiting.close()
    found = []
    while (part := waiting.get()) is not None:
        found.append((part.sequence, part.frames[0].picture is not None))
    return found


def test_parts_come_out_in_the_order_they_went_in():
    waiting = PartQueue(5, WhenBusy.WAIT)
    assert all(waiting.put(_part(number)) for number in range(1, 5))
    assert len(waiting) == 4
    assert _drain(waiting) == [(1, True), (2, True), (3, True), (4, True)]


def test_what_is_dropped_is_the_oldest_and_keeps_its_place_without_its_frames():
    waiting = PartQueue(2, WhenBusy.DROP_OLDEST)
    for number in range(1, 6):
        waiting.put(_part(number))
    assert (len(waiting), waiting.dropped) == (2, 3)
    part = waiting.get()
    assert part is not None
    assert (part.sequence, part.frames[0].picture, part.frames[0].reason) == (1, None, Reason.DROPPED)
    assert "faster than they are judged" in str(part.frames[0].error)
    assert _drain(waiting) == [(2, False), (3, False), (4, True), (5, True)]


def test_with_wait_a_full_queue_holds_the_source_until_there_is_room():
    waiting = PartQueue(1, WhenBusy.WAIT)
    waiting.put(_part(1))
    put = threading.Event()
    thread = threading.Thread(target=lambda: (waiting.put(_part(2)), put.set()), daemon=True)
    thread.start()
    assert not put.wait(0.05)
    assert waiting.get().sequence == 1
    assert put.wait(2)
    assert _drain(waiting) == [(2, True)]


def test_closing_wakes_whoever_waits_on_either_side():
    full, empty = PartQueue(1, WhenBusy.WAIT), PartQueue(1, WhenBusy.WAIT)
    full.put(_part(1))
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(full.put(_part(2))), daemon=True),
        threading.Thread(target=lambda: results.append(empty.get()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    full.close()
    empty.close()
    for thread in threads:
        thread.join(2)
    assert sorted(map(str, results)) == ["False", "None"]
    assert not full.put(_part(3))


@pytest.mark.parametrize("policy", list(WhenBusy))
def test_closed_without_time_left_it_hands_out_numbers_without_frames(policy):
    waiting = PartQueue(3, policy)
    for number in (1, 2):
        waiting.put(_part(number))
    waiting.close(drops=True)
    assert _drain(waiting) == [(1, False), (2, False)]


def test_where_parts_come_faster_than_they_are_recorded_the_source_waits_and_some_are_judged_still(monkeypatch):
    """Else the dropped ones would only grow, and whatever is reached would be dropped already."""
    monkeypatch.setattr("nut_runtime.pipeline.part_queue._MOST_DROPPED", 10)
    waiting = PartQueue(2, WhenBusy.DROP_OLDEST)
    thread = threading.Thread(target=lambda: [waiting.put(_part(number)) for number in range(100)], daemon=True)
    thread.start()
    found = []
    while len(found) < 100:
        assert len(waiting._parts) <= 13
        part = waiting.get()
        found.append((part.sequence, part.frames[0].picture is not None))
    assert [number for number, _ in found] == list(range(100))
    assert sum(has_picture for _, has_picture in found) >= 10
