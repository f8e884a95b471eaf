"""Training pictures for a judge: the parts of trays, found and cut out as the runtime does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.trays import MARKER, SPLITS, read_trays
from nut_dataset.cutouts import CUTOUTS
from nut_dataset.layout import GOOD
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError
from nut_runtime.locate.cutout import cut_out
from nut_runtime.locate.finding import find_instances, usual_area_px
from nut_runtime.locate.locator import Locator
from nut_runtime.locate.settings import CutoutSettings, FindSettings
from nut_runtime.manifest import MANIFEST
from nut_runtime.pictures import list_pictures, read_picture, write_picture
from nut_train.locator.pixels import locate_map
from nut_train.locator.run import open_locator_run

__all__ = ["CutParts", "MapSource", "cut_trays", "open_map_source"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapSource:
    """What gives distance maps, be it a run or a bundle.

    Attributes:
        locate: uint8 `[H, W, 3]` BGR to float32 `[h, w]`.
        find: How parts are found in them.
        cutout: How its bundle cuts them out; None of a run.
        facts: What names it.
    """

    locate: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    find: FindSettings
    cutout: CutoutSettings | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutParts:
    """What cutting out came to.

    Attributes:
        trays: Pictures looked at.
        parts: Cut-outs written.
        incomplete: Parts that were left out, as the runtime would not judge them.
    """

    trays: int
    parts: int
    incomplete: int


def open_map_source(folder: Path) -> MapSource:
    """Open a locator's run, or a bundle that has a locator.

    Args:
        folder: Either.

    Raises:
        InputError: If the folder is neither.
        BundleError: If the bundle is broken or has no locator.
        EngineError: If there is no engine for the bundle.
    """
    if (Path(folder) / MANIFEST).is_file():
        bundle = open_bundle(folder)
        locator = Locator(bundle)
        return MapSource(
            locate=locator.locate,
            find=locator.entry.find,
            cutout=locator.entry.cutout,
            facts={"bundle_id": bundle.manifest.bundle_id, "engine": locator.name},
        )
    run = open_locator_run(folder)
    network, encoder, long_side_px = run.load(), run.encoder, run.config.long_side_px
    return MapSource(
        locate=lambda frame: locate_map(network, frame, encoder, long_side_px=long_side_px),
        find=run.settings,
        cutout=None,
        facts={"trained": run.record.get("created"), "dataset_fingerprint": run.record["dataset"]["fingerprint"]},
    )


def cut_trays(
    trays: Path,
    out: Path,
    source: MapSource,
    settings: CutoutSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> CutParts:
    """Cut the complete parts out of trays into `out`/train/good, for a judge to learn from.

    Args:
        trays: A folder of pictures, or a tray data set, all of whose splits are taken.
        out: The data set to write; `cutouts.json` in it tells how the parts were cut out.
        source: From `open_map_source`.
        settings: How to cut; None takes the bundle's, else the defaults.
        overwrite: Replace an older data set of cut-outs.
        progress: Told of each tray.

    Raises:
        InputError: If there are no pictures, or no part is found in any.
        PictureError: If a picture cannot be read.
        OutputError: If `out` exists or cannot be written.
    """
    cutout = settings or source.cutout or CutoutSettings()
    pictures = _pictures(trays)
    parts, incomplete = 0, 0
    with new_folder(out, marker=CUTOUTS, overwrite=overwrite, inputs=[trays]) as folder:
        good = folder / "train" / GOOD
        good.mkdir(parents=True)
        for done, (name, path) in enumerate(pictures, 1):
            frame = read_picture(path)
            frame_px = (frame.shape[0], frame.shape[1])
            found = find_instances(source.locate(frame), frame_px=frame_px, settings=source.find)
            area_px = usual_area_px(found, frame_px=frame_px, settings=source.find)
            for one in found:
                if not one.is_complete:
                    incomplete += 1
                    continue
                cut = cut_out(frame, one, cutout, area_px=area_px)
                write_picture(good / f"{name}_{one.number:03}.png", cut)
                parts += 1
            progress("cutting out parts", done, len(pictures))
        if not parts:
            raise InputError(f"no part that could be judged is found in {trays}; train the locator on such pictures")
        write_json(
            folder / CUTOUTS,
            {"cutout": cutout.to_json(), "find": source.find.to_json(), "locator": source.facts, "trays": str(trays)},
        )
    return CutParts(trays=len(pictures), parts=parts, incomplete=incomplete)


def _pictures(trays: Path) -> Sequence[tuple[str, Path]]:
    """Return the pictures of a folder or data set, each with a name that no other one has."""
    if (Path(trays) / MARKER).is_file():
        found = [(split, picture.path) for split in SPLITS for picture in read_trays(trays, split)]
        pictures = [(f"{split}-{path.stem}", path) for split, path in found]
    else:
        pictures = [(path.stem, path) for path in list_pictures(Path(trays))]
    if not pictures:
        raise InputError(f"{trays} holds no pictures of trays")
    names = [name for name, _ in pictures]
    doubled = {name for name in names if names.count(name) > 1}
    return [(path.name.replace(".", "-") if name in doubled else name, path) for name, path in pictures]
