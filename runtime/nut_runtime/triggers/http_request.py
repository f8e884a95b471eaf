"""A trigger for each HTTP request; the HTTP server itself is the live page's."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from nut_runtime.errors import NutError
from nut_runtime.health import Health
from nut_runtime.parts import Trigger
from nut_runtime.triggers.names import clean_name
from nut_runtime.triggers.queue import TriggerQueue

__all__ = ["AnswerLateError", "HttpTriggers", "TriggerRefusedError"]


class TriggerRefusedError(NutError, RuntimeError):
    """No part was announced: the station does not run, or too many requests wait. For HTTP, 503."""


class AnswerLateError(NutError, TimeoutError):
    """The part was announced and will have its record, but not in the time that the caller had. For HTTP, 504."""


class HttpTriggers:
    """Turns calls from request threads into triggers, and waits there for the record.

    Args:
        limit: Calls that wait at most, for their turn or for their record; more are refused.
        health: Where refused and late ones are counted.
    """

    def __init__(self, limit: int = 16, health: Health | None = None) -> None:
        self._queue = TriggerQueue(limit)
        self._calls = threading.Semaphore(limit)
        self._health = health or Health()

    def fire(self, name: str, timeout_s: float) -> Mapping[str, Any]:
        """Announce a part and return its record. Any thread may call it.

        Args:
            name: What the caller calls the part; it is cleaned first.
            timeout_s: How long to wait for the record.

        Raises:
            TriggerRefusedError: If there is no part and will be no record: the station does not take triggers, too many
                calls wait, or the station did not come to this one in time.
            AnswerLateError: If the part is being judged, but there was no record in time.
        """
        if not self._calls.acquire(blocking=False):
            raise self._refusal("too many triggers wait for their record; try again later")
        try:
            return self._fire(clean_name(name), timeout_s)
        finally:
            self._calls.release()

    def _fire(self, name: str, timeout_s: float) -> Mapping[str, Any]:
        done = threading.Event()
        records: list[Mapping[str, Any]] = []

        def answer(record: Mapping[str, Any]) -> None:
            records.append(record)
            done.set()

        trigger = Trigger(name=name, answer=answer)
        if not self._queue.offer(trigger, refused=done.set):
            raise self._refusal(
                "the station is busy; try again later" if self._queue.is_open else "the station takes no triggers now"
            )
        done.wait(timeout_s)
        if not done.is_set() and self._queue.withdraw(trigger):
            raise self._refusal(f"the station did not come to this trigger within {timeout_s:g} s")
        if records:
            return records[0]
        if done.is_set():
            raise self._refusal("the station stopped before it came to this trigger")
        self._health.count("http_answers_late")
        raise AnswerLateError(f"no record within {timeout_s:g} s; it will be in the station's outputs")

    def _refusal(self, message: str) -> TriggerRefusedError:
        self._health.count("http_triggers_refused")
        return TriggerRefusedError(message)

    def __iter__(self) -> Iterator[Trigger]:
        """Give a trigger for each call."""
        return iter(self._queue)

    def stop(self) -> None:
        """End the iteration; calls whose part was not taken up are refused."""
        self._queue.stop()
