"""Beats neither drift nor bunch."""

import threading
import time
from itertools import pairwise

import pytest

from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.triggers.every import EveryTriggers


def test_beats_keep_to_their_times_though_each_part_takes_some():
    source = EveryTriggers(20)
    times = []
    for trigger in source:
        times.append(trigger.at)
        time.sleep(0.006)
        if len(times) == 21:
            break
    # 20 periods of 20 ms after the first; a drift of the 6 ms of each part would be 120 ms. A beat may have been missed
    # on a busy machine, and is then counted.
    expected = 0.020 * (20 + source.skipped)
    assert times[-1] - times[0] == pytest.approx(expected, abs=0.015)


class Clock:
    """A clock that the test moves on; waiting moves it too."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("nut_runtime.triggers.every.time.monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def beats(clock: Clock, source: EveryTriggers, works: list[float]) -> list[float]:
    """Return when triggers came, in periods of one second, where each part takes so long."""
    source._stopped.wait = clock.wait
    seen = []
    for work, _trigger in zip(works, source, strict=False):  # in this order, no beat is taken in vain
        seen.append(round(clock.now - 1000.0, 3))
        clock.now += work
    return seen


@pytest.mark.parametrize(
    ("works", "expected", "skipped"),
    [
        pytest.param([0.9, 0.9, 0.9, 0], [0, 1, 2, 3], 0, id="in time"),
        pytest.param([1.4, 0, 0], [0, 1.4, 2], 0, id="late by less than half"),
        pytest.param([1.5, 0, 0], [0, 2, 3], 1, id="late by half"),
        pytest.param([3.99, 0, 0], [0, 4, 5], 3, id="just before a beat"),
        pytest.param([4.01, 0, 0], [0, 4.01, 5], 3, id="just after a beat"),
        pytest.param([3600.2, 0, 0], [0, 3600.2, 3601], 3599, id="asleep for an hour"),
    ],
)
def test_beats_that_were_missed_are_counted_and_never_made_up_for(clock, works, expected, skipped):
    health = Health()
    source = EveryTriggers(1000, health)
    assert beats(clock, source, works) == expected
    assert source.skipped == skipped
    assert health.counters() == ({"triggers_skipped": skipped} if skipped else {})


def test_a_station_that_is_too_slow_gets_triggers_at_least_half_a_period_apart(clock):
    source = EveryTriggers(1000)
    seen = beats(clock, source, [0.1 * (number * 7 % 40) for number in range(200)])
    gaps = [after - before for before, after in pairwise(seen)]
    assert min(gaps) >= 0.5
    assert len(seen) + source.skipped == round(seen[-1]) + 1  # every beat is a trigger or counted


def test_stop_ends_a_long_wait_at_once():
    source = EveryTriggers(3_600_000)
    triggers = iter(source)
    next(triggers)
    threading.Timer(0.05, source.stop).start()
    began = time.monotonic()
    assert list(triggers) == []
    assert time.monotonic() - began < 0.15


@pytest.mark.parametrize("every_ms", [0, -1, 0.5, float("nan"), float("inf")])
def test_a_period_that_cannot_be_is_refused(every_ms):
    with pytest.raises(InputError, match="expected a trigger every 1 ms or more"):
        EveryTriggers(every_ms)
