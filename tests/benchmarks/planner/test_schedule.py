"""How long the rest of a plan takes, by what its steps took."""

import pytest

from nut_benchmarks.planner import schedule as module
from nut_benchmarks.planner.schedule import Schedule, Step


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_steps_of_a_kind_take_times_in_proportion_to_their_weights(clock):
    small, large, other = Step(kind="fp32", weight=1), Step(kind="fp32", weight=4), Step(kind="int8", weight=2)
    schedule = Schedule([small, large, other])
    assert schedule.left_s() == 0  # nothing is known yet
    clock[0] += 10
    schedule.finish(small)
    assert schedule.left_s() == pytest.approx(4 * 10 + 2 * 10)  # int8 was not seen, so it counts as the slowest
    clock[0] += 20
    schedule.finish(other)
    assert schedule.left_s() == pytest.approx(4 * 10)
    assert schedule.describe() == "0:30, about 0:40 to go"


def test_a_step_that_is_left_out_does_not_count(clock):
    kept, dropped = Step(kind="fp32", weight=1), Step(kind="int8", weight=1)
    schedule = Schedule([kept, dropped])
    assert (schedule.done, schedule.total) == (0, 2)
    schedule.drop(dropped)
    assert schedule.total == 1
    clock[0] += 5
    schedule.finish(kept)
    assert (schedule.done, schedule.total, schedule.left_s()) == (1, 1, 0)
