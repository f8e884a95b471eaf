"""Writes a data set of drawn trays: what a locator learns from where nobody has marked photos."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.convert import convert_split, marker_data
from nut_dataset.coco.export_layout import find_sources
from nut_dataset.coco.trays import ANNOTATIONS, MARKER, SPLITS
from nut_dataset.progress import Progress, no_progress
from nut_dataset.tray_drawing.cutout_sprite import read_cutouts
from nut_dataset.tray_drawing.drawn_sprite import DEFECT_SHARE
from nut_dataset.tray_drawing.scene import DrawnTray, TrayOrder, draw_tray
from nut_runtime.atomic import check_output_folder, new_folder, write_bytes, write_json
from nut_runtime.errors import InputError
from nut_runtime.pictures import list_pictures, read_picture

__all__ = ["SynthTraysSettings", "synthesise_trays"]

_MAX_PICTURES = 9999
"""Per split: names have four digits."""
_MAX_PARTS = 500
_MIN_SIZE_PX, _MAX_SIZE_PX = 160, 2048
_MAX_SEED = 2**64 - 1
_JPEG = 60, 96
"""Quality of the pictures: what cameras and labelling tools deliver."""
_EXPORT = ".export"


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthTraysSettings:
    """What to draw.

    Attributes:
        train: Pictures to train on.
        valid: Pictures to choose by.
        test: Pictures to measure with.
        seed: 0 to 2**64 - 1; the same settings give the same bytes on one kind of machine.
        size_px: Longer side of the pictures; the other is three quarters of it, half of them upright.
        parts: Least and largest number of nuts on a tray; fewer lie there where no more fit.
        nut_side: Least and largest side of a nut, in pixels of a picture whose longer side is 640.
        cutouts: Folder of single nuts on white to paste, or None to draw all.
        cutout_share: Share of trays whose nuts are pasted.
        defect_share: How likely a drawn nut has a defect; 0 draws good ones, for a judge to learn from.
        backgrounds: Folder of photos of empty tables for half of the trays, or None to draw all.
    """

    train: int = 200
    valid: int = 40
    test: int = 40
    seed: int = 0
    size_px: int = 640
    parts: tuple[int, int] = (0, 80)
    nut_side: tuple[float, float] = (22.0, 70.0)
    cutouts: Path | None = None
    cutout_share: float = 0.5
    defect_share: float = DEFECT_SHARE
    backgrounds: Path | None = None

    def __post_init__(self) -> None:
        """Check that the numbers make sense.

        Raises:
            InputError: If one does not.
        """
        for name, value, low, high in (
            ("train", self.train, 1, _MAX_PICTURES),
            ("valid", self.valid, 0, _MAX_PICTURES),
            ("test", self.test, 0, _MAX_PICTURES),
            ("seed", self.seed, 0, _MAX_SEED),
            ("size", self.size_px, _MIN_SIZE_PX, _MAX_SIZE_PX),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} is a whole number from {low} to {high}, got {value!r}")
        if not 0 <= self.parts[0] <= self.parts[1] <= _MAX_PARTS:
            raise InputError(f"parts rise from 0 to {_MAX_PARTS} at most, got {self.parts[0]} to {self.parts[1]}")
        if not 12 <= self.nut_side[0] <= self.nut_side[1] <= 300:  # noqa: PLR2004 - said in the message
            raise InputError(f"a nut's side is 12 to 300 px, got {self.nut_side[0]} to {self.nut_side[1]}")
        for name, share in (("cut-outs", self.cutout_share), ("defects", self.defect_share)):
            if not 0 <= share <= 1:
                raise InputError(f"the share of {name} is 0 to 1, got {share}")

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def synthesise_trays(
    out: Path, settings: SynthTraysSettings, *, overwrite: bool = False, progress: Progress = no_progress
) -> None:
    """Draw trays of weld nuts into the new tray data set `out`; see `nut_dataset.coco.trays` for what it holds.

    They are written as a COCO export first and then converted as `nut dataset from-coco` does. Each picture has its
    own random state, made from the seed, its split and its number there, so that more pictures keep the earlier ones.

    Args:
        out: The folder; it appears whole, at the end.
        settings: What to draw.
        overwrite: Replace an older tray data set.
        progress: Called after each picture.

    Raises:
        InputError: If the cut-outs or backgrounds cannot be used.
        OutputError: If `out` exists and is not to be replaced, or cannot be written.
    """
    out = Path(out)
    inputs = [folder for folder in (settings.cutouts, settings.backgrounds) if folder is not None]
    check_output_folder(out, marker=MARKER, overwrite=overwrite, inputs=inputs)
    order = _order(settings)
    with new_folder(out, marker=MARKER, overwrite=overwrite, inputs=inputs) as folder:
        counts = []
        for place, split in enumerate(SPLITS):
            number = (settings.train, settings.valid, settings.test)[place]
            if number == 0:
                continue
            part = folder / _EXPORT / split
            part.mkdir(parents=True)
            trays = _trays(settings, order, place, number, progress=progress)
            _write_export(part, trays)
            (source,) = find_sources(part, split=split)
            counts.append(convert_split(source, folder / split, progress=progress))
        shutil.rmtree(folder / _EXPORT)
        data = marker_data("nut dataset synth --trays", counts)
        write_json(folder / MARKER, {**data, "settings": settings.to_json()})


def _order(settings: SynthTraysSettings) -> TrayOrder:
    """Return what all trays have in common, with cut-outs and backgrounds read."""
    backgrounds: tuple[NDArray[np.uint8], ...] = ()
    if settings.backgrounds is not None:
        backgrounds = tuple(read_picture(path) for path in list_pictures(settings.backgrounds))
        if not backgrounds:
            raise InputError(f"{settings.backgrounds} holds no pictures; give photos of empty tables")
    return TrayOrder(
        height_px=settings.size_px * 3 // 4,
        width_px=settings.size_px,
        parts=settings.parts,
        side=settings.nut_side,
        cutouts=() if settings.cutouts is None else read_cutouts(settings.cutouts),
        cutout_share=settings.cutout_share,
        defect_share=settings.defect_share,
        backgrounds=backgrounds,
    )


def _trays(
    settings: SynthTraysSettings, order: TrayOrder, split: int, number: int, *, progress: Progress
) -> Iterator[tuple[bytes, DrawnTray]]:
    """Yield the trays of a split, each with the JPEG file of its picture."""
    for index in range(number):
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(split, index)))
        if rng.random() < 0.5:  # noqa: PLR2004 - half of them upright
            tray = draw_tray(rng, replace(order, height_px=order.width_px, width_px=order.height_px))
        else:
            tray = draw_tray(rng, order)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_JPEG))]
        yield cv2.imencode(".jpg", tray.picture, quality)[1].tobytes(), tray
        progress(f"drawing {SPLITS[split]}", index + 1, number)


def _write_export(part: Path, trays: Iterator[tuple[bytes, DrawnTray]]) -> None:
    """Write pictures and annotations as a COCO export of one split, masks as compressed run lengths."""
    from pycocotools import mask as coco_mask

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, (data, tray) in enumerate(trays, start=1):
        name = f"{index - 1:04d}.jpg"
        write_bytes(part / name, data, is_durable=False)
        height, width = tray.instances.shape
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for label in range(1, int(tray.instances.max()) + 1):
            runs = coco_mask.encode(np.asfortranarray(tray.instances == label, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(coco_mask.area(runs)),
                    "bbox": [float(value) for value in coco_mask.toBbox(runs)],
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode("ascii")},
                }
            )
    coco = {"categories": [{"id": 1, "name": "nut"}], "images": images, "annotations": annotations}
    (part / ANNOTATIONS).write_text(json.dumps(coco), encoding="utf-8")
