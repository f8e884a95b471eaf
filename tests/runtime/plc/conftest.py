"""A real server on loopback, a station that answers, and a PLC that talks to it through pymodbus's own client."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient

from nut_runtime.health import Health
from nut_runtime.plc.registers import MIRROR_AT, STATUS_WORDS, Command, Status, size
from nut_runtime.plc.server import PlcServer
from nut_runtime.station_file.config import PlcConfig


def _eventually(is_so: Callable[[], Any], within_s: float = 5.0) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + within_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.001)
    return found


class Plc:
    """A PLC as its programmer would write it, on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
        assert self.client.connect()

    def words(self) -> list[int]:
        """Return the status words in one read."""
        return self.client.read_input_registers(0, count=size(STATUS_WORDS)).registers

    def value(self, name: str) -> int:
        """Return one status value."""
        registers = self.words()
        word = next(word for word in STATUS_WORDS if word.name == name)
        return int.from_bytes(
            b"".join(r.to_bytes(2, "big") for r in registers[word.address : word.address + word.words]), "big"
        )

    def has(self, bit: Status) -> bool:
        """Return one status bit."""
        return bool(self.words()[0] >> bit & 1)

    def bits(self) -> set[Status]:
        """Return the status bits that are on, without the heartbeat."""
        word = self.words()[0]
        return {bit for bit in Status if word >> bit & 1} - {Status.HEARTBEAT}

    def wait(self, bit: Status) -> None:
        """Wait for a status bit."""
        _eventually(lambda: self.has(bit))

    def command(self, *bits: Command) -> None:
        """Write the command word."""
        assert not self.client.write_register(0, sum(1 << bit for bit in bits)).isError()

    def trigger(self, part_id: int = 0) -> None:
        """Announce a part, in one write."""
        assert not self.client.write_registers(0, [1, part_id >> 16, part_id & 0xFFFF]).isError()

    def part(self, part_id: int) -> list[int]:
        """Go through a whole cycle and return the status words that came with the results."""
        self.wait(Status.TRIGGER_READY)
        self.trigger(part_id)
        self.wait(Status.TRIGGER_ACK)
        self.command()
        self.wait(Status.RESULTS_READY)
        words = self.client.read_holding_registers(MIRROR_AT, count=size(STATUS_WORDS)).registers
        self.command(Command.RESULTS_ACK)
        self.command()
        return words

    def start_anew(self) -> None:
        """Do what a PLC does after it connected: no command, and no results of an earlier life."""
        self.command()
        self.command(Command.RESET)
        self.command()

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


class Station:
    """Takes triggers from a server in a thread, and answers each as told."""

    def __init__(self, server: PlcServer, answers: Callable[[str], dict[str, Any] | None]) -> None:
        self.seen: list[str] = []
        self.held: list[Any] = []
        self._server, self._answers = server, answers
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for trigger in self._server.triggers:
            self.seen.append(trigger.name)
            record = self._answers(trigger.name)
            if record is None:
                self.held.append(trigger.answer)
            else:
                trigger.answer(record)

    def end(self) -> None:
        """Stop taking triggers."""
        self._server.triggers.stop()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """A function that waits until something is so, and returns it."""
    return _eventually


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[PlcServer]:
    with PlcServer(PlcConfig(port=0, answer_within_s=5.0), health=health) as running:
        yield running


@pytest.fixture
def connect(server: PlcServer) -> Iterator[Callable[[], Plc]]:
    """A function that connects one more PLC."""
    opened: list[Plc] = []

    def open_one() -> Plc:
        opened.append(Plc(server.port))
        return opened[-1]

    yield open_one
    for plc in opened:
        plc.close()


@pytest.fixture
def station(server: PlcServer) -> Iterator[Callable[..., Station]]:
    """A function that starts a station, which answers with what a function of the name returns; None holds it back."""
    started: list[Station] = []

    def start(answers: Callable[[str], dict[str, Any] | None]) -> Station:
        started.append(Station(server, answers))
        return started[-1]

    yield start
    for one in started:
        one.end()
