"""Writes take effect as a whole, reads show one moment, and the heartbeat tells of the station."""

import threading

import pytest

from nut_runtime.health import Health
from nut_runtime.plc.device import PlcDevice, Table
from nut_runtime.plc.registers import COMMAND_WORDS, MIRROR_AT, STATUS_WORDS, Status, size

STATUS_SIZE = size(STATUS_WORDS)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def device(clock: Clock) -> PlcDevice:
    return PlcDevice(answer_within_s=5.0, clock=clock)


def bits(device: PlcDevice) -> set[Status]:
    return {bit for bit in Status if device.read(Table.DISCRETE_INPUTS, bit, 1) == [1]} - {Status.HEARTBEAT}


def word(device: PlcDevice, name: str) -> int:
    place = next(word for word in STATUS_WORDS if word.name == name)
    high, low = [0, *device.read(Table.INPUT_REGISTERS, place.address, place.words)][-2:]
    return high << 16 | low


@pytest.mark.parametrize(
    ("table", "first", "count"),
    [
        (Table.COILS, 0, 16),
        (Table.DISCRETE_INPUTS, 0, 16),
        (Table.HOLDING_REGISTERS, 0, size(COMMAND_WORDS)),
        (Table.HOLDING_REGISTERS, MIRROR_AT, STATUS_SIZE),
        (Table.INPUT_REGISTERS, 0, STATUS_SIZE),
    ],
)
def test_what_exists_is_read_and_nothing_beyond_it(device, table, first, count):
    assert len(device.read(table, first, count)) == count
    assert device.read(table, first + count - 1, 2) is None
    assert device.read(table, first + count, 1) is None
    if first:
        assert device.read(table, first - 1, 2) is None


@pytest.mark.parametrize(
    ("table", "address", "values"),
    [
        (Table.COILS, 15, [1, 1]),
        (Table.HOLDING_REGISTERS, 2, [1, 1]),
        (Table.HOLDING_REGISTERS, MIRROR_AT, [1]),
        (Table.DISCRETE_INPUTS, 0, [1]),
        (Table.INPUT_REGISTERS, 0, [1]),
    ],
)
def test_a_write_that_is_partly_outside_changes_nothing(device, table, address, values):
    before = device.read(Table.HOLDING_REGISTERS, 0, 3)
    assert not device.write(table, address, values)
    assert device.read(Table.HOLDING_REGISTERS, 0, 3) == before


def test_coils_and_the_command_word_are_the_same_bits(device):
    assert device.write(Table.COILS, 1, [1])
    assert device.read(Table.HOLDING_REGISTERS, 0, 1) == [2]
    assert device.write(Table.HOLDING_REGISTERS, 0, [0x8005])
    assert device.read(Table.COILS, 0, 16) == [1, 0, 1, *[0] * 12, 1]  # what is written is echoed, known or not


def test_the_mirror_equals_the_input_registers(device):
    device.beat()
    assert device.read(Table.HOLDING_REGISTERS, MIRROR_AT, STATUS_SIZE) == device.read(
        Table.INPUT_REGISTERS, 0, STATUS_SIZE
    )


def test_the_part_id_of_the_same_write_counts_in_either_table(device):
    triggers = iter(device.triggers)
    device.write(Table.HOLDING_REGISTERS, 0, [1, 1, 2])
    trigger = next(triggers)
    assert (trigger.name, trigger.at) == ("65538", 50.0)
    assert word(device, "ResultPartId") == 65538


def test_a_part_id_that_comes_in_pieces_before_the_trigger_is_whole(device):
    triggers = iter(device.triggers)
    device.write(Table.HOLDING_REGISTERS, 2, [7])
    device.write(Table.HOLDING_REGISTERS, 1, [3])
    device.write(Table.COILS, 0, [1])
    assert next(triggers).name == str(3 * 65536 + 7)


def test_a_part_without_an_id_has_no_name(device):
    triggers = iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    assert next(triggers).name == ""


def test_the_plc_is_ready_only_while_somebody_takes_triggers(device):
    assert bits(device) == set()
    triggers = iter(device.triggers)
    assert bits(device) == {Status.TRIGGER_READY}
    device.triggers.stop()
    assert bits(device) == set()
    assert list(triggers) == []


def test_the_next_part_is_accepted_only_after_the_one_before_was_taken_up(device, clock):
    triggers = iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    device.write(Table.COILS, 0, [0])
    clock.now += 5
    device.write(Table.COILS, 1, [1])
    device.write(Table.COILS, 1, [0])
    assert bits(device) == set()  # it had its Error, but the station is stuck
    next(triggers)
    assert bits(device) == {Status.TRIGGER_READY}


def test_a_trigger_that_the_stopping_station_did_not_take_up_gets_an_error(device):
    iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    device.triggers.stop()
    assert bits(device) == {Status.TRIGGER_ACK, Status.RESULTS_READY, Status.ERROR}
    assert word(device, "Reason") == 101


def test_a_trigger_that_was_taken_up_is_answered_after_the_stop(device):
    triggers = iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    trigger = next(triggers)
    device.triggers.stop()
    assert Status.BUSY in bits(device)
    trigger.answer({"label": "good", "sequence": 70000})
    assert {Status.RESULTS_READY, Status.OK} <= bits(device)
    assert word(device, "Sequence") == 70000


def test_the_heartbeat_stands_still_and_no_trigger_is_accepted_while_the_station_is_not_alive():
    alive = [True]
    device = PlcDevice(answer_within_s=5.0, is_alive=lambda: alive[0])
    iter(device.triggers)
    seen = []
    for state in (True, True, False, False, True):
        alive[0] = state
        device.beat()
        is_on = bool(device.read(Table.INPUT_REGISTERS, 0, 1)[0] >> Status.HEARTBEAT & 1)
        seen.append((word(device, "HeartbeatCount"), is_on, Status.TRIGGER_READY in bits(device)))
    assert seen == [(1, True, True), (2, False, True), (2, False, False), (2, False, False), (3, True, True)]


def test_what_happens_is_counted_in_the_health(clock):
    health = Health()
    device = PlcDevice(answer_within_s=5.0, health=health, clock=clock)
    triggers = iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    answer = next(triggers).answer
    device.write(Table.COILS, 0, [0])
    device.write(Table.COILS, 0, [1])
    clock.now += 6
    answer({"label": "good"})
    for _ in range(3):
        device.beat()
    assert health.counters() == {
        "plc_answers_late": 1,
        "plc_errors": 1,
        "plc_triggers": 1,
        "plc_triggers_missed": 1,
    }


def test_parts_that_something_else_triggers_are_shown_one_after_the_other(device, judged_part):
    device.listener.hear(judged_part(1))
    assert bits(device) == {Status.RESULTS_READY, Status.OK}
    device.listener.hear(judged_part(2))
    assert word(device, "Sequence") == 2
    device.write(Table.COILS, 1, [1])
    assert bits(device) == set()
    device.listener.close()


def test_the_listener_is_silent_where_the_plc_triggers(device, judged_part):
    triggers = iter(device.triggers)
    device.listener.hear(judged_part(1))
    assert bits(device) == {Status.TRIGGER_READY}
    assert word(device, "Sequence") == 0
    del triggers


def test_answers_from_many_threads_are_each_counted_once(device):
    triggers = iter(device.triggers)
    device.write(Table.COILS, 0, [1])
    answer = next(triggers).answer
    threads = [threading.Thread(target=answer, args=({"label": "good"},)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (word(device, "CountOK"), word(device, "CountLate")) == (1, 7)
