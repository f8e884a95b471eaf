"""Cameras, brokers, servers and PLCs that go away."""

import random
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nut_benchmarks.soak.broker import Broker, Subscriber, free_port
from nut_benchmarks.soak.checks import STOPS_S, Finding, Setting, check, check_numbers, played, running, station_with
from nut_benchmarks.soak.mjpeg_server import MjpegServer
from nut_benchmarks.soak.station_process import wait_for

__all__ = ["broker_away", "camera_away", "plc_vanishes", "stopped_while_cameras_are_away", "webhook_hangs"]


def camera_away(setting: Setting, times: int) -> Finding:
    """Switch the camera off and on again while parts are triggered."""
    port = free_port()
    with MjpegServer(setting.pictures, fps=30) as camera:
        more = f'[every_camera.limits]\ntimeout_s = 0.5\n[trigger]\nkind = "http"\n[serve]\nport = {port}\n'
        station = station_with(setting, "camera-away", camera.url, more)
        answers: list[dict[str, Any]] = []

        def answer(wanted: Callable[[dict[str, Any]], bool]) -> bool:
            record = station.trigger(port, "part")
            if record is not None:
                answers.append(record)
            return record is not None and wanted(record)

        with running(station):
            wait_for(lambda: answer(lambda one: one["label"] != "no-verdict"), within_s=60, why="no first verdict")
            back = []
            for _ in range(times):
                camera.stop()
                wait_for(lambda: answer(lambda one: one["reason"] == "no-frame"), within_s=20, why="it is not missed")
                time.sleep(random.uniform(0.0, 1.5))  # noqa: S311 - no secret
                camera.start()
                started = time.monotonic()
                wait_for(lambda: answer(lambda one: one["label"] != "no-verdict"), within_s=20, why="it is not back")
                back.append(time.monotonic() - started)
            station.terminate()
    judged = check_numbers(station)
    check(holds=judged >= len(answers), what="answers without a record")
    check(holds=max(back) < 2.5, what=f"back after {max(back):.1f} s")  # noqa: PLR2004 - 2 s, and the half that an answer may take
    return Finding(
        what="camera without power, and back",
        times=times,
        outcome=(
            f"verdicts again {statistics.median(back):.1f} s after its return (median), {max(back):.1f} s at most; "
            f"every one of {len(answers)} triggers answered and recorded"
        ),
    )


