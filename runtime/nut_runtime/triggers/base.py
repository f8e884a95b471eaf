"""What a source of triggers is."""

from collections.abc import Iterator
from typing import Protocol

from nut_runtime.parts import Trigger

__all__ = ["TriggerSource"]


class TriggerSource(Protocol):
    """Gives triggers until it ends or is stopped."""

    def __iter__(self) -> Iterator[Trigger]:
        """Give triggers as they come; blocks between them."""

    def stop(self) -> None:
        """Make the iteration end within a tenth of a second; called from another thread."""
