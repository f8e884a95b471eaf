"""The station's registers, whoever reads and writes them: between the handshake and the station's triggers."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any

from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart, Trigger
from nut_runtime.plc.handshake import Commands, Handshake
from nut_runtime.plc.registers import (
    BITS_IN_WORD,
    COMMAND_WORDS,
    MAP_VERSION,
    MIRROR_AT,
    STATUS_WORDS,
    Command,
    Status,
    pack,
    size,
)
from nut_runtime.plc.result import error, result_of
from nut_runtime.records import answer_of
from nut_runtime.triggers.queue import TriggerQueue

__all__ = ["PlcDevice", "PlcListener", "PlcTriggers", "Table"]

_COUNTERS = {
    "Accepted": "plc_triggers",
    "Missed": "plc_triggers_missed",
    "Error": "plc_errors",
    "Late": "plc_answers_late",
    "Reset": "plc_resets",
    "Unread": "plc_results_unread",
}


class Table(Enum):
    """The four tables of Modbus."""

    COILS = "coils"
    DISCRETE_INPUTS = "discrete inputs"
    HOLDING_REGISTERS = "holding registers"
    INPUT_REGISTERS = "input registers"


class PlcDevice:
    """Takes what the PLC writes, and shows what the station says.

    One write takes effect as a whole, and one read shows one moment. Safe for several threads.

    Args:
        answer_within_s: A trigger that was not answered by then gets Error instead.
        is_alive: Whether the station still makes progress; asked each second.
        health: Where triggers are counted.
        clock: Tells the time.
    """

    def __init__(
        self,
        *,
        answer_within_s: float,
        is_alive: Callable[[], bool] = lambda: True,
        health: Health | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handshake = Handshake(answer_within_s=answer_within_s)
        self._lock = threading.Lock()
        # One trigger waits at most: while the station has not taken one up, TriggerReady stays 0.
        self._queue = TriggerQueue(limit=1)
        self._command = [0] * size(COMMAND_WORDS)
        self._ask_alive, self._is_alive, self._beats = is_alive, True, 0
        self._health = health or Health()
        self._counted: Counter[str] = Counter()
        self._clock = clock
        self.triggers = PlcTriggers(self._queue)
        self.listener = PlcListener(self)

    def read(self, table: Table, address: int, count: int) -> list[int] | None:
        """Return registers or bits, or None where some of them do not exist."""
        with self._lock:
            self._handshake.expire(self._clock())
            for first, values in self._blocks(table):
                if first <= address and address + count <= first + len(values):
                    return values[address - first : address - first + count]
        return None

    def write(self, table: Table, address: int, values: Sequence[int]) -> bool:
        """Take registers or bits that the PLC wrote; return whether all of them may be written, else none is."""
        command = list(self._command)  # bits without a meaning are kept too, since masters compare the echo
        if table is Table.COILS and address + len(values) <= BITS_IN_WORD:
            for bit, value in enumerate(values, address):
                command[0] = command[0] & ~(1 << bit) | bool(value) << bit
        elif table is Table.HOLDING_REGISTERS and address + len(values) <= len(command):
            command[address : address + len(values)] = values
        else:
            return False
        self._take(command)
        return True

    def beat(self) -> None:
        """Move the heartbeat on if the station is alive, and see to what is overdue; to be called each second."""
        is_alive = self._ask_alive()
        with self._lock:
            self._is_alive = is_alive
            self._beats += is_alive
            self._handshake.expire(self._clock())
            grown = self._handshake.counts - self._counted
            self._counted += grown
        for name, number in grown.items():
            if name in _COUNTERS:
                self._health.count(_COUNTERS[name], number)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Show the result of a part that something else triggered; does nothing where the PLC triggers."""
        with self._lock:
            if not self._queue.is_open:
                self._handshake.publish(result_of(record), now=self._clock())

    def give_up(self) -> None:
        """End the part at hand in Error, since the station stops."""
        self.triggers.stop()
        with self._lock:
            self._handshake.give_up(self._clock())

    @property
    def is_at_rest(self) -> bool:
        """Whether no part is at hand and no result waits to be read."""
        with self._lock:
            self._handshake.expire(self._clock())
            return self._handshake.is_at_rest

    @property
    def _is_free(self) -> bool:
        return self._is_alive and self._queue.is_free

    def _take(self, command: list[int]) -> None:
        now = self._clock()
        high, low = command[1:3]
        part_id = high << BITS_IN_WORD | low
        with self._lock:
            self._command = command
            bits = command[0]
            ticket = self._handshake.command(
                Commands(
                    trigger=bool(bits >> Command.TRIGGER & 1),
                    results_ack=bool(bits >> Command.RESULTS_ACK & 1),
                    reset=bool(bits >> Command.RESET & 1),
                ),
                part_id=part_id,
                is_free=self._is_free,
                now=now,
            )
        if ticket is None:
            return
        trigger = Trigger(name=str(part_id or ""), at=now, answer=partial(self._answer, ticket))
        unanswered = partial(self._not_taken_up, ticket)
        if not self._queue.offer(trigger, refused=unanswered):  # stopped this very moment
            unanswered()

    def _answer(self, ticket: int, record: Mapping[str, Any]) -> None:
        with self._lock:
            self._handshake.answer(ticket, result_of(record), now=self._clock())

    def _not_taken_up(self, ticket: int) -> None:
        with self._lock:
            self._handshake.answer(ticket, error("stopped"), now=self._clock())

    def _blocks(self, table: Table) -> list[tuple[int, list[int]]]:
        """Return the runs of registers or bits that a table has, each with its first address."""
        if table is Table.COILS:
            return [(0, _bits(self._command[0]))]
        if table is Table.DISCRETE_INPUTS:
            return [(0, _bits(self._status_word()))]
        values = self._handshake.values() | {
            "Status": self._status_word(),
            "HeartbeatCount": self._beats,
            "MapVersion": MAP_VERSION,
        }
        status = pack(STATUS_WORDS, values)
        if table is Table.INPUT_REGISTERS:
            return [(0, status)]
        return [(0, self._command), (MIRROR_AT, status)]

    def _status_word(self) -> int:
        return self._handshake.status_bits(is_free=self._is_free) | (self._beats & 1) << Status.HEARTBEAT


class PlcTriggers:
    """Gives a trigger for each part that the PLC announces."""

    def __init__(self, queue: TriggerQueue) -> None:
        self._queue = queue

    def __iter__(self) -> Iterator[Trigger]:
        """Give triggers as they come; TriggerReady is 1 only while somebody takes them."""
        return iter(self._queue)

    def stop(self) -> None:
        """Take no more triggers; the part at hand can still be answered."""
        self._queue.stop()


class PlcListener:
    """Shows the PLC each part where something else triggers."""

    name = "plc"

    def __init__(self, device: PlcDevice) -> None:
        self._device = device

    def hear(self, part: JudgedPart) -> None:
        """Show one part."""
        self._device.publish(answer_of(part))

    def close(self) -> None:
        """Do nothing: the server has its own `close`."""


def _bits(word: int) -> list[int]:
    return [word >> bit & 1 for bit in range(BITS_IN_WORD)]
