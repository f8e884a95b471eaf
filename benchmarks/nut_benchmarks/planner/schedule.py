"""How far a plan is, and how long the rest will take by what its steps took so far."""

import time
from dataclasses import dataclass

__all__ = ["Schedule", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of work.

    Attributes:
        kind: Steps of a kind take times in proportion to their weights: `train`, or a precision.
        weight: Such as the number of pixels.
    """

    kind: str
    weight: float


class Schedule:
    """The steps that are left, and the clock.

    Args:
        steps: All of them, in any order.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._left = list(steps)
        self._began = self._last = time.monotonic()
        self._took: dict[str, tuple[float, float]] = {}  # kind to seconds and weight
        self.done = 0

    @property
    def total(self) -> int:
        """Steps that were done or are left."""
        return self.done + len(self._left)

    def finish(self, step: Step) -> None:
        """Count a step that ended now; it began when the one before it ended."""
        now = time.monotonic()
        seconds, weight = self._took.get(step.kind, (0.0, 0.0))
        self._took[step.kind] = (seconds + now - self._last, weight + step.weight)
        self._last = now
        self._left.remove(step)
        self.done += 1

    def drop(self, step: Step) -> None:
        """Leave a step out."""
        self._left.remove(step)

    def left_s(self) -> float:
        """Return about how many seconds are left; a kind that was not seen yet counts as the slowest that was."""
        paces = {kind: seconds / weight for kind, (seconds, weight) in self._took.items()}
        slowest = max(paces.values(), default=0.0)
        return sum(step.weight * paces.get(step.kind, slowest) for step in self._left)

    def describe(self) -> str:
        """Say how long it took and about how long the rest takes."""
        return f"{_clock(time.monotonic() - self._began)}, about {_clock(self.left_s())} to go"


def _clock(seconds: float) -> str:
    """Return minutes and seconds.

    Example:
        >>> _clock(125.3)
        '2:05'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
