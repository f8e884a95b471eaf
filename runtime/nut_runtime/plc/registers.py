"""The register map as data: the server, the documentation and the tests all read it here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "BITS_IN_WORD",
    "COMMAND_BITS",
    "COMMAND_WORDS",
    "MIRROR_AT",
    "NO_SCORE",
    "REASON_CODES",
    "STATUS_BITS",
    "STATUS_WORDS",
    "Bit",
    "Command",
    "Status",
    "Word",
    "as_markdown",
    "pack",
    "size",
]

BITS_IN_WORD = 16
MIRROR_AT = 100
"""Holding register where the input registers are repeated, for a PLC that reads only those."""
NO_SCORE = 0xFFFF


class Command(IntEnum):
    """Bits that the PLC writes, by number."""

    TRIGGER = 0
    RESULTS_ACK = 1
    RESET = 2


class Status(IntEnum):
    """Bits that the station writes, by number."""

    TRIGGER_READY = 0
    TRIGGER_ACK = 1
    BUSY = 2
    RESULTS_READY = 3
    OK = 4
    NG = 5
    REVIEW = 6
    NO_VERDICT = 7
    ERROR = 8
    TRIGGER_MISSED = 9
    HEARTBEAT = 15


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit.

    Attributes:
        number: Its address as a coil or discrete input, and its place in the word, 0 the lowest.
        name: As PLC people call it.
        meaning: In a sentence.
    """

    number: int
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Word:
    """One number.

    Attributes:
        address: Of its first register.
        words: How many registers it takes; the highest 16 bits come first.
        name: What it is called in the code and by PLC people.
        meaning: In a sentence.
    """

    address: int
    words: int
    name: str
    meaning: str


COMMAND_BITS = (
    Bit(Command.TRIGGER, "Trigger", "A part is there: 0 to 1 while TriggerReady is 1. Back to 0 on TriggerAck."),
    Bit(Command.RESULTS_ACK, "ResultsAck", "The results were read: 0 to 1 while ResultsReady is 1. Then back to 0."),
    Bit(Command.RESET, "Reset", "0 to 1 gives up the part at hand and clears results, Error and TriggerMissed."),
)

STATUS_BITS = (
    Bit(Status.TRIGGER_READY, "TriggerReady", "A trigger would be accepted now."),
    Bit(Status.TRIGGER_ACK, "TriggerAck", "The trigger was accepted; goes to 0 with Trigger."),
    Bit(Status.BUSY, "Busy", "A part was accepted and has no results yet."),
    Bit(Status.RESULTS_READY, "ResultsReady", "Results are there, and stay until ResultsAck."),
    Bit(Status.OK, "OK", "With ResultsReady: good. The only bit that lets a part pass."),
    Bit(Status.NG, "NG", "With ResultsReady: defect."),
    Bit(Status.REVIEW, "Review", "With ResultsReady: not defective, but a person should look."),
    Bit(Status.NO_VERDICT, "NoVerdict", "With ResultsReady: looked at, nothing can be said; Reason tells why."),
    Bit(Status.ERROR, "Error", "With ResultsReady: the station gave no answer; Reason tells why."),
    Bit(
        Status.TRIGGER_MISSED, "TriggerMissed", "A trigger came while TriggerReady was 0; until the next accepted one."
    ),
    Bit(Status.HEARTBEAT, "Heartbeat", "Changes each second while the station is alive."),
)

COMMAND_WORDS = (
    Word(0, 1, "Command", "The command bits in one word."),
    Word(1, 2, "PartId", "Number of the part, taken with Trigger; 0 is none."),
)

STATUS_WORDS = (
    Word(0, 1, "Status", "The status bits in one word."),
    Word(1, 1, "Reason", "Why NoVerdict or Error; 0 otherwise."),
    Word(2, 2, "Sequence", "Number of the part's record in the station's outputs; 0 with Error."),
    Word(4, 2, "ResultPartId", "PartId of the part that is judged, or that the results are of."),
    Word(6, 1, "Score", "Score x 10000, the threshold at 5000; 65535 where there is none."),
    Word(7, 1, "Milliseconds", "From Trigger to the results; 65535 is that or more."),
    Word(8, 1, "HeartbeatCount", "Goes up each second while the station is alive; 0 follows 65535."),
    Word(9, 1, "MapVersion", "1; another one where this table changes."),
    Word(10, 2, "CountOK", "Results since the station started, by kind."),
    Word(12, 2, "CountNG", "As before."),
    Word(14, 2, "CountReview", "As before."),
    Word(16, 2, "CountNoVerdict", "As before."),
    Word(18, 2, "CountError", "As before."),
    Word(20, 2, "CountMissed", "Triggers that were refused since TriggerReady was 0."),
    Word(22, 2, "CountLate", "Answers that came after Error or Reset, and were ignored."),
    Word(24, 2, "CountReset", "Parts that the PLC gave up by Reset."),
)

MAP_VERSION = 1

REASON_CODES: Mapping[str, int] = {
    "": 0,
    "no-frame": 1,
    "stale": 2,
    "frozen": 3,
    "dark": 4,
    "blurred": 5,
    "broken": 6,
    "dropped": 7,
    "failed": 8,
    "not-kept": 9,
    "washed-out": 10,
    "nothing-found": 11,
    "incomplete": 12,
    "other": 99,
    "timeout": 100,
    "stopped": 101,
}
"""Code by reason: below 100 those of a record without a verdict, from 100 those of Error."""


def size(words: Sequence[Word]) -> int:
    """Return how many registers words take together."""
    return words[-1].address + words[-1].words


def pack(words: Sequence[Word], values: Mapping[str, int]) -> list[int]:
    """Return registers with values in their places, the highest 16 bits first; too large a value wraps around.

    Args:
        words: Which words.
        values: Value by the word's name, not negative; a missing one is 0.
    """
    registers = [0] * size(words)
    for word in words:
        value = values.get(word.name, 0)
        for place in range(word.words):
            registers[word.address + place] = value >> BITS_IN_WORD * (word.words - 1 - place) & 0xFFFF
    return registers


def as_markdown() -> dict[str, str]:
    """Return the tables of docs/plc.md, by their first column's heading."""
    return {
        "coil": _bit_table("coil", COMMAND_BITS),
        "discrete input": _bit_table("discrete input", STATUS_BITS),
        "holding register": _table(
            ("holding register", "name", "meaning"),
            [(_span(word, 0), word.name, word.meaning) for word in COMMAND_WORDS],
        ),
        "input register": _table(
            ("input register", "holding register", "name", "meaning"),
            [(_span(word, 0), _span(word, MIRROR_AT), word.name, word.meaning) for word in STATUS_WORDS],
        ),
        "code": _table(("code", "reason"), [(str(code), reason or "none") for reason, code in REASON_CODES.items()]),
    }


def _span(word: Word, base: int) -> str:
    first = base + word.address
    return str(first) if word.words == 1 else f"{first}-{first + word.words - 1}"


def _bit_table(heading: str, bits: Sequence[Bit]) -> str:
    return _table((heading, "name", "meaning"), [(str(int(bit.number)), bit.name, bit.meaning) for bit in bits])


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
