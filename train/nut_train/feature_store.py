"""Patch features of the bank's pictures, written to a file as they come and read back in blocks.

Memory holds one batch of them. The file is `features.npy` in the work folder; `work.json` beside it says how many
pictures are done and for what (`key`), so that a training that was interrupted goes on where it stopped. Nothing in it
is unpickled.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nut_runtime.atomic import write_json
from nut_runtime.errors import InputError, OutputError
from nut_train.free_memory import size_text
from nut_train.work_folder import WORK

__all__ = ["FeatureStore"]

_FEATURES = "features.npy"
_SCHEMA = 1
_SAVE_EVERY_S = 5.0  # what a power cut costs at most
_SHARE_OF_DISK = 0.9  # of what is free; the checkpoint and the report need some too
_BLOCK_ROWS = 4096


class FeatureStore:
    """Rows of patch features on disk, in the order of the pictures; a context manager, which closes the file.

    It stands in for the list in which anomalib's `PatchcoreModel` collects its embeddings (`append`).

    Attributes:
        pictures: The pictures, in order.
        patches: Rows a picture.
        width: Numbers a row.
        done: Pictures whose rows are written.
        resumed: How many of them an earlier, interrupted training had written.
        dtype: float32, or float16 where float32 would not fit on the disk.
    """

    def __init__(self, folder: Path, *, key: str, pictures: Sequence[Path], patches: int, width: int) -> None:
        """Take over what an earlier training left in the folder for the same key, or begin anew.

        Args:
            folder: The work folder.
            key: Changes with everything that the features depend on.
            pictures: The pictures, in the order in which they will come.
            patches: Rows a picture.
            width: Numbers a row.

        Raises:
            InputError: If neither float32 nor float16 fits on the disk.
            OutputError: If the folder cannot be written.
        """
        self.pictures, self.patches, self.width = list(pictures), patches, width
        self._path, self._record, self._key = folder / _FEATURES, folder / WORK, key
        self.dtype, self.done = self._earlier() or (self._affordable(), 0)
        self.resumed = self.done
        self._saved_at = time.monotonic()
        try:
            self._file = self._path.open("r+b" if self.resumed else "w+b")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            if not self.resumed:
                self._record.unlink(missing_ok=True)  # it spoke of the features that are gone now
            np.lib.format.write_array_header_1_0(self._file, self._header)
            self._begin = self._file.tell()
            self._file.seek(self._begin + self.done * self._picture_bytes)
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from error

    @property
    def rows(self) -> int:
        """Rows of all pictures."""
        return len(self.pictures) * self.patches

    @property
    def _header(self) -> dict[str, Any]:
        shape = (self.rows, self.width)
        return {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}

    @property
    def _picture_bytes(self) -> int:
        return self.patches * self.width * self.dtype.itemsize

    def _earlier(self) -> tuple[np.dtype[Any], int] | None:
        """Return what is there of an interrupted training; None where it is of another one or not whole."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            if record["schema"] != _SCHEMA or record["key"] != self._key:
                return None
            dtype, done = np.dtype({"float32": np.float32, "float16": np.float16}[record["dtype"]]), int(record["done"])
            with self._path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, fortran_order, found = np.lib.format.read_array_header_1_0(file)
                needed = file.tell() + done * self.patches * self.width * dtype.itemsize
            is_whole = self._path.stat().st_size >= needed and 0 < done <= len(self.pictures)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (
            (dtype, done)
            if is_whole
            and (shape, fortran_order, found)
            == (
                (self.rows, self.width),
                False,
                dtype,
            )
            else None
        )

    def _affordable(self) -> np.dtype[Any]:
        """Return float32, or float16 where the disk has no room for that."""
        old = self._path.stat().st_size if self._path.is_file() else 0  # will be overwritten
        free = shutil.disk_usage(self._path.parent).free + old
        for dtype in (np.dtype(np.float32), np.dtype(np.float16)):
            if self.rows * self.width * dtype.itemsize <= _SHARE_OF_DISK * free:
                return dtype
        needed = self.rows * self.width * np.dtype(np.float16).itemsize
        raise InputError(
            f"the features of {len(self.pictures)} pictures take {size_text(needed)} in half precision and "
            f"{self._path.parent} has {size_text(free)} free; write RUN to a larger disk or take fewer pictures"
        )

    def append(self, embedding: Tensor) -> None:
        """Write the features of the next pictures.

        Args:
            embedding: `[B * patches, D]`, of one or more whole pictures.

        Raises:
            InputError: If a picture's features are not finite numbers; it is named.
            OutputError: If the disk is full.
        """
        block = embedding.detach().to("cpu", torch.float32).numpy().astype(self.dtype)
        pictures = len(block) // self.patches
        finite = np.isfinite(block.reshape(pictures, -1)).all(axis=1)
        if not finite.all():
            culprit = self.pictures[self.done + int(np.argmin(finite))]
            raise InputError(
                f"{culprit}: its features are not finite numbers; the backbone's weights are broken or do not fit it"
            )
        try:
            self._file.write(block.tobytes())
        except OSError as error:
            raise self._unwritable(error) from error
        self.done += pictures
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Make what was written so far outlive this process."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        if self.done:
            record = {"schema": _SCHEMA, "key": self._key, "dtype": str(self.dtype), "done": self.done}
            write_json(self._record, record)
        self._saved_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def features(self) -> NDArray[Any]:
        """Return all rows, `[N, D]`, mapped from the file, which no change reaches; every picture must be done."""
        return np.load(self._path, mmap_mode="c", allow_pickle=False)  # torch takes no array that cannot be written

    def blocks(self) -> Iterator[Tensor]:
        """Give all rows in order, float32, some thousand at a time."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            for first in range(0, self.rows, _BLOCK_ROWS):
                count = min(_BLOCK_ROWS, self.rows - first)
                block = np.fromfile(file, self.dtype, count * self.width).reshape(count, self.width)
                yield torch.from_numpy(block.astype(np.float32))

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror or error}")
