"""Where the annotation files and pictures of a COCO export lie."""

from dataclasses import dataclass
from pathlib import Path

from nut_dataset.coco.trays import ANNOTATIONS, SPLITS
from nut_runtime.errors import InputError

__all__ = ["CocoSource", "find_sources"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoSource:
    """One split to read.

    Attributes:
        split: `train`, `valid` or `test`.
        annotations: Its JSON file.
        images: The folder its pictures' names are relative to.
    """

    split: str
    annotations: Path
    images: Path


def find_sources(source: Path, images: Path | None = None, *, split: str | None = None) -> tuple[CocoSource, ...]:
    """Return the splits in an export.

    Args:
        source: A JSON file, or the folder of an export in Roboflow's layout: `train/_annotations.coco.json` beside
            its pictures, likewise `valid` and `test`; or that file directly in the folder.
        images: Folder of the pictures; beside the JSON file by default.
        split: What a single JSON file becomes; `train` by default.

    Raises:
        InputError: If there is no annotation file, or the arguments do not go together.
    """
    source = Path(source)
    if split is not None and split not in SPLITS:
        raise InputError(f"a split is one of {', '.join(SPLITS)}, got {split!r}")
    if source.is_dir():
        if images is not None:
            raise InputError(f"{source} is a folder, so its pictures lie beside its annotations; leave out {images}")
        found = [part for part in SPLITS if (source / part / ANNOTATIONS).is_file()]
        if found and split is not None:
            raise InputError(f"{source} has its own splits ({', '.join(found)}); leave out --split")
        if found:
            return tuple(
                CocoSource(split=part, annotations=source / part / ANNOTATIONS, images=source / part) for part in found
            )
        if not (source / ANNOTATIONS).is_file():
            raise InputError(
                f"{source} is no COCO export: neither {ANNOTATIONS} nor train/{ANNOTATIONS} is in it; give the JSON "
                "file and the folder of its pictures"
            )
        source = source / ANNOTATIONS
    elif not source.exists():
        raise InputError(f"{source} does not exist; give a COCO file of annotations or the folder of an export")
    images = source.parent if images is None else Path(images)
    if not images.is_dir():
        raise InputError(f"{images} is not a folder; give the folder of the pictures")
    return (CocoSource(split=split or "train", annotations=source, images=images),)
