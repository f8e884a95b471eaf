"""One destination on the network, and the thread that brings it what waits for it."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from nut_runtime.errors import NutError, OutputError
from nut_runtime.health import Health
from nut_runtime.sinks.outbox_store import OutboxStore, StoredRecord

__all__ = ["Delivery", "Destination", "RefusedError"]

_log = logging.getLogger("nut_runtime")

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_IDLE_S = 1.0  # how often a destination that gets nothing may look after its connection
_STUCK_S = 30.0  # longer than any destination's own time limit
_REFUSALS = 3  # a server that is being changed may refuse what it takes a moment later


class RefusedError(NutError):
    """A destination will never take this one record, however often it is offered."""


class Destination(Protocol):
    """Somebody on the network who is told of each part. Used by one thread."""

    name: str
    """For messages, health and the outbox, such as `mqtt`; stays the same from run to run."""

    batch: int
    """Records that it is given at a time, at most."""

    def deliver(self, records: Sequence[StoredRecord]) -> int:
        """Deliver records in their order; return how many of them, from the first on, were surely taken.

        Called about once a second without any, to look after the connection.

        Raises:
            RefusedError: If the first one will never be taken.
            NutError: If none was taken; they are offered again, after a pause.
        """

    def close(self) -> None:
        """Let go of the connection; safe to call twice."""


class Delivery:
    """Brings a destination what waits for it, in order, until it is stopped.

    After a failure it pauses 0.2 s, then longer each time up to 5 s. A record that was refused three times is set aside
    in the outbox, for it would keep all those behind it waiting for ever.

    Args:
        store: Where records wait.
        destination: Who gets them.
        health: Is told how it goes.
    """

    def __init__(self, store: OutboxStore, destination: Destination, health: Health) -> None:
        self._store = store
        self._destination = destination
        self._health = health
        self._component = f"output {destination.name}"
        self._stop_at: float | None = None
        self._given_at: float | None = None
        self._refusals = 0
        self._thread = threading.Thread(target=self._run, name=f"nut-deliver-{destination.name}", daemon=True)
        health.gauge(f"outbox_waiting_{destination.name}", lambda: store.waiting(destination.name))

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self, until: float) -> None:
        """Ask it to end when all is delivered, when something fails, or at this moment of `time.monotonic`."""
        with self._store.changed:
            self._stop_at = until
            self._store.changed.notify_all()

    def join(self, until: float) -> None:
        """Wait until it has ended, or until this moment of `time.monotonic`."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            _log.warning("%s did not end in time; what it has not taken waits for the next start", self._component)

    def report_if_stuck(self) -> None:
        """Say so where the destination has kept a delivery for longer than it should be able to."""
        given_at = self._given_at
        if given_at is not None and time.monotonic() - given_at > _STUCK_S:
            self._health.report(self._component, is_well=False, message=f"has not answered for over {_STUCK_S:.0f} s")

    def _run(self) -> None:
        pause = _SHORTEST_PAUSE_S
        while not self._is_over():
            try:
                is_idle = self._deliver_once()
            except NutError as error:
                self._health.report(self._component, is_well=False, message=str(error))
                is_idle = None
            except Exception as error:  # noqa: BLE001 - a mistake in one destination must not end its deliveries for good
                _log.exception("%s failed", self._component)
                self._health.report(self._component, is_well=False, message=f"{type(error).__name__}: {error}")
                is_idle = None
            if is_idle is None:
                if self._stop_at is not None:
                    break
                self._wait(pause, wakes_for_records=False)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                pause = _SHORTEST_PAUSE_S
                if is_idle:
                    if self._stop_at is not None:
                        break
                    self._wait(_IDLE_S, wakes_for_records=True)
        self._destination.close()

    def _deliver_once(self) -> bool:
        """Deliver one batch; return whether there was nothing to deliver."""
        name = self._destination.name
        records = self._store.next(name, self._destination.batch)
        self._given_at = time.monotonic()
        try:
            taken = self._destination.deliver(records)
        except RefusedError as error:
            self._refusals += 1
            if self._refusals < _REFUSALS:
                raise
            self._refusals = 0
            _log.error("%s refused %s, which is set aside: %s", name, records[0].id, error)
            self._store.refuse(name, records[0], str(error))
            return False
        finally:
            self._given_at = None
        self._refusals = 0
        if records:
            if taken < 1:
                raise OutputError(f"{name} took nothing and did not say why")
            self._store.took(name, records[:taken])
            self._health.count(f"outbox_sent_{name}", taken)
        self._health.report(self._component, is_well=True)
        return not records

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _wait(self, seconds: float, *, wakes_for_records: bool) -> None:
        """Wait until the time is over, it is to stop, or, if that is wanted, a record is there."""
        until = time.monotonic() + seconds
        with self._store.changed:
            while self._stop_at is None and (left := until - time.monotonic()) > 0:
                if wakes_for_records and self._store.waiting(self._destination.name):
                    return
                self._store.changed.wait(left)
