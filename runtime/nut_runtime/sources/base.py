"""What a source is."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import NutError
from nut_runtime.verdict import Reason

__all__ = ["Frame", "Source", "now"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame, or what went wrong in getting it.

    Attributes:
        source: Which picture, video or camera it is from, such as a path or `camera 0`.
        name: A short name for the saved picture, without a folder.
        timestamp: When it was taken or read, UTC.
        capture_ms: How long getting it took.
        picture: uint8 `[H, W, 3]`, BGR; None where it could not be had.
        error: Why there is no picture; the source goes on with the next one.
        camera: Name of the station's camera it is from; empty for files.
        taken_at: When it was taken or read, in seconds of `time.monotonic`, which no clock that is set back disturbs.
        reason: Why it is not worth judging, though there may be a picture.
    """

    source: str
    name: str
    timestamp: datetime
    capture_ms: float
    picture: NDArray[np.uint8] | None = None
    error: NutError | None = None
    camera: str = ""
    taken_at: float = field(default_factory=time.monotonic)
    reason: Reason | None = None


class Source(Protocol):
    """Gives frames until it ends.

    A frame that fails by itself comes as a `Frame` with an `error`. A source that breaks off raises
    `SourceError` from its iteration, after the frames it had.
    """

    @property
    def count(self) -> int | None:
        """How many frames will come, where that is known."""

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames in order."""

    def close(self) -> None:
        """Let go of the device or file."""


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
