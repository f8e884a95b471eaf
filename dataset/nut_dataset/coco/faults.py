"""What is wrong with annotations, one readable line each."""

from collections.abc import Sequence
from dataclasses import dataclass

from nut_dataset.findings import counted
from nut_runtime.errors import InputError

__all__ = ["AnnotationError", "Fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry of an annotation file that cannot be used.

    Attributes:
        entry: `image` or `annotation`.
        name: Its id as the file gives it; where it has none, `number N` in its list, from 0.
        what: What is wrong with it, and where it can be said what to do.
        split: Of the file; may be empty.
        picture: File name of the entry's picture, where that is known.
    """

    entry: str
    name: str
    what: str
    split: str = ""
    picture: str = ""

    def __str__(self) -> str:
        """Return the line to print."""
        where = ", ".join(filter(None, (self.split, self.picture)))
        return f"{self.entry} {self.name}{f' ({where})' if where else ''}: {self.what}"


class AnnotationError(InputError):
    """Annotations that cannot be used, while nobody asked to leave them out.

    Attributes:
        faults: All of them.
    """

    def __init__(self, message: str, faults: Sequence[Fault]) -> None:
        """Keep the faults beside the one line."""
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, source: object, faults: Sequence[Fault]) -> "AnnotationError":
        """Return the error for the faults found in `source`."""
        first = f"; the first is {faults[0]}" if len(faults) == 1 else ""
        return cls(
            f"{source}: {counted(len(faults), 'entry', 'entries')} cannot be used{first}; mend the annotations, or "
            "leave them out with --skip-invalid",
            faults,
        )
