"""Triggers pass from one thread to another, or are refused; none disappears."""

import threading
import time

import pytest

from nut_runtime.parts import Trigger
from nut_runtime.triggers.queue import TriggerQueue


def test_nothing_is_accepted_before_somebody_takes_triggers():
    queue = TriggerQueue(limit=2)
    assert not queue.offer(Trigger())
    triggers = iter(queue)
    assert queue.offer(Trigger(name="a"))
    assert next(triggers).name == "a"


def test_a_full_queue_refuses_and_has_room_again_once_one_was_taken():
    queue = TriggerQueue(limit=1)
    triggers = iter(queue)
    assert queue.offer(Trigger(name="a"))
    assert not queue.is_free
    assert not queue.offer(Trigger(name="b"))
    next(triggers)
    assert queue.is_free
    assert queue.offer(Trigger(name="c"), timeout_s=1)


def test_waiting_for_room_ends_with_room_with_time_or_with_the_stop():
    queue = TriggerQueue(limit=1)
    triggers = iter(queue)
    queue.offer(Trigger(name="a"))
    began = time.monotonic()
    assert not queue.offer(Trigger(), timeout_s=0.05)
    assert time.monotonic() - began >= 0.05
    threading.Timer(0.02, next, args=(triggers,)).start()
    assert queue.offer(Trigger(name="b"), timeout_s=5)
    threading.Timer(0.02, queue.stop).start()
    assert not queue.offer(Trigger(name="c"), timeout_s=None)


def test_stopping_refuses_what_waits_and_ends_a_blocked_iteration_at_once():
    queue, refused = TriggerQueue(limit=3), []
    ended = threading.Event()

    def take():
        assert list(queue) == []
        ended.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while not queue.is_open and time.monotonic() < deadline:
        time.sleep(0.001)
    began = time.monotonic()
    queue.stop()
    assert ended.wait(1)
    assert time.monotonic() - began < 0.1

    queue = TriggerQueue(limit=3)
    triggers = iter(queue)
    for name in "abc":
        queue.offer(Trigger(name=name), refused=lambda name=name: refused.append(name))
    assert next(triggers).name == "a"
    queue.stop()
    assert refused == ["b", "c"]
    assert list(triggers) == []
    assert not queue.offer(Trigger())


def test_a_finished_queue_gives_what_waits_and_then_ends():
    queue = TriggerQueue(limit=3)
    triggers = iter(queue)
    queue.offer(Trigger(name="a"))
    queue.finish()
    assert not queue.offer(Trigger(name="b"))
    assert [trigger.name for trigger in triggers] == ["a"]


def test_a_trigger_is_taken_back_only_before_it_was_taken_up():
    queue = TriggerQueue(limit=3)
    triggers = iter(queue)
    first, second = Trigger(name="a"), Trigger(name="b")
    queue.offer(first)
    queue.offer(second)
    next(triggers)
    assert not queue.withdraw(first)
    assert queue.withdraw(second)
    assert len(queue) == 0


def test_a_taker_that_breaks_off_closes_the_queue():
    queue = TriggerQueue(limit=1)
    triggers = iter(queue)
    queue.offer(Trigger())
    next(triggers)
    assert queue.is_open
    triggers.close()
    assert not queue.is_open


@pytest.mark.parametrize("limit", [1, 4])
def test_of_many_threads_that_offer_each_trigger_is_taken_once_or_refused(limit):
    queue, accepted, seen = TriggerQueue(limit=limit), [], []
    taker = threading.Thread(target=lambda: seen.extend(trigger.name for trigger in queue), daemon=True)
    taker.start()
    deadline = time.monotonic() + 5
    while not queue.is_open and time.monotonic() < deadline:
        time.sleep(0.001)

    def give(base):
        for number in range(100):
            name = str(base * 1000 + number)
            if queue.offer(Trigger(name=name), timeout_s=1.0 if number % 2 else 0.0):
                accepted.append(name)

    givers = [threading.Thread(target=give, args=(base,)) for base in range(4)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    queue.finish()
    taker.join(5)
    assert sorted(seen) == sorted(accepted)
    assert len(accepted) >= 200
