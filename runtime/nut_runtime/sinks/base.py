"""What an output is."""

from typing import Protocol

from nut_runtime.parts import JudgedPart

__all__ = ["Journal", "Listener"]


class Journal(Protocol):
    """Keeps records. A part is answered only after every journal of the station has kept its record.

    Written to by one thread, in the order of the parts.
    """

    name: str
    """For messages and health, such as `verdicts.sqlite`."""

    def write(self, part: JudgedPart) -> None:
        """Keep one record, so that a process killed right after has it.

        Must be safe to repeat: after an `OutputError` the same part is offered again.

        Raises:
            OutputError: If it cannot be kept now; nothing of it is left half-written.
        """

    def last_sequence(self) -> int:
        """Return the highest number kept so far, 0 for none; the station goes on from the highest of all journals."""

    def close(self) -> None:
        """Finish and let go; safe to call twice."""


class Listener(Protocol):
    """Is told of each part after it was answered, from a thread of its own.

    One that falls behind misses parts (they are counted); one that hangs or raises disturbs nobody.
    """

    name: str

    def hear(self, part: JudgedPart) -> None:
        """Take one part.

        Raises:
            NutError: If something is wrong; it is reported as this output's health, and the next part follows.
        """

    def close(self) -> None:
        """Finish and let go; safe to call twice."""
