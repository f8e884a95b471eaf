"""A locator on pictures whose truth is known: maps, parts and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.trays import TrayPicture
from nut_dataset.progress import Progress, no_progress
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.settings import FindSettings
from nut_train.backbone import Backbone
from nut_train.locator.matching import IOUS, Matches, match_instances
from nut_train.locator.network import MAP_STRIDE, LocatorNetwork
from nut_train.locator.pixels import locate_map, small_distance

__all__ = ["Located", "LocatorFigures", "MappedTray", "figures_of", "locate_trays", "map_trays"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedTray:
    """A picture with the network's map of it.

    Attributes:
        picture: Where its truth lies.
        found_map: The network's distance map, float32 `[h, w]`.
        error: Mean absolute difference from the true map of that size, 0 to 1.
        frame_px: Height and width of the picture.
    """

    picture: TrayPicture
    found_map: NDArray[np.float32]
    error: float
    frame_px: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Located:
    """A picture with the parts that were found in it.

    Attributes:
        tray: The picture and its map.
        instances: What was found.
        matches: How that compares with the truth.
    """

    tray: MappedTray
    instances: tuple[Instance, ...]
    matches: Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorFigures:
    """What a locator comes to on a split.

    Attributes:
        pictures: How many.
        true: Parts in them.
        found: Parts found.
        f1: Over all parts, at an overlap of 0.5 and of 0.75.
        count_error: Mean share by which a picture's count is off.
        map_error: Mean absolute difference of the distance maps, 0 to 1.
    """

    pictures: int
    true: int
    found: int
    f1: tuple[float, ...]
    count_error: float
    map_error: float

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "pictures": self.pictures,
            "true": self.true,
            "found": self.found,
            "f1": {str(iou): value for iou, value in zip(IOUS, self.f1, strict=True)},
            "count_error": self.count_error,
            "map_error": self.map_error,
        }


def map_trays(
    network: LocatorNetwork,
    encoder: Backbone,
    pictures: Sequence[TrayPicture],
    *,
    long_side_px: int,
    what: str = "mapping trays",
    progress: Progress = no_progress,
) -> list[MappedTray]:
    """Return the network's map of each picture.

    Args:
        network: In evaluation mode.
        encoder: Its normalisation.
        pictures: Pictures with truth.
        long_side_px: Longer side at the network.
        what: Name of the work for `progress`.
        progress: Told of each picture.

    Raises:
        PictureError: If one cannot be read.
    """
    mapped = []
    for done, picture in enumerate(pictures, 1):
        frame, _, distance = picture.read()
        found = locate_map(network, frame, encoder, long_side_px=long_side_px)
        truth = small_distance(distance, (found.shape[0] * MAP_STRIDE, found.shape[1] * MAP_STRIDE))
        error = float(np.abs(found - truth).mean())
        height, width = frame.shape[:2]
        mapped.append(MappedTray(picture=picture, found_map=found, error=error, frame_px=(height, width)))
        progress(what, done, len(pictures))
    return mapped


def locate_trays(trays: Sequence[MappedTray], settings: FindSettings) -> list[Located]:
    """Find the parts in maps and compare them with the truth.

    Args:
        trays: From `map_trays`.
        settings: How to find.

    Raises:
        PictureError: If the truth of one cannot be read.
    """
    located = []
    for tray in trays:
        instances = find_instances(tray.found_map, frame_px=tray.frame_px, settings=settings)
        _, truth, _ = tray.picture.read()
        located.append(Located(tray=tray, instances=instances, matches=match_instances(instances, truth)))
    return located


def figures_of(located: Sequence[Located]) -> LocatorFigures:
    """Return the figures of a split, at least one picture."""
    matches = [one.matches for one in located]
    true, found = sum(one.true for one in matches), sum(one.found for one in matches)
    right = [sum(one.right[place] for one in matches) for place in range(len(IOUS))]
    return LocatorFigures(
        pictures=len(located),
        true=true,
        found=found,
        f1=tuple(2 * count / (true + found) if true + found else 1.0 for count in right),
        count_error=float(np.mean([abs(one.found - one.true) / max(one.true, 1) for one in matches])),
        map_error=float(np.mean([one.tray.error for one in located])),
    )
