"""The folders of a data set, compatible with MVTec AD.

    DATASET/train/good/*                          pictures of good parts, for the bank and the calibration
    DATASET/test/good/*                           good parts that only measure
    DATASET/test/<kind>/*                         defective parts by kind, that only measure
    DATASET/ground_truth/<kind>/<stem>_mask.png   optional: 0 = good, above 0 = defect

Only `train/good` is needed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.pictures import extensions_text, list_pictures, read_picture

__all__ = ["GOOD", "Dataset", "fingerprint", "open_dataset", "read_mask"]

GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The files of a data set, by role. Paths are under `root`, sorted by name.

    Attributes:
        root: The data set's folder.
        train_good: Pictures of good parts for training and calibration, at least one.
        test_good: Pictures of good parts to measure with; may be empty.
        defects: Pictures of defective parts by kind of defect; may be empty.
        masks: The mask file of a defective picture, where there is one.
    """

    root: Path
    train_good: tuple[Path, ...]
    test_good: tuple[Path, ...]
    defects: Mapping[str, tuple[Path, ...]]
    masks: Mapping[Path, Path]

    @property
    def defective(self) -> tuple[Path, ...]:
        """All defective pictures, kind after kind."""
        return tuple(path for kind in self.defects.values() for path in kind)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the data set, masks included."""
        return (*self.train_good, *self.test_good, *self.defective, *self.masks.values())


def open_dataset(root: Path) -> Dataset:
    """List the data set in `root`; no picture is read yet.

    Raises:
        InputError: If the folder, `train/good` or pictures in it are missing.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder that holds train/good")
    good = root / "train" / GOOD
    if not good.is_dir():
        raise InputError(f"{good} is missing; put the pictures of good parts there")
    train_good = list_pictures(good)
    if not train_good:
        raise InputError(f"{good} holds no pictures ({extensions_text()})")
    test = root / "test"
    kinds = sorted(path for path in test.iterdir() if path.is_dir()) if test.is_dir() else []
    defects = {path.name: tuple(list_pictures(path)) for path in kinds if path.name != GOOD}
    defects = {kind: paths for kind, paths in defects.items() if paths}
    masks = {
        path: mask
        for kind, paths in defects.items()
        for path in paths
        if (mask := root / "ground_truth" / kind / f"{path.stem}_mask.png").is_file()
    }
    return Dataset(
        root=root,
        train_good=tuple(train_good),
        test_good=tuple(list_pictures(test / GOOD)) if (test / GOOD).is_dir() else (),
        defects=defects,
        masks=masks,
    )


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 over names and contents of all files; it changes when any of them does."""
    total = hashlib.sha256()
    for path in sorted(dataset.files):
        total.update(path.relative_to(dataset.root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask file: True where the pixel is above 0, as anomalib reads it.

    Returns:
        The mask, bool `[H, W]`, of the file's own size.

    Raises:
        PictureError: If the file is not a picture.
    """
    return np.asarray(read_picture(path).max(axis=2) > 0)
