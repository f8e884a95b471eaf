"""A finding: one thing that a check has to say, with its weight, its files and what to do."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity", "counted"]


class Severity(StrEnum):
    """How much a finding matters; the values are those in the JSON."""

    ERROR = "error"
    """The set cannot be used as it is."""
    WARNING = "warning"
    """The set can be used, but a figure measured on it may mislead."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about a data set.

    Attributes:
        severity: How much it matters.
        code: A short name that scripts can rely on, for example `leaked-test-files`.
        what: What was found, one line, no full stop.
        action: What to do, one line, no full stop; empty where nothing need be done.
        details: One line a file, pair or property concerned; all of them, however many.
    """

    severity: Severity
    code: str
    what: str
    action: str = ""
    details: tuple[str, ...] = ()


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return number and noun in agreement.

    Example:
        >>> counted(1, "picture"), counted(2, "picture"), counted(0, "copy", "copies")
        ('1 picture', '2 pictures', '0 copies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
