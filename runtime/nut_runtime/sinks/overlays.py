"""Pictures with heat map and verdict, saved to a folder."""

import re
import tempfile
from enum import StrEnum
from pathlib import Path

from nut_runtime.atomic import write_bytes
from nut_runtime.errors import OutputError
from nut_runtime.overlay import draw_verdict
from nut_runtime.pictures import encode_png
from nut_runtime.sources.base import Frame
from nut_runtime.verdict import Verdict

__all__ = ["OverlaySink", "SavePolicy", "usable_folder"]


class SavePolicy(StrEnum):
    """Which parts' pictures are saved."""

    ALL = "all"
    DEFECTS = "defects"
    NONE = "none"


def usable_folder(folder: Path) -> None:
    """Make a folder to save to, and try whether it can be written to: now, for the first reject may come at 3 a.m.

    Raises:
        OutputError: If one of the two fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to the folder {folder}: {error.strerror or error}") from error


# What station.py saves with; to be removed with it. `PictureSink` is what a station has.
class OverlaySink:
    """Saves overlays as PNG, named by time, number and frame, so that no run overwrites another's.

    Args:
        folder: Where to save; made when missing.
        policy: Which parts to save.

    Raises:
        OutputError: If the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, policy: SavePolicy) -> None:
        self._folder = folder
        self._policy = policy
        usable_folder(folder)

    def save(self, frame: Frame, verdict: Verdict, sequence: int) -> Path | None:
        """Draw and save one part's picture if the policy wants it; return its path.

        Raises:
            OutputError: If it cannot be written.
        """
        wanted = self._policy is SavePolicy.ALL or (self._policy is SavePolicy.DEFECTS and verdict.is_defective)
        if not wanted or frame.picture is None:
            return None
        drawn = draw_verdict(
            frame.picture,
            verdict.anomaly_map,
            verdict.pred_mask,
            is_defective=verdict.is_defective,
            pred_score=verdict.pred_score,
            name=frame.name,
        )
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", frame.name)[-80:]
        stamp = frame.timestamp.strftime("%Y%m%dT%H%M%S")
        path = self._folder / f"{stamp}-{sequence:06}-{verdict.label}-{plain}.png"
        write_bytes(path, encode_png(drawn), is_durable=False)
        return path
