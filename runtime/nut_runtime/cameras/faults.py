"""What goes wrong with a camera, and what is said of the part whose view it was.

SourceError                 the camera is away: NO_FRAME
+-- CameraFaultError
    +-- BrokenFrameError    one frame is half or garbage; the next may be whole: BROKEN
    +-- MisfitError         frames are not of the size that the station was set up for: BROKEN
    +-- FrozenError         the same picture for so long that the camera is opened again: FROZEN
"""

from typing import ClassVar

from nut_runtime.errors import SourceError
from nut_runtime.verdict import Reason

__all__ = ["BrokenFrameError", "CameraFaultError", "FrozenError", "MisfitError", "reason_of"]


class CameraFaultError(SourceError):
    """A camera that is there, and does not give what it should."""

    reason: ClassVar[Reason] = Reason.BROKEN


class BrokenFrameError(CameraFaultError):
    """One frame is half or garbage; the camera stays open."""


class MisfitError(CameraFaultError):
    """Frames are not of the size that was asked for, or that they had, or that the region needs."""


class FrozenError(CameraFaultError):
    """The camera gives the same picture again and again."""

    reason: ClassVar[Reason] = Reason.FROZEN


def reason_of(error: Exception) -> Reason:
    """Return why a part has no verdict while a camera fails so."""
    return error.reason if isinstance(error, CameraFaultError) else Reason.NO_FRAME
