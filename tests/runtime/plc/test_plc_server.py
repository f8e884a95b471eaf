"""The server on a real socket: whole parts, clients that vanish, that send rubbish, and too many of them."""

import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from nut_runtime.errors import InputError, OutputError
from nut_runtime.plc.registers import MIRROR_AT, REASON_CODES, STATUS_WORDS, Command, Status, size
from nut_runtime.plc.server import PlcServer
from nut_runtime.station_file.config import PlcConfig

STATUS_SIZE = size(STATUS_WORDS)
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3


def good(name: str) -> dict[str, object]:
    """Return a record that can be told apart by the part's name."""
    return {"label": "good", "sequence": int(name or 0) + 100_000, "pred_score": 0.25}


def frame(body: bytes, transaction: int = 1, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a frame and return the body of the reply."""
    connection.sendall(request)
    return receive(connection)[1]


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """Return transaction and body of the next reply."""
    stream = connection.makefile("rb")
    transaction, protocol, length, _unit = struct.unpack(">HHHB", stream.read(7))
    assert protocol == 0
    return transaction, stream.read(length - 1)


def test_a_thousand_parts_are_each_answered_once_with_their_own_result(connect, station):
    labels = ["good", "defect", "review", "no-verdict"]
    kinds = [Status.OK, Status.NG, Status.REVIEW, Status.NO_VERDICT]
    line = station(lambda name: {"label": labels[int(name) % 4], "sequence": int(name) + 70_000, "reason": "dark"})
    plc = connect()
    for part_id in range(1, 1001):
        words = plc.part(part_id)
        on = {bit for bit in Status if words[0] >> bit & 1} - {Status.HEARTBEAT}
        assert on == {Status.RESULTS_READY, kinds[part_id % 4]}
        assert words[2] << 16 | words[3] == part_id + 70_000
        assert words[4] << 16 | words[5] == part_id
    assert line.seen == [str(part_id) for part_id in range(1, 1001)]
    assert [plc.value(f"Count{name}") for name in ("OK", "NG", "Review", "NoVerdict", "Error", "Missed")] == [
        *[250] * 4,
        0,
        0,
    ]


STEPS = ["connected", "id written", "triggered", "trigger taken back", "results", "ack raised", "ack taken back"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["closes", "resets", "stays silent"])
def test_a_client_that_vanishes_at_any_step_leaves_a_state_that_the_next_goes_on_from(
    connect, station, eventually, step, how
):
    line = station(good)
    plc = connect()
    actions = [
        lambda: None,
        lambda: plc.client.write_registers(1, [0, 5]),
        lambda: plc.client.write_coils(Command.TRIGGER, [True]),
        plc.command,
        lambda: plc.wait(Status.RESULTS_READY),
        lambda: plc.command(Command.RESULTS_ACK),
        plc.command,
    ]
    plc.wait(Status.TRIGGER_READY)
    for action in actions[: STEPS.index(step) + 1]:
        action()
    if how == "resets":
        plc.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how != "stays silent":
        plc.close()
    # The next client does not know what happened: no command, read and acknowledge what is there, then its part.
    heir = connect()
    heir.command()
    eventually(lambda: not heir.has(Status.BUSY))
    had_results = heir.has(Status.RESULTS_READY)
    assert had_results == (step in {"triggered", "trigger taken back", "results"})
    if had_results:
        assert heir.value("ResultPartId") == 5
        assert heir.bits() == {Status.RESULTS_READY, Status.OK}
        heir.command(Command.RESULTS_ACK)
        heir.command()
    words = heir.part(6)
    assert words[4:6] == [0, 6]
    assert line.seen == (["5", "6"] if STEPS.index(step) >= 2 else ["6"])


def test_reset_drops_whatever_an_earlier_client_left(connect, station):
    line = station(lambda name: None if name == "5" else good(name))
    plc = connect()
    plc.wait(Status.TRIGGER_READY)
    plc.trigger(5)
    plc.close()
    heir = connect()
    heir.wait(Status.BUSY)
    heir.start_anew()
    assert heir.part(6)[4:6] == [0, 6]
    line.held[0](good("5"))
    assert heir.bits() == {Status.TRIGGER_READY}
    assert heir.value("CountLate") == heir.value("CountReset") == 1


def test_a_station_that_does_not_answer_in_time_is_an_error_and_the_next_part_goes_on(eventually):
    with PlcServer(PlcConfig(port=0, answer_within_s=0.05)) as server:
        line = Line(server)
        client = ModbusTcpClient("127.0.0.1", port=server.port)
        client.connect()
        client.write_registers(0, [1, 0, 9])
        eventually(lambda: client.read_discrete_inputs(Status.RESULTS_READY).bits[0])
        word, reason = client.read_input_registers(0, count=2).registers
        assert word >> Status.ERROR & 1
        assert reason == REASON_CODES["timeout"]
        client.write_register(0, 1 << Command.RESULTS_ACK)
        client.write_register(0, 0)
        line.answers[0]({"label": "good"})
        assert client.read_discrete_inputs(0, count=16).bits[: Status.HEARTBEAT] == [True] + [False] * 14
        client.close()


class Line:
    """Takes triggers and answers none."""

    def __init__(self, server: PlcServer) -> None:
        self.answers: list = []
        threading.Thread(target=self._run, args=(server,), daemon=True).start()
        deadline = time.monotonic() + 5
        while not server._device._queue.is_open:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _run(self, server: PlcServer) -> None:
        for trigger in server.triggers:
            self.answers.append(trigger.answer)


def test_two_clients_see_the_same_and_one_part_is_announced_once(connect, station, eventually):
    line = station(lambda _name: None)
    first, second = connect(), connect()
    first.wait(Status.TRIGGER_READY)
    first.trigger(1)
    second.trigger(2)  # the Trigger bit is high already, so this is no part of its own
    assert first.bits() == second.bits() == {Status.TRIGGER_ACK, Status.BUSY}
    second.command()
    second.trigger(3)
    assert Status.TRIGGER_MISSED in first.bits()
    eventually(lambda: line.seen)
    assert line.seen == ["1"]


@pytest.mark.parametrize("unit", [0, 1, 17, 255])
def test_every_unit_is_the_station(connect, unit):
    plc = connect()
    reply = plc.client.read_input_registers(9, count=1, device_id=unit)
    assert (reply.registers, reply.dev_id) == ([1], unit)


def test_all_ways_to_write_do_the_same(connect, station):
    station(lambda _name: None)
    plc = connect()
    plc.wait(Status.TRIGGER_READY)
    plc.client.write_coils(0, [False, True])
    assert plc.client.read_holding_registers(0).registers == [1 << Command.RESULTS_ACK]
    plc.client.write_register(0, 0)
    plc.client.mask_write_register(address=0, and_mask=0xFFFE, or_mask=0x0001)
    assert {Status.TRIGGER_ACK, Status.BUSY} == plc.bits()
    reply = plc.client.readwrite_registers(
        read_address=MIRROR_AT, read_count=STATUS_SIZE, write_address=0, values=[1 << Command.RESET]
    )
    assert reply.registers[0] & ~(1 << Status.HEARTBEAT) == 0
    assert plc.client.read_coils(0, count=3).bits[:3] == [False, False, True]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(b"\x08\x00\x04\x00\x00", ILLEGAL_FUNCTION, id="listen-only mode"),
        pytest.param(b"\x2b\x0e\x01\x00", ILLEGAL_FUNCTION, id="identification"),
        pytest.param(b"\x14\x07\x06\x00\x04\x00\x01\x00\x02", ILLEGAL_FUNCTION, id="file"),
        pytest.param(b"\x63", ILLEGAL_FUNCTION, id="unknown"),
        pytest.param(b"\x03\x00\x00\x00\x04", ILLEGAL_ADDRESS, id="beyond the commands"),
        pytest.param(b"\x04\xff\xff\x00\x01", ILLEGAL_ADDRESS, id="last address"),
        pytest.param(b"\x06\x00\x64\x00\x01", ILLEGAL_ADDRESS, id="write to the mirror"),
        pytest.param(b"\x04\x00\x00\x00\x00", ILLEGAL_VALUE, id="nothing"),
        pytest.param(b"\x04\x00\x00\x00\x7e", ILLEGAL_VALUE, id="too many"),
        pytest.param(b"\x05\x00\x00\x00\x01", ILLEGAL_VALUE, id="neither on nor off"),
        pytest.param(b"\x05\x00\x00", ILLEGAL_VALUE, id="too short"),
        pytest.param(b"\x06\x00\x00\x00\x01\x00", ILLEGAL_VALUE, id="too long"),
        pytest.param(b"\x0f\x00\x00\x00\x02\x02\x03\x00", ILLEGAL_VALUE, id="byte count of coils"),
        pytest.param(b"\x10\x00\x00\x00\x02\x04\x00\x01", ILLEGAL_VALUE, id="registers missing"),
        pytest.param(b"\x17\x00\x00\x00\x01\x00\x00\x00\x01\x04\x00\x01\x00\x01", ILLEGAL_VALUE, id="byte count of 23"),
    ],
)
def test_a_request_that_cannot_be_is_refused_by_its_code_and_changes_nothing(server, connect, request_, code):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        assert ask(connection, frame(request_)) == bytes([request_[0] | 0x80, code])
    assert connect().client.read_holding_registers(0, count=3).registers == [0, 0, 0]


def test_requests_sent_without_waiting_are_all_answered_in_order(server, station):
    station(good)
    requests = [
        b"\x06\x00\x00\x00\x00",
        b"\x10\x00\x00\x00\x03\x06\x00\x01\x00\x00\x00\x07",
        b"\x06\x00\x00\x00\x00",
        b"\x04\x00\x00\x00\x0a",
    ] * 50
    whole = b"".join(frame(body, number) for number, body in enumerate(requests))
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(whole)
        stream = connection.makefile("rb")
        for number, body in enumerate(requests):
            transaction, _protocol, length, _unit = struct.unpack(">HHHB", stream.read(7))
            assert (transaction, stream.read(length - 1)[0]) == (number, body[0])


def test_a_request_in_single_bytes_and_one_with_half_of_the_next_are_understood(server):
    request = frame(b"\x04\x00\x09\x00\x01", 1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            connection.sendall(bytes([byte]))
        assert receive(connection) == (1, b"\x04\x02\x00\x01")
        following = frame(b"\x04\x00\x09\x00\x01", 2)
        connection.sendall(request + following[:9])
        assert receive(connection) == (1, b"\x04\x02\x00\x01")
        connection.sendall(following[9:])
        assert receive(connection) == (2, b"\x04\x02\x00\x01")


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n", id="http"),
        pytest.param(b"\x00" * 300, id="zeros"),
        pytest.param(b"\xff" * 300, id="ones"),
        pytest.param(struct.pack(">HHHB", 1, 0, 255, 1) + b"\x03" * 254, id="too long"),
        pytest.param(struct.pack(">HHHB", 1, 0, 1, 1), id="no function"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls hello"),
    ],
)
def test_rubbish_ends_its_own_connection_and_no_other(server, connect, health, rubbish, eventually):
    plc = connect()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(rubbish)
        with suppress(ConnectionResetError):  # where it had not read all of it
            assert connection.recv(100) == b""
    assert plc.value("MapVersion") == 1
    eventually(lambda: health.counters().get("plc_malformed") == 1)
    eventually(lambda: "1 client" in health.components()["plc"].message)


def test_half_a_request_waits_for_nobody_else(server, connect):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(frame(b"\x04\x00\x00\x00\x01")[:9])
        assert connect().value("MapVersion") == 1


def test_a_client_that_sends_and_never_reads_does_not_hold_up_another(server, connect):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.settimeout(0)
        requests = frame(b"\x04\x00\x00\x00\x1a") * 1000
        sent = 0
        deadline = time.monotonic() + 2
        while sent < 50_000_000 and time.monotonic() < deadline:
            try:
                sent += connection.send(requests)
            except BlockingIOError:
                break  # the server no longer takes any, as it should
        plc = connect()
        for _ in range(20):
            assert plc.value("MapVersion") == 1


@pytest.fixture(scope="module")
def bare():
    """A server without a station, for requests of all kinds."""
    with PlcServer(PlcConfig(port=0)) as running:
        yield running


@given(body=st.binary(min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_request_is_answered_by_its_function_or_its_refusal(bare, body):
    with socket.create_connection(("127.0.0.1", bare.port), timeout=5) as connection:
        reply = ask(connection, frame(body))
        assert reply[0] in {body[0], body[0] | 0x80}
        assert ask(connection, frame(b"\x04\x00\x09\x00\x01")) == b"\x04\x02\x00\x01"


@given(
    function=st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23]),
    numbers=st.lists(st.one_of(st.integers(0, 4), st.sampled_from([100, 125, 126, 0xFF00, 0xFFFF])), max_size=8),
    tail=st.binary(max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_any_request_of_a_known_function_is_answered(bare, function, numbers, tail):
    body = bytes([function]) + b"".join(struct.pack(">H", number) for number in numbers) + tail
    with socket.create_connection(("127.0.0.1", bare.port), timeout=5) as connection:
        reply = ask(connection, frame(body))
        assert reply[0] == function or (reply[0] == function | 0x80 and reply[1] in {1, 2, 3})


@given(rubbish=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_whatever_bytes_come_the_next_client_is_served(bare, rubbish):
    with socket.create_connection(("127.0.0.1", bare.port), timeout=5) as connection:
        connection.sendall(rubbish)
    with socket.create_connection(("127.0.0.1", bare.port), timeout=5) as connection:
        assert ask(connection, frame(b"\x04\x00\x09\x00\x01")) == b"\x04\x02\x00\x01"


def test_rubbish_writes_nothing_to_the_log(server, caplog):
    caplog.set_level(logging.DEBUG, "nut_runtime")
    caplog.set_level(logging.INFO, "asyncio")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        for _ in range(20):
            ask(connection, frame(b"\x05\x00\x00"))
            ask(connection, frame(b"\x10\x00\x00\x00\x02\x04"))
    assert caplog.records == []


def test_a_hundred_connections_leave_no_descriptor_open(server, eventually, health):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc to count descriptors in")

    def connect_and_go(number: int) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            if number % 3 == 0:
                ask(connection, frame(b"\x04\x00\x09\x00\x01"))
            elif number % 3 == 1:
                connection.sendall(b"\x00\x01\x00")
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    connect_and_go(0)
    eventually(lambda: "0 clients" in health.components()["plc"].message)
    before = len(list(folder.iterdir()))
    for number in range(100):
        connect_and_go(number)
    eventually(lambda: len(list(folder.iterdir())) <= before)


def test_the_client_that_was_silent_longest_gives_way_to_one_too_many(server, connect, eventually, health):
    first = connect()
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(15)]
    eventually(lambda: "16 clients" in health.components()["plc"].message)
    assert first.value("MapVersion") == 1  # now it is the one that spoke last
    newest = connect()
    assert newest.value("MapVersion") == first.value("MapVersion") == 1
    assert idle[0].recv(10) == b""
    for connection in idle:
        connection.close()


def test_a_port_in_use_is_one_line_that_says_so(server):
    with pytest.raises(OutputError) as raised:
        PlcServer(PlcConfig(port=server.port))
    assert str(raised.value) == (
        f"the PLC's server cannot listen at 127.0.0.1:{server.port}: address already in use; "
        "choose another host or port for it"
    )


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("192.0.2.1", 0), ("127.0.0.1", 70000)])
def test_an_address_that_cannot_be_is_one_line_too(host, port):
    with pytest.raises(OutputError, match=f"cannot listen at {host}:{port}: ") as raised:
        PlcServer(PlcConfig(host=host, port=port))
    assert "\n" not in str(raised.value)


def test_a_closed_server_is_gone_at_once_with_its_clients_and_its_port(connect, server, station, health):
    station(good)
    plc = connect()
    plc.wait(Status.TRIGGER_READY)
    half = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    half.sendall(b"\x00\x01")
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 1.0
    assert not server._thread.is_alive()
    with half, suppress(ConnectionResetError):  # where it had not read the half request
        assert half.recv(10) == b""
    assert "plc" not in health.components()
    with PlcServer(PlcConfig(port=server.port)) as again:
        assert again.port == server.port
    server.close()


def test_closing_can_wait_until_the_last_results_were_read(connect, server, station):
    station(good)
    plc = connect()
    plc.wait(Status.TRIGGER_READY)
    plc.trigger(1)
    plc.command()
    plc.wait(Status.RESULTS_READY)
    closing = threading.Thread(target=server.close, kwargs={"linger_s": 5.0})
    closing.start()
    assert plc.bits() == {Status.RESULTS_READY, Status.OK}
    plc.command(Command.RESULTS_ACK)
    closing.join(5)
    assert not closing.is_alive()


def test_stopping_the_triggers_ends_the_iteration_within_a_tenth_of_a_second(server):
    line = Line(server)
    began = time.monotonic()
    server.triggers.stop()
    assert time.monotonic() - began < 0.1
    assert line.answers == []


def test_a_second_brings_a_heartbeat(connect, eventually):
    plc = connect()
    first = eventually(lambda: plc.value("HeartbeatCount"))
    state = plc.has(Status.HEARTBEAT)
    began = time.monotonic()
    eventually(lambda: plc.value("HeartbeatCount") == first + 1)
    assert plc.has(Status.HEARTBEAT) != state
    assert time.monotonic() - began < 1.5  # it may have begun anywhere in the second


def test_a_process_that_has_a_server_and_clients_ends_without_a_word():
    program = """
import socket
from nut_runtime.plc.server import PlcServer
from nut_runtime.station_file.config import PlcConfig
server = PlcServer(PlcConfig(port=0))
connection = socket.create_connection(("127.0.0.1", server.port))
connection.sendall(b"\\0\\1")
connection.close()
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == done.stdout == ""


def test_without_pymodbus_one_line_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "nut_runtime.plc.wire", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymodbus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    monkeypatch.delattr("nut_runtime.plc.wire", raising=False)
    with pytest.raises(InputError, match=r'run: pip install "nut-runtime\[modbus\]"$'):
        PlcServer(PlcConfig(port=0))