def stopped_while_cameras_are_away(setting: Setting, cameras: int) -> Finding:
    """Send SIGTERM while every camera takes the connection and sends nothing, and a part waits for them."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(cameras)]
        port = free_port()
        others = "".join(
            f'[[camera]]\nname = "side-{number}"\naddress = "http://127.0.0.1:{one.getsockname()[1]}/"\n'
            for number, one in enumerate(silent[1:])
        )
        more = f'{others}[trigger]\nkind = "http"\n[serve]\nport = {port}\n'
        address = f"http://127.0.0.1:{silent[0].getsockname()[1]}/"
        station = station_with(setting, "cameras-away", address, more)
        with running(station):
            wait_for(lambda: station.trigger(port, "first"), within_s=60, why="no answer at its start")
            answers: list[dict[str, Any] | None] = []
            asking = threading.Thread(target=lambda: answers.append(station.trigger(port, "last", timeout_s=10.0)))
            asking.start()
            time.sleep(0.3)  # the part is being looked at
            seconds = station.terminate()
            asking.join(10)
    judged = check_numbers(station)
    check(holds=station.exit_code == 0, what=f"exit code {station.exit_code}: {station.log[-300:]}")
    check(holds=seconds < STOPS_S, what=f"it took {seconds:.1f} s to stop")
    check(holds=judged == 2, what=f"2 triggers, {judged} records")  # noqa: PLR2004 - as many as were triggered
    return Finding(
        what=f"SIGTERM while {cameras} cameras take the connection and send nothing, with a part waiting for them",
        times=1,
        outcome=f"exit code 0 within {seconds:.1f} s; both triggers recorded, without a verdict",
    )


def broker_away(setting: Setting, seconds: float) -> Finding:
    """Take the MQTT broker away for a while under load; every record must arrive, in order."""
    folder = setting.folder / "broker"
    shutil.rmtree(folder, ignore_errors=True)
    broker = Broker(folder)
    broker.start()
    subscriber = Subscriber(broker.port, "soak/verdict")
    address, settings = played(setting, fps=20.0)
    mqtt = f'[outputs.mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntopic = "soak"\n'
    more = f'{settings}[outbox]\npath = "outbox.sqlite"\n{mqtt}'
    station = station_with(setting, "broker-away", address, more, pictures=False)
    try:
        with running(station):
            wait_for(lambda: len(subscriber.first_of_each()) > 10, within_s=60, why="nothing arrives")  # noqa: PLR2004
            broker.stop()
            before = station.count()
            time.sleep(seconds)
            during = station.count() - before
            broker.start()
            started = time.monotonic()
            wait_for(
                lambda: len(subscriber.first_of_each()) >= before + during, within_s=120, why="not all have arrived"
            )
            caught_up = time.monotonic() - started
            station.terminate()
        wait_for(
            lambda: len(subscriber.first_of_each()) >= len(station.rows()), within_s=20, why="the last ones are missing"
        )
    finally:
        subscriber.close()
        broker.stop()
    ids = [row["id"] for row in station.rows()]
    arrived = subscriber.first_of_each()
    check(holds=during > 0, what="nothing was judged while the broker was away")
    check(
        holds=arrived == ids,
        what=f"{len(set(ids) - set(arrived))} records did not arrive, or out of order",
    )
    return Finding(
        what=f"MQTT broker away for {seconds:g} s under load",
        times=1,
        outcome=(
            f"{during} parts judged meanwhile; all {len(ids)} records arrived in order, the last of them "
            f"{caught_up:.1f} s after its return; {len(subscriber.ids) - len(arrived)} came twice"
        ),
    )


def webhook_hangs(setting: Setting, seconds: float) -> Finding:
    """Let the webhook's server take connections and never answer, then answer; every record must arrive, in order."""
    hangs, ends = threading.Event(), threading.Event()
    arrived: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hangs.is_set():
                ends.wait(30)
                return
            del body
            arrived.append(self.headers["Idempotency-Key"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, settings = played(setting, fps=20.0)
    url = f"http://127.0.0.1:{server.server_address[1]}/verdicts"
    more = f'{settings}[outbox]\npath = "outbox.sqlite"\n[outputs.webhook]\nurl = "{url}"\ntimeout_s = 1.0\n'
    station = station_with(setting, "webhook-hangs", address, more, pictures=False)
    try:
        with running(station):
            wait_for(lambda: len(arrived) > 10, within_s=60, why="nothing arrives")  # noqa: PLR2004
            hangs.set()
            before = station.count()
            time.sleep(seconds)
            during = station.count() - before
            hangs.clear()
            wait_for(lambda: len(set(arrived)) >= before + during, within_s=120, why="not all have arrived")
            station.terminate()
    finally:
        ends.set()
        server.shutdown()
        server.server_close()
    ids = [row["id"] for row in station.rows()]
    first = list(dict.fromkeys(arrived))
    check(holds=during > 10, what=f"only {during} parts were judged while it hung")  # noqa: PLR2004
    check(holds=first == ids[: len(first)], what="records arrived out of order")
    return Finding(
        what=f"webhook that takes connections and never answers, for {seconds:g} s",
        times=1,
        outcome=(
            f"{during} parts judged meanwhile; {len(first)} of {len(ids)} records had arrived in order when it was "
            f"stopped, the rest waits in the outbox; {len(arrived) - len(first)} came twice"
        ),
    )


def plc_vanishes(setting: Setting, times: int, *, seed: int = 1) -> Finding:
    """Cut the PLC's connection at random steps of the handshake; the next client must be able to go on."""
    from pymodbus.client import ModbusTcpClient

    chance = random.Random(seed)  # noqa: S311 - no secret
    address, settings = played(setting, fps=60.0)
    port = free_port()
    station = station_with(setting, "plc", address, f'{settings}[trigger]\nkind = "plc"\n[plc]\nport = {port}\n')
    whole = 0
    with running(station):
        for _ in range(times):
            client = ModbusTcpClient("127.0.0.1", port=port, timeout=3)
            wait_for(client.connect, within_s=60, why="it does not listen")
            leaves_after = chance.choice(["trigger", "ack", "results", "never"])
            _handshake(client, leaves_after)
            whole += leaves_after == "never"
            client.close()
        station.terminate()
    judged = check_numbers(station)
    check(holds=judged == times, what=f"{times} triggers, {judged} records")
    return Finding(
        what="Modbus client that goes away at a random step of the handshake",
        times=times - whole,
        outcome=f"{whole} whole handshakes between them; {times} triggers, {judged} records, one each",
    )


def _handshake(client: Any, leaves_after: str) -> None:
    """Go through the handshake as far as a step: `trigger`, `ack`, `results` or `never`."""
    from nut_runtime.plc.registers import Command, Status

    def bits() -> list[bool]:
        return list(client.read_discrete_inputs(0, count=16).bits)

    client.write_coil(Command.TRIGGER, value=False)
    wait_for(lambda: _is_ready(client), within_s=20, why="it is not ready again")
    client.write_coil(Command.TRIGGER, value=True)
    if leaves_after == "trigger":
        return
    wait_for(
        lambda: bits()[Status.TRIGGER_ACK] or bits()[Status.RESULTS_READY],
        within_s=10,
        why="the trigger is not acknowledged",
    )
    if leaves_after == "ack":
        return
    wait_for(lambda: bits()[Status.RESULTS_READY], within_s=10, why="no results")
    client.write_coil(Command.TRIGGER, value=False)
    if leaves_after == "never":
        _acknowledge(client)


def _is_ready(client: Any) -> bool:
    """Whether a part may be triggered; results that nobody took, of a client that has gone, are acknowledged."""
    from nut_runtime.plc.registers import Status

    bits = client.read_discrete_inputs(0, count=16).bits
    if bits[Status.RESULTS_READY]:
        _acknowledge(client)
    return bool(bits[Status.TRIGGER_READY])


def _acknowledge(client: Any) -> None:
    from nut_runtime.plc.registers import Command, Status

    client.write_coil(Command.RESULTS_ACK, value=True)
    wait_for(
        lambda: not client.read_discrete_inputs(0, count=16).bits[Status.RESULTS_READY],
        within_s=10,
        why="results stay after they were acknowledged",
    )
    client.write_coil(Command.RESULTS_ACK, value=False)
