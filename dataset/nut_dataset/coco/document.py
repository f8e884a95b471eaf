"""Reads a COCO annotation file into plain records; entries that make no sense become faults, not exceptions.

Format: https://cocodataset.org/#format-data, as Roboflow, CVAT and Label Studio write it.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nut_dataset.coco.faults import Fault
from nut_runtime.errors import InputError
from nut_runtime.pictures import EXTENSIONS, MAX_PIXELS, MIN_SIDE_PX

__all__ = ["CocoAnnotation", "CocoDocument", "CocoImage", "number", "read_document"]

_MAX_BYTES = 1_000_000_000
_BOX = 4
OUTSIDE_PX = 1.0
"""Tools round outlines and boxes: this far beyond the picture is no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """A picture as the file describes it.

    Attributes:
        id: Of the picture.
        file_name: Relative to the folder of pictures, with `/`; never leads out of it.
        width_px: Columns.
        height_px: Rows.
    """

    id: int
    file_name: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoAnnotation:
    """A part as the file describes it; its outline is not looked at yet.

    Attributes:
        id: Of the annotation.
        image_id: Of its picture.
        category_id: Its class.
        segmentation: Polygons or run lengths, unchecked.
        is_crowd: Whether it marks several parts together.
    """

    id: int
    image_id: int
    category_id: int
    segmentation: Any
    is_crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoDocument:
    """What an annotation file holds.

    Attributes:
        images: In the file's order, ids all different.
        annotations: In the file's order, ids all different, each of one of `images`.
        categories: `id` and `name` of each class.
        faults: Entries left out of the above.
    """

    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...]
    categories: tuple[dict[str, Any], ...]
    faults: tuple[Fault, ...]

    def of_image(self) -> dict[int, list[CocoAnnotation]]:
        """Return the annotations of each picture, by the picture's id; an empty list where there is none."""
        found: dict[int, list[CocoAnnotation]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return found


@dataclass(slots=True)
class _Entry:
    """An entry of one of the file's lists, and how its faults are written down."""

    kind: str
    place: int
    data: Any
    split: str
    picture: str = ""
    faults: list[Fault] = field(default_factory=list)

    @property
    def id(self) -> int | None:
        value = self.data.get("id") if isinstance(self.data, dict) else None
        return value if _is_id(value) else None

    def blame(self, what: str) -> None:
        name = f"number {self.place}" if self.id is None else str(self.id)
        self.faults.append(Fault(entry=self.kind, name=name, what=what, split=self.split, picture=self.picture))


def read_document(path: Path, *, split: str = "") -> CocoDocument:
    """Read a COCO file of annotations.

    Args:
        path: The JSON file.
        split: Its name, for the faults.

    Raises:
        InputError: If the file as a whole is not COCO: unreadable, not JSON, or without its lists.
    """
    data = _load(path)
    images, image_faults = _images(_list(data, "images", path), split)
    known = {image.id: image for image in images}
    categories = _categories(data.get("categories"))
    annotations, annotation_faults = _annotations(
        _list(data, "annotations", path),
        known,
        {one["id"] for one in categories},
        faulty_images={fault.name for fault in image_faults},
        split=split,
    )
    return CocoDocument(
        images=tuple(images),
        annotations=tuple(annotations),
        categories=categories,
        faults=(*image_faults, *annotation_faults),
    )


def _load(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{path} has {size / 1e9:.1f} GB, at most 1 GB is read; split it")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); give a COCO file of annotations") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a COCO file: expected an object with images and annotations")
    return data


def _list(data: dict[str, Any], name: str, path: Path) -> list[Any]:
    """Return one of the file's lists."""
    entries = data.get(name)
    if not isinstance(entries, list):
        raise InputError(f"{path} is not a COCO file: its list {name} is missing; export it as COCO segmentation")
    return entries


def _categories(entries: Any) -> tuple[dict[str, Any], ...]:
    """Return number and name of each class; what else the file says of them is not needed."""
    return tuple(
        {"id": one["id"], "name": str(one.get("name", ""))}
        for one in (entries if isinstance(entries, list) else ())
        if isinstance(one, dict) and _is_id(one.get("id"))
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _images(entries: Sequence[Any], split: str) -> tuple[list[CocoImage], list[Fault]]:
    """Return the pictures that can be used, and what is wrong with the others."""
    rows = [_Entry("image", place, data, split) for place, data in enumerate(entries)]
    uses = Counter(row.id for row in rows)
    names: Counter[str] = Counter()
    images = []
    for row in rows:
        image = _image(row)
        if isinstance(image, str):
            row.blame(image)
            continue
        if uses[image.id] > 1:
            row.blame(f"its id is given to {uses[image.id]} pictures, so nobody knows whose annotations are whose")
            continue
        names[image.file_name] += 1
        if names[image.file_name] > 1:
            row.blame(f"{image.file_name} is listed before under another id")
            continue
        images.append(image)
    return images, [fault for row in rows for fault in row.faults]


def _image(row: _Entry) -> CocoImage | str:
    """Return one picture, or what is wrong with it."""
    if not isinstance(row.data, dict):
        return "is not an object"
    if row.id is None:
        return f"its id is no whole number: {_shown(row.data.get('id'))}"
    name = row.data.get("file_name")
    if (fault := _name_fault(name)) is not None:
        return fault
    row.picture = str(name)
    sides = [number(row.data.get(side)) for side in ("width", "height")]
    if any(side is None or side != int(side) for side in sides):
        return "its width and height are no whole numbers"
    width, height = (int(side or 0) for side in sides)
    if min(width, height) < MIN_SIDE_PX or width * height > MAX_PIXELS:
        return (
            f"a size of {width}x{height} px makes no sense; {MIN_SIDE_PX} px a side to "
            f"{MAX_PIXELS // 1_000_000} megapixels are read"
        )
    return CocoImage(id=row.id, file_name=str(name), width_px=width, height_px=height)


def _name_fault(name: Any) -> str | None:
    """Say what is wrong with a file name; None where nothing is."""
    if not isinstance(name, str) or not name or not name.isprintable():
        return f"its file_name is no name of a file: {_shown(name)}"
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0] or any(part in {"", ".", ".."} for part in parts):
        return f"its file_name leads out of the folder of pictures: {_shown(name)}"
    if Path(name).suffix.lower() not in EXTENSIONS:
        return f"its file_name is not that of a picture: {_shown(name)}"
    return None


def _annotations(
    entries: Sequence[Any],
    images: dict[int, CocoImage],
    categories: set[int],
    *,
    faulty_images: set[str],
    split: str,
) -> tuple[list[CocoAnnotation], list[Fault]]:
    """Return the annotations that can be used, and what is wrong with the others.

    Those of a picture that is at fault itself go with it without a word of their own.
    """
    rows = [_Entry("annotation", place, data, split) for place, data in enumerate(entries)]
    seen: set[int] = set()
    annotations = []
    for row in rows:
        if not isinstance(row.data, dict):
            row.blame("is not an object")
            continue
        image_id = row.data.get("image_id")
        image = images.get(image_id) if isinstance(image_id, int) and _is_id(image_id) else None
        if image is not None:
            row.picture = image.file_name
        if row.id is None:
            row.blame(f"its id is no whole number: {_shown(row.data.get('id'))}")
        elif row.id in seen:
            row.blame("its id was given before")
        elif image is None:
            if str(image_id) not in faulty_images:
                row.blame(f"its image_id names no picture: {_shown(image_id)}")
        elif isinstance(annotation := _annotation(row, image, categories), str):
            row.blame(annotation)
        else:
            annotations.append(annotation)
        if row.id is not None:
            seen.add(row.id)
    return annotations, [fault for row in rows for fault in row.faults]


def _annotation(row: _Entry, image: CocoImage, categories: set[int]) -> CocoAnnotation | str:
    """Return one annotation, or what is wrong with it; its outline is checked when it is drawn."""
    category = row.data.get("category_id", 0)
    if not _is_id(category) or (categories and category not in categories):
        return f"its category_id is not in the list of categories: {_shown(category)}"
    crowd = row.data.get("iscrowd", 0)
    if crowd not in (0, 1):
        return f"its iscrowd is neither 0 nor 1: {_shown(crowd)}"
    if "bbox" in row.data and (fault := _box_fault(row.data["bbox"], image)) is not None:
        return fault
    return CocoAnnotation(
        id=row.id or 0,
        image_id=image.id,
        category_id=int(category),
        segmentation=row.data.get("segmentation"),
        is_crowd=bool(crowd),
    )


def _box_fault(box: Any, image: CocoImage) -> str | None:
    """Say what is wrong with a box; None where nothing is."""
    numbers = [number(value) for value in box] if isinstance(box, list) else []
    if len(numbers) != _BOX or any(value is None for value in numbers):
        return f"its bbox is not four numbers (x, y, width, height): {_shown(box)}"
    x, y, width, height = (value or 0.0 for value in numbers)
    if width <= 0 or height <= 0:
        return f"its bbox is empty: {_shown(box)}"
    low, right, bottom = -OUTSIDE_PX, image.width_px + OUTSIDE_PX, image.height_px + OUTSIDE_PX
    if min(x, y) < low or x + width > right or y + height > bottom:
        return f"its bbox {_shown(box)} (x, y, width, height) reaches beyond the {image.width_px}x{image.height_px} px"
    return None


def number(value: Any) -> float | None:
    """Return a JSON number as float; None where it is none, is not finite, or is too large to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _shown(value: Any) -> str:
    """Return a value of the file, short and printable."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line stays readable
