"""How parts are found in a network's maps: chosen on pictures that it did not learn from."""

import itertools
from collections.abc import Sequence

import numpy as np

from nut_dataset.progress import Progress, no_progress
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.settings import FindSettings
from nut_train.locator.evaluate import MappedTray
from nut_train.locator.matching import LEAST_VISIBLE, Matches, match_instances

__all__ = ["choose_settings", "usual_area"]

_PEAKS = (0.3, 0.4, 0.5, 0.6, 0.7)
_LEVELS = (0.05, 0.1, 0.2, 0.3)
_NEAR = 0.005  # F1 that is no better than chance makes it
_LONG_SIDE_PX = 640
_STEADY = 1.5  # largest over smallest usual area of pictures of a camera that does not move


def choose_settings(
    trays: Sequence[MappedTray], *, progress: Progress = no_progress
) -> tuple[FindSettings, tuple[dict[str, float], ...]]:
    """Return the settings with the best F1, and what each of those tried came to.

    The mean of F1 at both overlaps is what counts. Of settings that are nearly as good as the best, the one in the
    middle of them is taken: it is farthest from where it goes wrong.

    Args:
        trays: From `map_trays`, of the validation split.
        progress: Told of each trial.

    Raises:
        PictureError: If the truth of one cannot be read.
    """
    truths = [tray.picture.read()[1] for tray in trays]
    tried: list[tuple[FindSettings, float]] = []
    pairs = [(peak, level) for peak, level in itertools.product(_PEAKS, _LEVELS) if level < peak]
    for done, (peak, level) in enumerate(pairs, 1):
        settings = FindSettings(peak=peak, level=level)
        matches = [
            match_instances(find_instances(tray.found_map, frame_px=tray.frame_px, settings=settings), truth)
            for tray, truth in zip(trays, truths, strict=True)
        ]
        tried.append((settings, _f1(matches)))
        progress("choosing how to find", done, len(pairs))
    best = max(f1 for _, f1 in tried)
    good = [settings for settings, f1 in tried if f1 >= best - _NEAR]
    places = np.array([(_PEAKS.index(one.peak), _LEVELS.index(one.level)) for one in good])
    chosen = good[int(np.abs(places - places.mean(axis=0)).sum(axis=1).argmin())]
    settings = FindSettings(peak=chosen.peak, level=chosen.level, area_px=usual_area(trays), long_side_px=_LONG_SIDE_PX)
    return settings, tuple({"peak": one.peak, "level": one.level, "f1": f1} for one, f1 in tried)


def usual_area(trays: Sequence[MappedTray]) -> float | None:
    """Return the usual area of a part in pixels of a frame whose longer side is 640; None where it changes too much.

    A camera that does not move sees parts of one size, and then a lump or a crumb is told even where it is alone. Over
    pictures from several distances there is no such size, and each frame's own median is taken.

    Args:
        trays: Pictures with truth.

    Raises:
        PictureError: If one cannot be read.
    """
    areas = []
    for tray in trays:
        counts = np.bincount(tray.picture.read()[1].ravel())[1:]
        counts = counts[counts > 0]
        if counts.size:
            whole = counts[counts >= LEAST_VISIBLE * np.median(counts)]
            areas.append(float(np.median(whole)) * (_LONG_SIDE_PX / max(tray.frame_px)) ** 2)
    if not areas or max(areas) > _STEADY * min(areas):
        return None
    return float(np.median(areas))


def _f1(matches: Sequence[Matches]) -> float:
    """Return the mean of F1 over all parts at both overlaps."""
    total = sum(one.true + one.found for one in matches)
    return sum(sum(one.right) for one in matches) / total if total else 1.0
