"""Golden frames of a locator: a few trays with torch's map, against which a device tests itself."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nut_dataset.evenly import evenly
from nut_export.locator.parity import ReferenceTray
from nut_runtime.locate.entry import GoldenTray
from nut_runtime.locate.locator import DISTANCE_MAP, Locator
from nut_runtime.pictures import encode_png, read_picture

__all__ = ["golden_tolerance", "write_golden_trays"]

_COUNT = 3
# As for the judge (nut_export.golden): ten times the difference seen here and never less than 1e-4 in float32, where
# bf16 is off by more than 3e-3; twice of it in int8, whose rounding is the same on every device.
_FACTOR, _FLOOR, _CEILING = 10.0, 1e-4, 3e-3
_INT8_FACTOR, _INT8_CEILING = 2.0, 0.5


def write_golden_trays(references: Sequence[ReferenceTray], folder: Path) -> tuple[GoldenTray, ...]:
    """Write golden frames below `folder`/golden: from the emptiest tray to the fullest.

    Args:
        references: What torch made of pictures, at least one.
        folder: The bundle's folder.
    """
    (folder / "golden").mkdir(exist_ok=True)
    written = []
    rising = sorted(references, key=lambda one: (len(one.instances), one.path.name))
    for number, reference in enumerate(evenly(rising, _COUNT)):
        picture, found_map = f"golden/locator-{number:02}.png", f"golden/locator-{number:02}.npz"
        (folder / picture).write_bytes(encode_png(read_picture(reference.path)))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{DISTANCE_MAP: reference.found_map})
        (folder / found_map).write_bytes(buffer.getvalue())
        centres = tuple((round(one.centre[0], 2), round(one.centre[1], 2)) for one in reference.instances)
        written.append(GoldenTray(picture=picture, map=found_map, centres=centres))
    return tuple(written)


def golden_tolerance(locator: Locator, golden: Sequence[GoldenTray], folder: Path, *, precision: str) -> float:
    """Return the largest absolute difference of the map that the self-test lets pass on an engine.

    Args:
        locator: The exported one in that engine.
        golden: From `write_golden_trays`.
        folder: The bundle's folder.
        precision: What the engine's file is in.
    """
    worst = 0.0
    for tray in golden:
        with np.load(folder / tray.map, allow_pickle=False) as arrays:
            reference = arrays[DISTANCE_MAP]
        worst = max(worst, float(np.abs(locator.locate(read_picture(folder / tray.picture)) - reference).max()))
    if precision == "fp32":
        return min(max(_FACTOR * worst, _FLOOR), _CEILING)
    return min(max(_INT8_FACTOR * worst, _FLOOR), _INT8_CEILING)
