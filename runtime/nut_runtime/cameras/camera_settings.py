"""Asks a camera for its settings, reads them back, and says what it refused or changed."""

import sys
from collections.abc import Iterator
from typing import Any

from nut_runtime.opencv import quiet_opencv
from nut_runtime.station_file.config import CameraSettings

__all__ = ["apply_settings", "unsettable"]

_TOLERANCE = 0.01  # relative: 29.97 is 30


def apply_settings(capture: Any, settings: CameraSettings) -> tuple[str, ...]:
    """Set a `cv2.VideoCapture`'s properties; return a note for each that the camera refused or changed.

    Width and height are asked for too; whether frames have that size is seen on the first one.
    """
    cv2 = quiet_opencv()
    if settings.width_px is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width_px)
    if settings.height_px is not None:
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height_px)
    notes = []
    for name, number, asked, automatic in _wanted(cv2, settings):
        if automatic is not None and not capture.set(*automatic):
            notes.append(f"automatic {name} cannot be turned off")
        is_taken = capture.set(number, asked)
        got = float(capture.get(number))
        if abs(got - asked) <= _TOLERANCE * max(1.0, abs(asked)):
            continue
        notes.append(f"{name} {asked:g} asked, {got:g} set" if is_taken else f"{name} {asked:g} refused, it is {got:g}")
    return tuple(notes)


def _wanted(cv2: Any, settings: CameraSettings) -> Iterator[tuple[str, int, float, tuple[int, float] | None]]:
    """Give name, property and value of each setting, and the property and value that turn its automatic off."""
    manual = 1.0 if sys.platform.startswith("linux") else 0.25  # V4L2_EXPOSURE_MANUAL; what DirectShow takes
    for name, number, asked, automatic in (
        ("fps", cv2.CAP_PROP_FPS, settings.fps, None),
        ("exposure", cv2.CAP_PROP_EXPOSURE, settings.exposure, (cv2.CAP_PROP_AUTO_EXPOSURE, manual)),
        ("gain", cv2.CAP_PROP_GAIN, settings.gain, None),
        ("white balance", cv2.CAP_PROP_WB_TEMPERATURE, settings.white_balance_k, (cv2.CAP_PROP_AUTO_WB, 0.0)),
        ("focus", cv2.CAP_PROP_FOCUS, settings.focus, (cv2.CAP_PROP_AUTOFOCUS, 0.0)),
    ):
        if asked is not None:
            yield name, number, float(asked), automatic


def unsettable(settings: CameraSettings, *, where: str) -> tuple[str, ...]:
    """Return a note for each setting that a camera cannot be asked for this way, such as over `http://`."""
    names = {
        "exposure": settings.exposure,
        "gain": settings.gain,
        "white balance": settings.white_balance_k,
        "focus": settings.focus,
    }
    asked = [name for name, value in names.items() if value is not None]
    return (f"{', '.join(asked)} cannot be set {where}; set it in the camera itself",) if asked else ()
