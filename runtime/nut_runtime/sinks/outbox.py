"""Records for the network: kept on disk first, delivered when there is somebody to take them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.delivery import Delivery, Destination
from nut_runtime.sinks.outbox_store import OutboxStore

__all__ = ["Outbox"]

_FLUSH_S = 2.0


class Outbox:
    """A `Journal` that hands records on to destinations, each from a thread of its own.

    `write` returns when the disk has the record; nobody on the network is waited for. Each destination then gets every
    record, in order, at least once, whatever is killed in between: one that was taken but could not be noted as taken
    comes again, with the same `id`. Health tells of each as `output NAME`; gauge `outbox_waiting_NAME` says how many
    wait, counters `outbox_lost_NAME` and `outbox_refused_NAME` what went otherwise.

    Args:
        path: The SQLite file.
        destinations: Who is told.
        health: Is told how they are.
        keep: Records that wait at most for each; beyond that the oldest go, and are counted.
        flush_s: How long `close` waits for destinations to take what is left. The rest is delivered at the next start.

    Raises:
        OutputError: If the file cannot be opened or written, is no outbox, or is in use.
    """

    def __init__(
        self,
        path: Path,
        destinations: Sequence[Destination],
        health: Health,
        *,
        keep: int = 1_000_000,
        flush_s: float = _FLUSH_S,
    ) -> None:
        self.name = path.name
        self._flush_s = flush_s
        self._store = OutboxStore(path, [one.name for one in destinations], keep=keep, health=health)
        self._deliveries = [Delivery(self._store, one, health) for one in destinations]
        self._is_closed = False
        for one in self._deliveries:
            one.start()

    def write(self, part: JudgedPart) -> None:
        """Keep one record for all destinations.

        Raises:
            OutputError: If it cannot be kept now; nothing of it is.
        """
        record = part.record
        self._store.add(record["id"], part.sequence, json.dumps(record, allow_nan=False))
        for one in self._deliveries:
            one.report_if_stuck()

    def last_sequence(self) -> int:
        """Return the number of the last part that was kept, 0 for none; also after all of them were delivered."""
        return self._store.last_sequence()

    def close(self) -> None:
        """Deliver what is left for as long as `flush_s`, then let go; safe to call twice.

        A destination that hangs is left behind.
        """
        if self._is_closed:
            return
        self._is_closed = True
        until = time.monotonic() + self._flush_s
        for one in self._deliveries:
            one.stop(until)
        for one in self._deliveries:
            one.join(until)
        self._store.close()
