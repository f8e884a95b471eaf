"""Where each row of the memory bank came from: the picture, and the place in it."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nut_runtime.atomic import write_bytes
from nut_runtime.errors import InputError

__all__ = ["ORIGIN", "BankOrigin", "bank_digest", "read_origin", "write_origin"]

ORIGIN = "bank_origin.npz"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BankOrigin:
    """The origin of the rows of a memory bank.

    Attributes:
        pictures: Names of the pictures, relative to the data set's folder; those that a run was grown with as
            `nut_train.extension_record` says.
        grid: Rows and columns of patches a picture.
        picture: Which picture each bank row is of, int64 `[M]`, a place in `pictures`.
        row: Its patch's row in the grid, int64 `[M]`; 0 is the top.
        column: Its patch's column, int64 `[M]`; 0 is the left.
    """

    pictures: tuple[str, ...]
    grid: tuple[int, int]
    picture: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of bank rows."""
        return len(self.picture)

    @classmethod
    def of_picks(cls, picks: NDArray[np.int64], pictures: tuple[str, ...], grid: tuple[int, int]) -> Self:
        """Return the origin of picked patches.

        Args:
            picks: Places among all patches, picture after picture, row by row.
            pictures: Names of the pictures in that order.
            grid: Rows and columns of patches a picture.
        """
        rows, columns = grid
        picture, place = np.divmod(picks, rows * columns)
        row, column = np.divmod(place, columns)
        return cls(pictures=pictures, grid=grid, picture=picture, row=row, column=column)

    def and_then(self, other: Self) -> Self:
        """Return the origin of a bank that has the rows of another one behind its own.

        Raises:
            InputError: If the two have other grids of patches.
        """
        if self.grid != other.grid:
            raise InputError(f"a bank of {self.grid} patches a picture, and rows of {other.grid} to add; train again")
        return type(self)(
            pictures=(*self.pictures, *other.pictures),
            grid=self.grid,
            picture=np.concatenate([self.picture, other.picture + len(self.pictures)]),
            row=np.concatenate([self.row, other.row]),
            column=np.concatenate([self.column, other.column]),
        )

    def first(self, rows: int) -> Self:
        """Return the origin of the first rows: a smaller coreset is the beginning of a larger one."""
        return type(self)(
            pictures=self.pictures,
            grid=self.grid,
            picture=self.picture[:rows],
            row=self.row[:rows],
            column=self.column[:rows],
        )


def bank_digest(bank: Tensor) -> str:
    """Return the SHA-256 of a memory bank's numbers."""
    return hashlib.sha256(np.ascontiguousarray(bank.detach().cpu().numpy()).data).hexdigest()


def write_origin(folder: Path, origin: BankOrigin, bank: Tensor) -> None:
    """Write the origin of a bank's rows into a run folder.

    Args:
        folder: The run folder.
        origin: As many rows as the bank has.
        bank: float32 `[M, D]`; the file is bound to it by its SHA-256.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        schema=np.array(_SCHEMA),
        bank_sha256=np.array(bank_digest(bank)),
        pictures=np.array(origin.pictures, dtype=np.str_),
        grid=np.array(origin.grid, np.int64),
        picture=origin.picture.astype(np.int32),
        row=origin.row.astype(np.int32),
        column=origin.column.astype(np.int32),
    )
    write_bytes(folder / ORIGIN, buffer.getvalue())


def read_origin(folder: Path, bank: Tensor) -> BankOrigin:
    """Read the origin of a bank's rows, and check that it is of this very bank.

    Args:
        folder: The run folder.
        bank: The bank of the run's checkpoint.

    Raises:
        InputError: If the file is missing (the run was trained by an older version), broken or of another bank.
    """
    path = folder / ORIGIN
    if not path.is_file():
        raise InputError(f"{path} is missing, so nobody knows where the bank's rows came from; train again")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            found = {name: content[name] for name in content.files}
        schema = int(found["schema"])
        if schema > _SCHEMA:
            raise InputError(f"{path} has schema {schema}, this version reads up to {_SCHEMA}; update nut-toolchain")
        origin = BankOrigin(
            pictures=tuple(str(name) for name in found["pictures"]),
            grid=(int(found["grid"][0]), int(found["grid"][1])),
            picture=found["picture"].astype(np.int64),
            row=found["row"].astype(np.int64),
            column=found["column"].astype(np.int64),
        )
        digest = str(found["bank_sha256"])
    except (OSError, KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read ({error}); train again") from error
    lengths = {len(origin.picture), len(origin.row), len(origin.column)}
    if lengths != {len(bank)} or digest != bank_digest(bank):
        raise InputError(f"{path} is not of the bank in the run's checkpoint; train again")
    for values, limit in ((origin.picture, len(origin.pictures)), (origin.row, origin.grid[0])):
        _check_within(values, limit, path)
    _check_within(origin.column, origin.grid[1], path)
    return origin


def _check_within(values: NDArray[np.int64], limit: int, path: Path) -> None:
    if ((values < 0) | (values >= limit)).any():
        raise InputError(f"{path} names places that no picture has; train again")
