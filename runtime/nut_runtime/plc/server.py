"""The Modbus TCP server."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from nut_runtime.errors import InputError, OutputError
from nut_runtime.health import Health
from nut_runtime.plc.device import PlcDevice, PlcListener, PlcTriggers
from nut_runtime.station_file.config import PlcConfig

__all__ = ["PlcServer"]

_BEAT_S = 1.0
_CLIENTS = 16
"""More than one PLC and everybody who looks on. The one that was silent longest gives way to a new one."""
_PORTS = range(2**16)
_JOIN_S = 2.0
_LOOK_S = 0.02
_RETRY_S = 0.1

_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 25_000))
"""A PLC that lost its power or its cable is noticed after 25 seconds, on systems that have these options."""


class PlcServer:
    """Listens from the start to `close`, in a thread of its own.

    TriggerReady is 1 only while somebody iterates over `triggers` and the station is alive.

    Args:
        config: Where to listen, and how long an answer may take.
        is_alive: Whether the station still makes progress; asked each second, and where it says no the heartbeat stops
            and no trigger is accepted. It must be quick.
        health: Where it reports to, as `plc`.

    Raises:
        InputError: If pymodbus is not installed.
        OutputError: If it cannot listen there.
    """

    def __init__(
        self, config: PlcConfig, *, is_alive: Callable[[], bool] = lambda: True, health: Health | None = None
    ) -> None:
        try:
            from nut_runtime.plc import wire
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] != "pymodbus":
                raise
            raise InputError('pymodbus is not installed; run: pip install "nut-runtime[modbus]"') from missing
        if logging.getLogger("pymodbus.logging").level == logging.NOTSET:
            # It would write a line for each request that it cannot decode; the client is told, and that is enough.
            logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._wire = wire
        self._health = health or Health()
        self._device = PlcDevice(answer_within_s=config.answer_within_s, is_alive=is_alive, health=self._health)
        self._clients: dict[asyncio.StreamWriter, float] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._socket = _listen(config.host, config.port)
        self._socket.setblocking(False)  # noqa: FBT003 - its own signature
        self.host, self.port = self._socket.getsockname()[:2]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plc", daemon=True)
        self._thread.start()
        self._started.wait()

    @property
    def triggers(self) -> PlcTriggers:
        """Gives a trigger for each part that the PLC announces."""
        return self._device.triggers

    @property
    def listener(self) -> PlcListener:
        """Shows the PLC each part where something else triggers; does nothing where the PLC does."""
        return self._device.listener

    def close(self, *, linger_s: float = 0.0) -> None:
        """Stop listening and let the clients go; safe to call twice.

        Args:
            linger_s: How long to wait for the PLC to read the last results.
        """
        deadline = time.monotonic() + linger_s
        self.triggers.stop()
        while time.monotonic() < deadline and self._thread.is_alive() and not self._device.is_at_rest:
            time.sleep(_LOOK_S)
        self._device.give_up()
        with suppress(RuntimeError):  # closed before
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # Windows' own has no `add_reader`
                runner.run(self._serve())
        finally:
            self._started.set()
            self._socket.close()
            if self._ending.is_set():
                self._health.forget("plc")
            else:
                self._health.report("plc", is_well=False, message="the server has ended, which is a defect")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._accept, self._loop)
        beats = asyncio.create_task(self._beat())
        self._report()
        self._started.set()
        await self._ending.wait()
        self._loop.remove_reader(self._socket)
        work = [beats, *self._serving]
        for task in work:
            task.cancel()
        await asyncio.wait(work)

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a client in. No `await` stands between its coming and its task, so that none is lost while closing."""
        try:
            connection, _address = self._socket.accept()
        except BlockingIOError:  # gone again already
            return
        except OSError:  # no descriptor left, for the moment
            loop.remove_reader(self._socket)
            loop.call_later(_RETRY_S, loop.add_reader, self._socket, self._accept, loop)
            return
        task = loop.create_task(self._serve_client(connection))
        self._serving.add(task)  # the loop itself would not keep it

        def ended(task: asyncio.Task[None]) -> None:
            connection.close()
            self._serving.discard(task)

        task.add_done_callback(ended)

    async def _beat(self) -> None:
        due = time.monotonic()
        while True:
            self._device.beat()
            due = max(due + _BEAT_S, time.monotonic())  # no beats in a row after the machine slept
            await asyncio.sleep(due - time.monotonic())

    async def _serve_client(self, connection: socket.socket) -> None:
        _keep_alive(connection)
        reader, writer = await asyncio.open_connection(sock=connection)
        while len(self._clients) >= _CLIENTS:
            silent = min(self._clients, key=self._clients.__getitem__)
            del self._clients[silent]
            silent.transport.abort()
        self._clients[writer] = time.monotonic()
        self._report()
        try:
            await self._wire.serve(reader, writer, self._device, heard=partial(self._heard, writer))
        except self._wire.MalformedError:
            self._health.count("plc_malformed")
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone; what it began is left for the next one
        finally:
            self._clients.pop(writer, None)
            writer.transport.abort()
            self._report()

    def _heard(self, writer: asyncio.StreamWriter) -> None:
        if writer in self._clients:
            self._clients[writer] = time.monotonic()

    def _report(self) -> None:
        number = len(self._clients)
        clients = "1 client" if number == 1 else f"{number} clients"
        self._health.report("plc", is_well=True, message=f"listening at {self.host}:{self.port}, {clients}")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if port not in _PORTS:
            raise OSError(0, "no such port")  # noqa: TRY301 - told as what the system refuses
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0].lower()
        raise OutputError(
            f"the PLC's server cannot listen at {host}:{port}: {reason}; choose another host or port for it"
        ) from error


def _keep_alive(connection: socket.socket) -> None:
    with suppress(OSError):  # gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
