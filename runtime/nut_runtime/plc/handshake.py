"""The handshake between PLC and station as a state machine: bits and time in, bits out, no network and no clock."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from nut_runtime.plc.registers import NO_SCORE, Status
from nut_runtime.plc.result import Outcome, Result, error

__all__ = ["Commands", "Handshake"]

_MS_MAX = 0xFFFF

_OUTCOME_BITS = {
    Outcome.OK: Status.OK,
    Outcome.NG: Status.NG,
    Outcome.REVIEW: Status.REVIEW,
    Outcome.NO_VERDICT: Status.NO_VERDICT,
    Outcome.ERROR: Status.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The command bits, as the PLC last wrote them.

    Attributes:
        trigger: A part is there.
        results_ack: The results were read.
        reset: Give up and start anew.
    """

    trigger: bool = False
    results_ack: bool = False
    reset: bool = False


class _State(Enum):
    IDLE = 0
    BUSY = 1
    """A part was accepted and has no results yet."""
    RESULTS = 2
    """Results wait for the PLC."""


class Handshake:
    """Goes from one part to the next: idle, busy, results, idle.

    What counts is that a bit rises: a Trigger or ResultsAck that is left at 1 does nothing more, whoever wrote it. An
    accepted trigger ends in exactly one result, `Outcome.ERROR` included, or in a Reset by the PLC. The result stays
    until a ResultsAck that rises after it came.

    Every method takes the time, in seconds that never go back. Not safe for several threads.

    Args:
        answer_within_s: A trigger without an answer by then ends in Error.
    """

    def __init__(self, *, answer_within_s: float) -> None:
        self._answer_within_s = answer_within_s
        self._state = _State.IDLE
        self._last = Commands()
        self._ticket = 0
        self._accepted_at = 0.0
        self._is_trigger_acked = False
        self._is_missed = False
        self._part_id = 0
        self._result: Result | None = None
        self._milliseconds = 0
        self.counts: Counter[str] = Counter()
        """By name of their register without `Count`, and `Accepted`, `Unread`."""

    def command(self, commands: Commands, *, part_id: int, is_free: bool, now: float) -> int | None:
        """Take what the PLC wrote; return a ticket where it announced a part that is to be judged.

        Args:
            commands: All command bits after the write.
            part_id: What the part is called, taken with a rising Trigger.
            is_free: Whether the station would take a part.
            now: The time.
        """
        self.expire(now)
        last, self._last = self._last, commands
        was_ready = is_free and self._state is _State.IDLE and last == Commands()
        if commands.reset and not last.reset:
            self._reset()
        if commands.results_ack and not last.results_ack and self._state is _State.RESULTS:
            self._state = _State.IDLE
        if not commands.trigger:
            self._is_trigger_acked = False
        elif not last.trigger:
            if was_ready and not commands.reset:
                return self._accept(part_id, now)
            self._is_missed = True
            self.counts["Missed"] += 1
        return None

    def answer(self, ticket: int, result: Result, *, now: float) -> bool:
        """Publish the result of a part; return False where it came too late and was ignored.

        Args:
            ticket: What `command` returned.
            result: The result.
            now: The time.
        """
        self.expire(now)
        if self._state is not _State.BUSY or ticket != self._ticket:
            self.counts["Late"] += 1
            return False
        self._show(result, now)
        return True

    def publish(self, result: Result, *, now: float) -> bool:
        """Publish the result of a part that the PLC did not trigger; one that was not read yet gives way to it.

        Returns False, and does nothing, where a part of the PLC's is being judged.
        """
        self.expire(now)
        if self._state is _State.BUSY:
            return False
        if self._state is _State.RESULTS:
            self.counts["Unread"] += 1
        self._part_id, self._accepted_at = 0, now
        self._show(result, now)
        return True

    def expire(self, now: float) -> None:
        """End the part at hand in Error where its answer is overdue."""
        if self._state is _State.BUSY and now >= self._accepted_at + self._answer_within_s:
            self._show(error("timeout"), now)

    def give_up(self, now: float) -> None:
        """End the part at hand in Error, since the station stops."""
        self.expire(now)
        if self._state is _State.BUSY:
            self._show(error("stopped"), now)

    @property
    def is_at_rest(self) -> bool:
        """Whether no part is at hand and no result waits to be read."""
        return self._state is _State.IDLE

    def status_bits(self, *, is_free: bool) -> int:
        """Return the status bits as one word, without Heartbeat.

        Args:
            is_free: Whether the station would take a part.
        """
        bits = {
            Status.TRIGGER_READY: is_free and self._state is _State.IDLE and self._last == Commands(),
            Status.TRIGGER_ACK: self._is_trigger_acked,
            Status.BUSY: self._state is _State.BUSY,
            Status.RESULTS_READY: self._state is _State.RESULTS,
            Status.TRIGGER_MISSED: self._is_missed,
        }
        if self._state is _State.RESULTS and self._result is not None:
            bits[_OUTCOME_BITS[self._result.outcome]] = True
        return sum(1 << bit for bit, is_on in bits.items() if is_on)

    def values(self) -> dict[str, int]:
        """Return the status words by name, all but Status and what tells of the server.

        Those of a result stay after its ResultsAck, until the next part.
        """
        values = {f"Count{name}": number for name, number in self.counts.items()} | {"ResultPartId": self._part_id}
        if self._result is None:
            return values | {"Score": NO_SCORE}
        return values | {
            "Reason": self._result.reason,
            "Sequence": self._result.sequence,
            "Score": self._result.score,
            "Milliseconds": self._milliseconds,
        }

    def _accept(self, part_id: int, now: float) -> int:
        self._state = _State.BUSY
        self._ticket += 1
        self._accepted_at = now
        self._part_id = part_id
        self._result = None
        self._is_trigger_acked = True
        self._is_missed = False
        self.counts["Accepted"] += 1
        return self._ticket

    def _show(self, result: Result, now: float) -> None:
        self._state = _State.RESULTS
        self._result = result
        self._milliseconds = min(round((now - self._accepted_at) * 1e3), _MS_MAX)
        self.counts[result.outcome.value] += 1

    def _reset(self) -> None:
        if self._state is _State.BUSY:
            self.counts["Reset"] += 1
        self._state = _State.IDLE
        self._result = None
        self._part_id = 0
        self._is_trigger_acked = False
        self._is_missed = False
