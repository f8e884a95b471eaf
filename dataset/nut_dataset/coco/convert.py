"""From COCO annotations to a tray data set: every entry checked, every picture with its labels and distance map."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.document import CocoAnnotation, CocoImage, read_document
from nut_dataset.coco.export_layout import CocoSource
from nut_dataset.coco.faults import AnnotationError, Fault
from nut_dataset.coco.outline import OutlineError, draw_outline
from nut_dataset.coco.trays import ANNOTATIONS, MARKER, write_maps
from nut_dataset.progress import Progress, no_progress
from nut_runtime import __version__
from nut_runtime.atomic import check_output_folder, new_folder, write_bytes, write_json
from nut_runtime.errors import InputError, OutputError, PictureError
from nut_runtime.pictures import read_picture

__all__ = ["SplitCounts", "convert", "convert_split"]

_MAX_LABEL = 65535
_MAX_NAME_BYTES = 200  # file systems take 255; temporary files add to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """What became of one split.

    Attributes:
        split: Its name.
        pictures: Written.
        parts: Annotations that became a part.
        crowds: Crowd annotations left out: they mark several parts as one.
        incomplete: File names of written pictures in which a part may be seen that is marked nowhere, as an
            annotation was left out: a crowd, or a faulty one.
        faults: Entries left out.
    """

    split: str
    pictures: int
    parts: int
    crowds: int
    incomplete: tuple[str, ...]
    faults: tuple[Fault, ...]


def convert(
    sources: Sequence[CocoSource],
    out: Path,
    *,
    skip_invalid: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> tuple[SplitCounts, ...]:
    """Make the tray data set `out` from annotations; see `nut_dataset.coco.trays` for what it holds.

    Args:
        sources: The splits, as `find_sources` gives them.
        out: The folder; it appears whole, at the end.
        skip_invalid: Leave entries with faults out and go on.
        overwrite: Replace an older tray data set.
        progress: Called after each picture.

    Returns:
        What became of each split.

    Raises:
        AnnotationError: If entries have faults and are not to be skipped; it lists them all.
        InputError: If a file is not COCO, or no picture is left.
        OutputError: If `out` exists and is not to be replaced, or cannot be written.
    """
    out = Path(out)
    inputs = [path for source in sources for path in (source.annotations, source.images)]
    check_output_folder(out, marker=MARKER, overwrite=overwrite, inputs=inputs)
    with new_folder(out, marker=MARKER, overwrite=overwrite, inputs=inputs) as folder:
        counts = tuple(convert_split(source, folder / source.split, progress=progress) for source in sources)
        faults = [fault for split in counts for fault in split.faults]
        if faults and not skip_invalid:
            raise AnnotationError.of(", ".join(str(source.annotations) for source in sources), faults)
        if not any(split.pictures for split in counts):
            raise InputError(f"{sources[0].annotations} gives no picture that can be used; there is nothing to write")
        write_json(folder / MARKER, marker_data("nut dataset from-coco", counts))
    return counts


def marker_data(made_by: str, counts: Sequence[SplitCounts]) -> dict[str, Any]:
    """Return what `trays.json` says."""
    return {
        "made_by": made_by,
        "version": __version__,
        "splits": {
            split.split: {
                "pictures": split.pictures,
                "parts": split.parts,
                "crowds_left_out": split.crowds,
                "entries_left_out": [str(fault) for fault in split.faults],
            }
            for split in counts
        },
    }


def convert_split(source: CocoSource, part: Path, *, progress: Progress = no_progress) -> SplitCounts:
    """Write one split into the new folder `part`, leaving out what has faults.

    Args:
        source: Its annotations and pictures.
        part: The folder; it is made.
        progress: Called after each picture.

    Raises:
        InputError: If the file is not COCO.
        OutputError: If something cannot be written.
    """
    document = read_document(source.annotations, split=source.split)
    _make_folder(part)
    faults = list(document.faults)
    faulty_pictures = {fault.picture for fault in faults if fault.entry == "annotation"}
    of_image = document.of_image()
    images, kept, crowds = [], [], 0
    incomplete: list[str] = []
    taken: set[str] = set()
    for done, image in enumerate(document.images, start=1):
        name = image.file_name.replace("/", "_")
        what = _name_fault(name, taken) or _copy(source.images / image.file_name, part / name, image)
        if what is not None:
            entry = {"entry": "image", "name": str(image.id), "split": source.split, "picture": image.file_name}
            faults.append(Fault(what=what, **entry))
        else:
            marked = of_image[image.id]
            single = [annotation for annotation in marked if not annotation.is_crowd]
            entries, labels, outline_faults = _draw(single, image, source.split)
            write_maps(part, name, labels)
            taken.add(Path(name).stem.casefold())
            faults += outline_faults
            crowds += len(marked) - len(single)
            if len(entries) < len(marked) or image.file_name in faulty_pictures:
                incomplete.append(name)
            images.append({"id": image.id, "file_name": name, "height": image.height_px, "width": image.width_px})
            kept += entries
        progress(f"reading {source.split}", done, len(document.images))
    write_json(part / ANNOTATIONS, {"categories": list(document.categories), "images": images, "annotations": kept})
    return SplitCounts(
        split=source.split,
        pictures=len(images),
        parts=len(kept),
        crowds=crowds,
        incomplete=tuple(incomplete),
        faults=tuple(faults),
    )


def _make_folder(folder: Path) -> None:
    """Make a folder of the output."""
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def _name_fault(name: str, taken: set[str]) -> str | None:
    """Say why a picture cannot bear `name` in the data set; None where it can."""
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"its file_name is longer than {_MAX_NAME_BYTES} bytes"
    if Path(name).stem.casefold() in taken:
        return f"another picture has the name {Path(name).stem} before the dot; rename one"
    return None


def _copy(source: Path, target: Path, image: CocoImage) -> str | None:
    """Copy a picture after a look at it; say what is wrong with it, None where nothing is."""
    try:
        height, width = read_picture(source).shape[:2]
        data = source.read_bytes()
    except PictureError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {source}: {error.strerror or error}"
    if (height, width) != (image.height_px, image.width_px):
        turned = "; it may be turned by its EXIF entry, then save it upright" if height == image.width_px else ""
        return f"{source.name} has {width}x{height} px, the annotations say {image.width_px}x{image.height_px}{turned}"
    write_bytes(target, data, is_durable=False)
    return None


def _draw(
    annotations: Sequence[CocoAnnotation], image: CocoImage, split: str
) -> tuple[list[dict[str, Any]], NDArray[np.uint16], list[Fault]]:
    """Draw the parts of one picture.

    Returns:
        The entries of those that were drawn, in their order; the labels 1, 2, ... of their visible pixels, uint16
        `[H, W]`; and the faults of the others.
    """
    labels = np.zeros((image.height_px, image.width_px), np.uint16)
    drawn: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for annotation in reversed(annotations):  # the last lies on top of all
        what = None
        try:
            mask = draw_outline(annotation.segmentation, image)
        except OutlineError as error:
            what = str(error)
        else:
            visible = mask & (labels == 0)
            if not visible.any():
                what = "later annotations cover it wholly; is the part marked twice?"
            elif len(drawn) == _MAX_LABEL:
                what = f"a picture holds at most {_MAX_LABEL} parts"
        if what is not None:
            faults.append(
                Fault(entry="annotation", name=str(annotation.id), what=what, split=split, picture=image.file_name)
            )
            continue
        drawn.append(_entry(annotation, mask))
        labels[visible] = len(drawn)
    # Drawn from the last to the first, numbered from the first to the last.
    labels[labels > 0] = np.uint16(len(drawn) + 1) - labels[labels > 0]
    return drawn[::-1], labels, faults[::-1]


def _entry(annotation: CocoAnnotation, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the annotation as the data set's file lists it, with box and area of what was drawn."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    outline = annotation.segmentation
    if isinstance(outline, dict):
        outline = {key: outline[key] for key in ("size", "counts")}
    return {
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "bbox": [
            int(columns[0]),
            int(rows[0]),
            int(columns[-1] - columns[0]) + 1,
            int(rows[-1] - rows[0]) + 1,
        ],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": outline,
    }
