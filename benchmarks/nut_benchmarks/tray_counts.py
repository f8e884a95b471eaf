"""A locator on real photos of trays: against centres that were marked, and against counts, both by hand.

Run as `python -m nut_benchmarks.tray_counts RUN|BUNDLE TRAYS`, where TRAYS holds `phone` with `centres.json` and `rig`,
as the pictures beside the project do; the rig's counts are in tests/data/rig-counts.json. With `-o DIR` it writes what
was found as pictures.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nut_export.locator.cutouts import MapSource, open_map_source
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.instance import Flaw, Instance
from nut_runtime.locate.usable import UsableLimits, view_fault
from nut_runtime.pictures import list_pictures, read_picture, write_picture
from nut_train.locator.report import draw_instances

__all__ = ["COUNTS", "WITHIN_PX", "HandCount", "MarkedPhoto", "check_marked", "check_marks", "count_frames"]

WITHIN_PX = 15.0
"""How far a found centre may be from a marked one, in pixels of a photo of 480x640."""
COUNTS = Path(__file__).parents[2] / "tests" / "data" / "rig-counts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedPhoto:
    """What was found in a photo whose nuts are marked.

    Attributes:
        name: Of the photo.
        marked: Nuts that are there.
        found: Parts found.
        right: Marked nuts that are found within `WITHIN_PX`, each by a part of its own.
        farthest_px: The largest distance of those.
        flaws: How many of the found ones are not to be judged.
    """

    name: str
    marked: int
    found: int
    right: int
    farthest_px: float
    flaws: int

    @property
    def is_right(self) -> bool:
        """Whether every nut is found, none twice, and none is invented."""
        return self.right == self.marked == self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class HandCount:
    """What was found in a frame that was counted by hand.

    Attributes:
        name: Of the frame.
        least: Nuts counted, without those of which a tip alone is to be seen.
        most: With them.
        found: Parts found, without crumbs.
        fault: Why the view counts as unusable; empty where it does not.
    """

    name: str
    least: int
    most: int
    found: int
    fault: str

    @property
    def off(self) -> float:
        """By what share of the count it is off."""
        wrong = max(self.least - self.found, self.found - self.most, 0)
        return wrong / self.least


def check_marks(
    instances: Sequence[Instance], centres: NDArray[np.float64], *, name: str, within_px: float = WITHIN_PX
) -> MarkedPhoto:
    """Compare found parts with marked centres, the nearest pairs first, each used once.

    Args:
        instances: What was found.
        centres: Marked, float64 `[N, 2]`, (x, y).
        name: Of the photo.
        within_px: How far a pair may be apart.
    """
    found = np.array([one.centre for one in instances]).reshape(-1, 2)
    distances = np.linalg.norm(centres[:, None] - found[None], axis=2)
    right, farthest = 0, 0.0
    while distances.size and float(distances.min()) <= within_px:
        mark, one = np.unravel_index(int(distances.argmin()), distances.shape)
        right, farthest = right + 1, max(farthest, float(distances[mark, one]))
        distances[mark], distances[:, one] = math.inf, math.inf
    return MarkedPhoto(
        name=name,
        marked=len(centres),
        found=len(instances),
        right=right,
        farthest_px=farthest,
        flaws=sum(not one.is_complete for one in instances),
    )


def check_marked(source: MapSource, folder: Path, *, out: Path | None = None) -> list[MarkedPhoto]:
    """Find the parts in the photos of a folder with `centres.json`.

    Args:
        source: The locator.
        folder: The photos.
        out: Folder for pictures of what was found; None writes none.

    Raises:
        InputError: If `centres.json` is missing or damaged.
    """
    data = _read(folder / "centres.json")["centres"]
    checked = []
    for path in list_pictures(folder):
        centres = next((marks for name, marks in data.items() if path.name.startswith(f"{name}_")), None)
        if centres is not None:
            _, instances = _found(source, path, out)
            checked.append(check_marks(instances, np.array(centres, float), name=path.name.split("_jpeg")[0]))
    return checked


def count_frames(
    source: MapSource, folder: Path, counts: Mapping[str, Mapping[str, int]], *, out: Path | None = None
) -> list[HandCount]:
    """Count the parts in frames that were counted by hand.

    Args:
        source: The locator.
        folder: Holds the frames, by the names in `counts` and `.jpg`.
        counts: `whole`, `cut` and `tip` by name.
        out: Folder for pictures of what was found; None writes none.

    Raises:
        PictureError: If a frame cannot be read.
    """
    counted = []
    for name, count in counts.items():
        frame, instances = _found(source, folder / f"{name}.jpg", out)
        _, fault = view_fault(frame, UsableLimits())
        seen = count["whole"] + count["cut"]
        found = sum(one.flaw is not Flaw.TOO_SMALL for one in instances)
        counted.append(HandCount(name=name, least=seen, most=seen + count["tip"], found=found, fault=fault))
    return counted


def _found(source: MapSource, path: Path, out: Path | None) -> tuple[NDArray[np.uint8], tuple[Instance, ...]]:
    frame = read_picture(path)
    frame_px = (frame.shape[0], frame.shape[1])
    instances = find_instances(source.locate(frame), frame_px=frame_px, settings=source.find)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_picture(out / f"{path.parent.name}-{path.stem[:12]}.png", draw_instances(frame, instances))
    return frame, instances


def _read(path: Path) -> dict[str, dict[str, dict[str, int]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is damaged: expected an object")
    return data


@click.command(cls=NutCommand)
@click.argument("locator", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("trays", metavar="TRAYS", type=click.Path(path_type=Path))
@click.option("-o", "--output", "out", metavar="DIR", type=click.Path(path_type=Path), help="Write pictures there.")
def _main(locator: Path, trays: Path, out: Path | None) -> None:
    r"""Count real trays with a locator.

    \b
    python -m nut_benchmarks.tray_counts locator-run ../shared/data/trays
    """
    source = open_map_source(locator)
    for photo in check_marked(source, trays / "phone", out=out):
        verdict = "right" if photo.is_right else "WRONG"
        click.echo(
            f"{photo.name}: {photo.right} of {photo.marked} found, {photo.found - photo.right} invented, farthest "
            f"{photo.farthest_px:.1f} px, {photo.flaws} flawed: {verdict}"
        )
    counted = count_frames(source, trays / "rig", _read(COUNTS)["frames"], out=out)
    for frame in counted:
        span = f"{frame.least}" if frame.least == frame.most else f"{frame.least} to {frame.most}"
        fault = f"; said to be unusable: {frame.fault}" if frame.fault else ""
        click.echo(f"{frame.name}: {frame.found} found, {span} counted, off by {100 * frame.off:.0f}%{fault}")
    within = sum(frame.off <= 0.1 for frame in counted)  # noqa: PLR2004 - the issue's 10%
    click.echo(f"within 10%: {within} of {len(counted)} frames")


if __name__ == "__main__":
    _main()
