"""Collects a camera's pictures into a folder, such as a data set's `train/good`."""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from itertools import count as numbers
from pathlib import Path

from nut_runtime.atomic import write_bytes
from nut_runtime.cameras.base import Camera
from nut_runtime.errors import OutputError, SourceError
from nut_runtime.pictures import encode_png
from nut_runtime.sources.base import Frame

__all__ = ["collect"]

_FRAME_S = 2.0


def collect(
    camera: Camera,
    folder: Path,
    *,
    count: int,
    every_s: float,
    patience_s: float,
    on_kept: Callable[[Path], None],
    on_refused: Callable[[Frame], None],
) -> None:
    """Write `count` pictures to a folder as PNG; none replaces another, and each appears whole or not at all.

    Args:
        camera: A started one; frames that it has a reason against are refused.
        folder: Made when missing.
        count: How many.
        every_s: Time between two; a camera that is slower is waited for.
        patience_s: How long to go on without a picture that is kept.
        on_kept: Told of each picture.
        on_refused: Told of each frame that is not kept.

    Raises:
        OutputError: If a picture cannot be written.
        SourceError: If none was kept for `patience_s`; those before stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    kept, due = 0, time.monotonic()
    last_kept = due
    while kept < count:
        time.sleep(max(0.0, due - time.monotonic()))
        # Not `due`: where writing takes longer than that, the frame of then is long gone.
        frame = camera.frame(newer_than=time.monotonic(), timeout_s=min(_FRAME_S, patience_s))
        if frame.reason is None and frame.picture is not None:
            on_kept(_write_new(folder, frame, encode_png(frame.picture)))
            kept += 1
            last_kept = time.monotonic()
        else:
            on_refused(frame)
            if time.monotonic() - last_kept > patience_s:
                raise SourceError(f"no picture to keep for {patience_s:g} s: {frame.error}")
        due = max(due + every_s, frame.taken_at)


def _write_new(folder: Path, frame: Frame, data: bytes) -> Path:
    """Write a picture under a name of its own: the time it was taken, the camera, and a number if that is taken."""
    stamp = frame.timestamp.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", frame.name).strip("_")[-40:]
    for number in numbers(1):
        path = folder / (f"{stamp}-{plain}.png" if number == 1 else f"{stamp}-{plain}-{number}.png")
        if path.exists():
            continue
        new = folder / f".{path.name}.{os.getpid()}.new"
        try:
            write_bytes(new, data)
            try:
                path.hardlink_to(new)  # fails where the name is taken meanwhile, as a rename does not
            except FileExistsError:
                continue
            except OSError:  # a memory stick has no links
                new.rename(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
        break
    return path
