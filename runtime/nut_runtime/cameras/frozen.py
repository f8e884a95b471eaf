"""Tells a camera that hangs from a scene that rests: a sensor's noise never repeats itself to the bit."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrozenWatch"]


class FrozenWatch:
    """Says for how long a camera's frames have been the same to the bit.

    Whole frames are compared, not the region that is judged: a few pixels that are all black, or all white, do repeat.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._since = 0.0

    def look(self, picture: NDArray[np.uint8], at: float) -> float:
        """Take the next frame; return for how many seconds it has been the same, 0 for a new one.

        Args:
            picture: uint8 `[H, W, 3]`; kept until the next one.
            at: When it was taken, in seconds of `time.monotonic`.
        """
        if self._last is None or not _is_same(self._last, picture):
            self._since = at
        self._last = picture
        return at - self._since

    def forget(self) -> None:
        """Begin anew, after the camera was away."""
        self._last = None


def _is_same(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    """Compare two frames; frames that differ do so in their middle row, nearly always."""
    if first.shape != second.shape:
        return False
    middle = len(first) // 2
    return np.array_equal(first[middle], second[middle]) and np.array_equal(first, second)
