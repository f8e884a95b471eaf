"""A call waits for its own record, or is told why there is none."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nut_runtime.errors import NutError
from nut_runtime.health import Health
from nut_runtime.triggers.http_request import AnswerLateError, HttpTriggers, TriggerRefusedError


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def source(health):
    triggers = HttpTriggers(limit=4, health=health)
    yield triggers
    triggers.stop()


def run(source: HttpTriggers, judge) -> threading.Thread:
    """Judge each trigger in a thread; returns once it takes them."""

    def work():
        for trigger in source:
            judge(trigger)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while not source._queue.is_open:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return thread


def answer(trigger) -> None:
    trigger.answer({"trigger": trigger.name, "label": "good"})


def test_a_call_returns_the_record_of_its_part(source):
    run(source, answer)
    assert source.fire(" box\n7 ", 5) == {"trigger": "box 7", "label": "good"}


def test_calls_at_the_same_time_each_get_their_own(source):
    run(source, answer)
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda number: source.fire(str(number), 5), range(200)))
    assert [record["trigger"] for record in records] == [str(number) for number in range(200)]


def test_a_call_before_the_station_runs_is_refused(source, health):
    with pytest.raises(TriggerRefusedError, match="the station takes no triggers now"):
        source.fire("a", 5)
    assert health.counters() == {"http_triggers_refused": 1}


def test_a_call_whose_record_comes_too_late_is_told_so_and_the_next_gets_its_own(source, health):
    held = []
    run(source, lambda trigger: held.append(trigger) if trigger.name == "slow" else answer(trigger))
    with pytest.raises(AnswerLateError, match=r"no record within 0\.05 s"):
        source.fire("slow", 0.05)
    assert source.fire("next", 5)["trigger"] == "next"
    answer(held[0])  # nobody waits any more, and nobody is disturbed
    assert source.fire("last", 5)["trigger"] == "last"
    assert health.counters() == {"http_answers_late": 1}


def test_a_call_that_the_station_never_came_to_leaves_no_part_behind(source):
    going_on, names = threading.Event(), []

    def judge(trigger):
        names.append(trigger.name)
        going_on.wait(5)
        answer(trigger)

    run(source, judge)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(source.fire, "first", 5)
        while not names:
            time.sleep(0.001)
        with pytest.raises(TriggerRefusedError, match=r"did not come to this trigger within 0\.05 s"):
            source.fire("second", 0.05)
        going_on.set()
        assert first.result()["trigger"] == "first"
    assert source.fire("third", 5)["trigger"] == "third"
    assert names == ["first", "third"]


def test_one_call_too_many_is_refused_at_once(source):
    held = []
    run(source, held.append)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(source.fire, str(number), 5) for number in range(4)]
        while len(held) < 4:
            time.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(TriggerRefusedError, match="too many triggers wait"):
            source.fire("one too many", 5)
        assert time.monotonic() - began < 1
        for trigger in held:
            answer(trigger)
        assert [call.result()["label"] for call in waiting] == ["good"] * 4


def test_stopping_refuses_the_calls_that_were_not_taken_up_and_lets_the_others_have_their_record(source):
    taken, going_on = threading.Event(), threading.Event()

    def judge(trigger):
        taken.set()
        going_on.wait(5)
        answer(trigger)

    thread = run(source, judge)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(source.fire, "first", 5)
        assert taken.wait(5)
        second = pool.submit(source.fire, "second", 5)
        while not len(source._queue):
            time.sleep(0.001)
        source.stop()
        with pytest.raises(TriggerRefusedError, match="stopped before it came to this trigger"):
            second.result()
        going_on.set()
        assert first.result()["trigger"] == "first"
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(TriggerRefusedError):
        source.fire("third", 5)


def test_both_errors_are_one_line_of_the_project(source):
    assert issubclass(TriggerRefusedError, NutError)
    assert issubclass(AnswerLateError, (NutError, TimeoutError))
