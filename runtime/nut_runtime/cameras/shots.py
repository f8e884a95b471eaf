"""The last few frames of a camera, and which of them one who asks is given."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shot", "Shots"]

_KEPT = 4
_TICK_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """A frame of a camera.

    Attributes:
        number: From 1, with those counted that were passed over.
        taken_at: In seconds of `time.monotonic`; higher than that of the one before.
        timestamp: The same, UTC.
        picture: The region that is judged, uint8 `[H, W, 3]`, BGR.
        source: What it is from.
        frozen_s: For how long the camera has given this very picture, where that is too long; else 0.
    """

    number: int
    taken_at: float
    timestamp: datetime
    picture: NDArray[np.uint8]
    source: str
    frozen_s: float = 0.0


class Shots:
    """Keeps the newest frames; not for several threads at once.

    A few are kept, not one alone: who asks a moment after the trigger gets the first frame after it, in which the part
    is where it should be, and not the newest, in which it has moved on. Who asks for what comes after the last frame
    gets the newest, so that judging that is slower than the camera does not lag behind it.

    Attributes:
        gone_at: When the newest of those was taken that are not kept any more.
    """

    def __init__(self) -> None:
        self.gone_at = float("-inf")
        self._kept: deque[Shot] = deque()
        self._number = 0
        self._taken_at = float("-inf")
        self._given = 0
        self._given_at = float("-inf")
        self._asked_for: float | None = None
        self._waiting: list[tuple[float, list[Shot]]] = []
        self._skipped = 0

    def next_number(self, *, passed_over: int = 0) -> int:
        """Return the next frame's number."""
        self._number += 1 + passed_over
        return self._number

    def next_moment(self, taken_at: float) -> float:
        """Return a frame's moment, made higher than the last one's where a clock is coarse."""
        self._taken_at = max(taken_at, self._taken_at + _TICK_S)
        return self._taken_at

    def add(self, shot: Shot) -> None:
        """Keep the newest frame; the oldest goes."""
        self._kept.append(shot)
        if len(self._kept) > _KEPT:
            self.gone_at = self._kept.popleft().taken_at
        for moment, first in self._waiting:
            if not first and shot.taken_at > moment:
                first.append(shot)

    def wait_for(self, newer_than: float) -> list[Shot]:
        """Return a list that gets the first frame after a moment, however many follow before one looks again."""
        first: list[Shot] = []
        self._waiting.append((newer_than, first))
        return first

    def wait_no_more(self, first: list[Shot]) -> None:
        """Forget a list of `wait_for`."""
        self._waiting = [one for one in self._waiting if one[1] is not first]

    @property
    def newest_at(self) -> float | None:
        """When the newest was taken."""
        return self._kept[-1].taken_at if self._kept else None

    def ask(self, newer_than: float) -> bool:
        """Note that one asks; return whether any newer frame will do, and not the first alone.

        So it is for who asks for what comes after the last frame, and for who asks again after the same moment, having
        got nothing: each trigger has a moment of its own and asks once.
        """
        again = newer_than in {self._given_at, self._asked_for}
        self._asked_for = newer_than
        return again

    def find(self, newer_than: float, *, newest: bool) -> Shot | None:
        """Return the newest frame after a moment or the first of those kept; None where there is no newer one yet."""
        newer = [shot for shot in self._kept if shot.taken_at > newer_than]
        if not newer:
            return None
        return newer[-1] if newest else newer[0]

    def give(self, shot: Shot) -> int:
        """Note that a frame was handed out; return how many before it were not, since the last one that was."""
        skipped = max(0, shot.number - self._given - 1)
        self._given = max(self._given, shot.number)
        self._given_at = shot.taken_at
        self._asked_for = None
        self._skipped += skipped
        return skipped

    def skipped(self) -> int:
        """Return how many were handed to nobody since the last call."""
        skipped, self._skipped = self._skipped, 0
        return skipped
