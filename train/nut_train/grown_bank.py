"""A memory bank with rows of new pictures behind its own, which stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nut_dataset.progress import Progress
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.bank_origin import BankOrigin
from nut_train.bank_size import check_bank_fits
from nut_train.coreset import extend_coreset
from nut_train.embedding import embed, patch_grid
from nut_train.feature_store import FeatureStore
from nut_train.predict import accelerator

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["GrownBank", "NewPatches", "extract", "grow", "most_rows"]

_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewPatches:
    """The patches of the new pictures.

    Attributes:
        features: float32 `[N, D]`, picture after picture, row by row; mapped from a file.
        names: Of the pictures.
        grid: Rows and columns of patches a picture.
    """

    features: Tensor
    names: tuple[str, ...]
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrownBank:
    """A bank that has grown.

    Attributes:
        rows: float32 `[M + added, D]`; the first M are the base's.
        origin: Of the added rows.
        radius: Largest distance of a patch of the new pictures to its nearest row.
    """

    rows: Tensor
    origin: BankOrigin
    radius: float


def extract(
    model: "Patchcore",
    paths: Sequence[Path],
    names: Sequence[str],
    *,
    image_size: tuple[int, int],
    folder: Path,
    progress: Progress,
) -> NewPatches:
    """Return the patches of pictures as the model sees them when it judges.

    So a patch that goes into the bank lies at distance 0 from itself.

    Args:
        model: The trained model.
        paths: The pictures.
        names: What to call them.
        image_size: Height and width of the model's input.
        folder: Where the features are kept; it must outlive them.
        progress: Told of each picture.

    Raises:
        InputError: If a picture's features are not finite numbers.
    """
    grid = patch_grid(model, image_size)
    width = int(model.model.memory_bank.shape[1])
    with FeatureStore(folder, key="", pictures=paths, patches=grid[0] * grid[1], width=width) as store:
        for done, path in enumerate(paths, start=1):
            found = embed(model, read_picture(path))  # (rows, columns, D)
            if tuple(found.shape) != (*grid, width):
                raise InputError(
                    f"{path}: features of shape {list(found.shape)}, expected {[*grid, width]}; train again"
                )
            store.append(found.reshape(-1, width))
            progress("extracting features", done, len(paths))
        store.save()
        return NewPatches(features=torch.from_numpy(store.features()).float(), names=tuple(names), grid=grid)


def most_rows(*, base: int, width: int, patches: int, bank_size: int | None, bank_mb: float | None) -> int:
    """Return how many rows may be added.

    Args:
        base: Rows that the bank has.
        width: Numbers a row.
        patches: Patches of the new pictures.
        bank_size: Rows of the whole bank at most; None for no such limit.
        bank_mb: Megabytes of the whole bank at most; None for no such limit.

    Raises:
        InputError: If there is no room for a row.
    """
    limit = None
    if bank_size is not None:
        limit, asked = bank_size, f"--bank-size {bank_size}"
    elif bank_mb is not None:
        limit, asked = int(bank_mb * 1e6 / (width * _VALUE_BYTES)), f"--bank-mb {bank_mb:g}"
    if limit is None:
        return patches
    if limit <= base:
        raise InputError(f"{asked} leaves no room: the bank has {base} rows already; raise it, or leave it out")
    return min(patches, limit - base)


def grow(
    bank: Tensor, new: NewPatches, *, least: int, most: int, radius: float, device: str, progress: Progress
) -> GrownBank:
    """Add patches of the new pictures to a bank until it covers them.

    Args:
        bank: The base's rows, float32 `[M, D]`.
        new: The new pictures' patches.
        least: Rows to add at least.
        most: Rows to add at most.
        radius: The distance within which each patch is to have a row.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of the picks.

    Raises:
        InputError: If a value is not finite, or memory cannot hold the bank.
    """
    bank = bank.detach().cpu()
    place = "cuda" if accelerator(device) == "gpu" else "cpu"
    picked = extend_coreset(new.features, bank, least=least, most=most, radius=radius, progress=progress, device=place)
    check_bank_fits(len(bank) + len(picked.picks), bank.shape[1])
    added = new.features[torch.from_numpy(picked.picks)]
    return GrownBank(
        rows=torch.cat([bank, added]),
        origin=BankOrigin.of_picks(picked.picks, new.names, new.grid),
        radius=picked.radius,
    )
