"""The outbox: every record to every destination, in order, whatever hangs, fails or is killed."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.outbox_store import StoredRecord


class Receiver:
    """A destination in this process: takes all, fails, takes some, or hangs, as it is told."""

    def __init__(self, name: str = "mqtt", *, batch: int = 10, is_up: bool = True) -> None:
        self.name, self.batch = name, batch
        self.is_up = is_up
        self.got: list[str] = []
        self.takes_at_most = batch
        self.refuses: set[str] = set()
        self.asked = 0
        self.is_closed = False
        self.hangs = threading.Event()
        self.goes_on = threading.Event()

    def deliver(self, records: Sequence[StoredRecord]) -> int:
        self.asked += 1
        if self.hangs.is_set():
            self.goes_on.wait(60)
        if not self.is_up:
            raise OutputError("nobody there")
        if records and records[0].id in self.refuses:
            raise RefusedError("not like this")
        taken = records[: self.takes_at_most]
        self.got += [json.loads(record.body)["id"] for record in taken]
        return len(taken)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    """A function that opens an outbox, which is closed at the end."""
    boxes: list[Outbox] = []

    def open_outbox(*receivers: Receiver, health: Health | None = None, **options: Any) -> Outbox:
        box = Outbox(tmp_path / "outbox.sqlite", receivers, health or Health(), **options)
        boxes.append(box)
        return box

    yield open_outbox
    for box in boxes:
        box.close()


def ids(*numbers: int) -> list[str]:
    return [f"run1-{number}" for number in numbers]


def kept(path: Path) -> list[str]:
    with closing(sqlite3.connect(path / "outbox.sqlite")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM records ORDER BY number")]


def test_every_destination_gets_every_record_in_order_and_then_none_is_kept(opened, judged_part, tmp_path, wait_for):
    one, other = Receiver("mqtt"), Receiver("webhook", batch=1)
    health = Health()
    box = opened(one, other, health=health)
    for number in range(1, 31):
        box.write(judged_part(number))
    wait_for(lambda: len(one.got) == len(other.got) == 30)
    assert one.got == other.got == ids(*range(1, 31))
    box.close()
    assert kept(tmp_path) == []
    assert one.is_closed
    assert other.is_closed
    assert health.counters() == {"outbox_sent_mqtt": 30, "outbox_sent_webhook": 30}
    assert health.components()["output mqtt"].is_well


def test_a_record_waits_for_the_one_that_is_down_and_the_other_is_not_kept_waiting(
    opened, judged_part, tmp_path, wait_for
):
    up, down = Receiver("mqtt"), Receiver("webhook", is_up=False)
    health = Health()
    box = opened(up, down, health=health)
    for number in (1, 2, 3):
        box.write(judged_part(number))
    wait_for(lambda: len(up.got) == 3)
    wait_for(lambda: "output webhook" in health.components())
    assert health.components()["output webhook"].message == "nobody there"
    assert health.gauges() == {"outbox_waiting_mqtt": 0, "outbox_waiting_webhook": 3}
    assert kept(tmp_path) == ids(1, 2, 3)
    down.is_up = True
    wait_for(lambda: len(down.got) == 3)
    assert down.got == ids(1, 2, 3)
    wait_for(lambda: health.components()["output webhook"].is_well)


def test_what_was_not_delivered_is_delivered_in_the_next_run(opened, judged_part, wait_for):
    box = opened(Receiver(is_up=False))
    for number in (1, 2, 3):
        box.write(judged_part(number))
    box.close()
    receiver = Receiver()
    box = opened(receiver)
    assert box.last_sequence() == 3
    box.write(judged_part(4))
    wait_for(lambda: len(receiver.got) == 4)
    assert receiver.got == ids(1, 2, 3, 4)


def test_the_sequence_is_known_after_everything_was_delivered(opened, judged_part):
    box = opened(Receiver())
    assert box.last_sequence() == 0
    box.write(judged_part(9))
    box.close()
    assert opened(Receiver()).last_sequence() == 9


def test_a_part_that_is_offered_again_is_sent_once(opened, judged_part, wait_for):
    receiver = Receiver()
    box = opened(receiver)
    box.write(judged_part(1))
    wait_for(lambda: receiver.got)
    box.write(judged_part(1))
    box.close()
    box = opened(receiver)
    box.write(judged_part(1))
    box.write(judged_part(2))
    box.close()
    assert receiver.got == ids(1, 2)


def test_closing_delivers_what_is_left(opened, judged_part):
    receiver = Receiver(batch=3)
    box = opened(receiver)
    for number in range(1, 101):
        box.write(judged_part(number))
    box.close()
    box.close()
    assert receiver.got == ids(*range(1, 101))


def test_a_destination_that_takes_a_part_of_a_batch_gets_the_rest_again(opened, judged_part):
    receiver = Receiver(batch=10)
    receiver.takes_at_most = 3
    box = opened(receiver)
    for number in range(1, 12):
        box.write(judged_part(number))
    box.close()
    assert receiver.got == ids(*range(1, 12))


def test_a_destination_that_hangs_holds_up_neither_parts_nor_others_nor_closing(
    opened, judged_part, wait_for, monkeypatch
):
    monkeypatch.setattr("nut_runtime.sinks.delivery._STUCK_S", 0.05)
    hanging, other = Receiver("mqtt"), Receiver("webhook")
    hanging.hangs.set()
    health = Health()
    box = opened(hanging, other, health=health, flush_s=0.3)
    started = time.monotonic()
    for number in range(1, 51):
        box.write(judged_part(number))
    wait_for(lambda: len(other.got) == 50)
    wait_for(lambda: box.write(judged_part(51)) or not health.components().get("output mqtt", _Well).is_well)
    assert "has not answered" in health.components()["output mqtt"].message
    before_close = time.monotonic()
    box.close()
    assert time.monotonic() - before_close < 1.5
    assert time.monotonic() - started < 10
    again = Receiver("mqtt")
    box = opened(again, Receiver("webhook"))  # while the old thread still hangs
    wait_for(lambda: len(again.got) == 51)
    hanging.goes_on.set()
    box.close()
    assert again.got == ids(*range(1, 52))


class _Well:
    is_well = True


def test_a_mistake_in_a_destination_does_not_end_its_deliveries(opened, judged_part, wait_for):
    class Wrong(Receiver):
        def deliver(self, records: Sequence[StoredRecord]) -> int:
            if self.asked < 2:
                self.asked += 1
                raise KeyError("a bug")
            return super().deliver(records)

    receiver = Wrong()
    box = opened(receiver)
    box.write(judged_part(1))
    wait_for(lambda: receiver.got == ids(1))


def test_pauses_grow_while_a_destination_is_away(opened, judged_part):
    receiver = Receiver(is_up=False)
    box = opened(receiver)
    box.write(judged_part(1))
    time.sleep(1.5)  # at 0, 0.2, 0.6, 1.4 s
    assert 3 <= receiver.asked <= 5


def test_beyond_the_bound_the_oldest_go_and_are_counted(opened, judged_part, tmp_path):
    health = Health()
    up, down = Receiver("mqtt"), Receiver("webhook", is_up=False)
    box = opened(up, down, health=health, keep=5)
    for number in range(1, 13):
        box.write(judged_part(number))
    assert health.gauges()["outbox_waiting_webhook"] == 5
    assert health.counters()["outbox_lost_webhook"] == 7
    box.close()
    assert up.got[-1] == "run1-12"
    assert kept(tmp_path) == ids(8, 9, 10, 11, 12)
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as connection:
        assert connection.execute("SELECT lost FROM destinations WHERE name = 'webhook'").fetchone() == (7,)
    back = Receiver("webhook")
    opened(Receiver("mqtt"), back, keep=5).close()
    assert back.got == ids(8, 9, 10, 11, 12)


def test_a_record_that_is_refused_for_good_is_set_aside_after_three_offers(opened, judged_part, tmp_path, wait_for):
    receiver = Receiver(batch=1)
    receiver.refuses = set(ids(2))
    health = Health()
    box = opened(receiver, health=health)
    for number in (1, 2, 3):
        box.write(judged_part(number))
    wait_for(lambda: len(receiver.got) == 2)
    box.close()
    assert receiver.got == ids(1, 3)
    assert receiver.asked >= 5
    assert health.counters()["outbox_refused_mqtt"] == 1
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as connection:
        assert connection.execute("SELECT destination, reason, id FROM refused").fetchall() == [
            ("mqtt", "not like this", "run1-2")
        ]


def test_a_new_destination_gets_what_comes_from_now_on(opened, judged_part):
    box = opened(Receiver("mqtt", is_up=False))
    box.write(judged_part(1))
    box.close()
    new = Receiver("webhook")
    box = opened(Receiver("mqtt", is_up=False), new)
    box.write(judged_part(2))
    box.close()
    assert new.got == ids(2)


def test_what_a_destination_is_owed_waits_while_the_station_does_not_have_it(opened, judged_part, tmp_path, caplog):
    box = opened(Receiver("mqtt"), Receiver("webhook", is_up=False))
    box.write(judged_part(1))
    box.close()
    box = opened(Receiver("mqtt"))
    assert "1 records wait for webhook" in caplog.text
    box.write(judged_part(2))
    box.close()
    assert kept(tmp_path) == ids(1)
    back = Receiver("webhook")
    box = opened(Receiver("mqtt"), back)
    box.write(judged_part(3))
    box.close()
    assert back.got == ids(1, 3)
    assert kept(tmp_path) == []


def test_numbers_never_come_again_after_all_was_delivered(opened, judged_part):
    receiver = Receiver()
    for number in (1, 2, 3):
        box = opened(receiver)
        box.write(judged_part(number))
        box.close()
    assert receiver.got == ids(1, 2, 3)


def test_two_stations_with_one_outbox_are_told_so(opened):
    opened(Receiver())
    with pytest.raises(OutputError, match="in use by process"):
        opened(Receiver())


def test_a_damaged_outbox_is_set_aside_and_what_waited_is_counted_as_lost(opened, judged_part, tmp_path):
    health = Health()
    box = opened(Receiver(is_up=False), health=health)
    for number in range(1, 40):
        box.write(judged_part(number))
    with box._store._database.reading() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path = tmp_path / "outbox.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with box._store._database.reading() as connection:
        connection.execute("PRAGMA shrink_memory")
    with pytest.raises(OutputError, match="was damaged"):
        box.write(judged_part(40))
    box.write(judged_part(40))
    assert health.gauges()["outbox_waiting_mqtt"] == 1
    assert health.counters()["outbox_lost_mqtt"] == 39
    box.close()
    assert list(tmp_path.glob("outbox.sqlite.corrupt-*"))


def test_no_thread_is_left_after_closing(opened, judged_part):
    box = opened(Receiver())
    box.write(judged_part(1))
    box.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nut-deliver")]
