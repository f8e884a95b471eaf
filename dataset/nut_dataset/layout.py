"""The folders of a data set, compatible with MVTec AD.

    DATASET/train/good/*                          pictures of good parts, for the bank and the calibration
    DATASET/test/good/*                           good parts that only measure
    DATASET/test/<kind>/*                         defective parts by kind, that only measure
    DATASET/ground_truth/<kind>/<stem>_mask.png   optional: 0 = good, above 0 = defect

Only `train/good` is needed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.pictures import extensions_text, list_pictures, read_picture

__all__ = ["GOOD", "Dataset", "files_fingerprint", "fingerprint", "list_dataset", "open_dataset", "read_mask"]

GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The files of a data set, by role. Paths are under `root`, sorted by name.

    Attributes:
        root: The data set's folder.
        train_good: Pictures of good parts for training and calibration; `open_dataset` gives at least one.
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
    dataset = list_dataset(root)
    good = dataset.root / "train" / GOOD
    if not good.is_dir():
        raise InputError(f"{good} is missing; put the pictures of good parts there")
    if not dataset.train_good:
        raise InputError(f"{good} holds no pictures ({extensions_text()})")
    return dataset


def list_dataset(root: Path) -> Dataset:
    """List what there is of a data set in `root`, even where `train/good` is missing or empty.

    Hidden folders, such as `test/.ipynb_checkpoints`, are no kinds of defect.

    Raises:
        InputError: If `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder that holds train/good")
    test = root / "test"
    folders = sorted(path for path in test.iterdir() if path.is_dir()) if test.is_dir() else []
    pictures = {path.name: tuple(list_pictures(path)) for path in folders if not path.name.startswith(".")}
    defects = {kind: paths for kind, paths in pictures.items() if paths and kind != GOOD}
    masks = {
        path: mask
        for kind, paths in defects.items()
        for path in paths
        if (mask := root / "ground_truth" / kind / f"{path.stem}_mask.png").is_file()
    }
    good = root / "train" / GOOD
    return Dataset(
        root=root,
        train_good=tuple(list_pictures(good)) if good.is_dir() else (),
        test_good=pictures.get(GOOD, ()),
        defects=defects,
        masks=masks,
    )


def fingerprint(dataset: Dataset, *, digests: Mapping[Path, str] | None = None) -> str:
    """Return a SHA-256 over names and contents of all files; it changes when any of them does.

    Args:
        dataset: The data set.
        digests: SHA-256 of files that were read already, as hexadecimal digits; the others are read.

    Raises:
        InputError: If a file cannot be read.
    """
    return files_fingerprint(dataset.root, dataset.files, digests=digests)


def files_fingerprint(root: Path, files: Iterable[Path], *, digests: Mapping[Path, str] | None = None) -> str:
    """Return a SHA-256 over names (relative to `root`) and contents of `files`, whatever their order.

    Args:
        root: What the names are relative to.
        files: Below `root`.
        digests: SHA-256 of files that were read already, as hexadecimal digits; the others are read.

    Raises:
        InputError: If a file cannot be read.
    """
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.relative_to(root).as_posix().encode(errors="surrogateescape") + b"\0")
        total.update(bytes.fromhex((digests or {}).get(path) or _digest(path)))
    return total.hexdigest()


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask file: True where the pixel is above 0, as anomalib reads it.

    Returns:
        The mask, bool `[H, W]`, of the file's own size.

    Raises:
        PictureError: If the file is not a picture.
    """
    return np.asarray(read_picture(path).max(axis=2) > 0)
