"""The anomaly maps of a test set as a histogram a picture: small enough to keep, fine enough for its figures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nut_runtime.atomic import write_bytes
from nut_runtime.errors import InputError
from nut_train.statistics import counts

__all__ = ["PIXELS", "PixelCounts"]

PIXELS = "pixels.npz"

_BINS = 1024
_SAMPLED = 2_000_000  # pixels that place the bins


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelCounts:
    """How many pixels of each picture have each value, marked and unmarked ones apart.

    A resample of pictures is a weighted sum of rows, so a thousand of them cost no more than a few products.

    Attributes:
        places: Which of the judged pictures each row is, shape (N,), int64.
        unmarked: Unmarked pixels by value, from the lowest up, shape (N, K), uint32.
        marked: Marked pixels, shape (N, K), uint32.
        shares: For each value, the sum over the picture's regions of the share of the region's pixels that have it,
            shape (N, K), float32.
        regions: Number of marked regions, 8-connected, shape (N,), int64.
    """

    places: NDArray[np.int64]
    unmarked: NDArray[np.uint32]
    marked: NDArray[np.uint32]
    shares: NDArray[np.float32]
    regions: NDArray[np.int64]

    @classmethod
    def of(
        cls, maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], places: Sequence[int]
    ) -> Self | None:
        """Count the pixels of maps whose marks are known; None where no pixel is marked, or all are.

        Args:
            maps: Raw anomaly maps, each `[h, w]`.
            masks: The truth at the same size; good pictures have empty ones.
            places: Which picture each is.
        """
        import cv2

        if not any(mask.any() for mask in masks) or all(mask.all() for mask in masks):
            return None
        edges = _edges(maps, masks)
        bins = edges.size + 1
        rows = []
        for values, mask in zip(maps, masks, strict=True):
            level = np.searchsorted(edges, values, side="right")
            number, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            shares = np.zeros(bins, np.float32)
            for region in range(1, number):
                inside = level[regions == region]
                shares += np.bincount(inside, minlength=bins) / np.float32(inside.size)
            sides = (np.bincount(level[side], minlength=bins) for side in (~mask, mask))
            rows.append((*sides, shares, number - 1))
        unmarked, marked, shared, regions_of = zip(*rows, strict=True)
        return cls(
            places=np.array(places, np.int64),
            unmarked=np.array(unmarked, np.uint32),
            marked=np.array(marked, np.uint32),
            shares=np.array(shared, np.float32),
            regions=np.array(regions_of, np.int64),
        )

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return `auroc` and `pro`, each `(B,)`, where each row counts as often as `weights` `(B, N)` says."""
        unmarked, marked = weights @ self.unmarked, weights @ self.marked
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without any marked pixel has no figure
            return {
                "auroc": counts.auroc(unmarked, marked),
                "pro": counts.overlap(unmarked, weights @ self.shares, weights @ self.regions.astype(float)),
            }

    def chosen(self, places: Sequence[int | None]) -> Self | None:
        """Return the rows of some judged pictures, renumbered by their order; None where no marked pixel is left.

        Args:
            places: Which; None keeps a number free for a picture whose map takes no part.
        """
        rows_of = {int(place): row for row, place in enumerate(self.places)}
        found = [(new, rows_of[place]) for new, place in enumerate(places) if place in rows_of]
        rows = [row for _, row in found]
        if not self.marked[rows].any() or not self.unmarked[rows].any():
            return None
        return type(self)(
            places=np.array([new for new, _ in found], np.int64),
            unmarked=self.unmarked[rows],
            marked=self.marked[rows],
            shares=self.shares[rows],
            regions=self.regions[rows],
        )

    def save(self, path: Path) -> None:
        """Write the counts as `.npz`, whole or not at all."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(self, name) for name in self.__slots__})
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            InputError: If the file is broken.
        """
        try:
            # From memory, since numpy leaves the file open where it is broken.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
                return cls(**{name: data[name] for name in cls.__slots__})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path} is not readable ({error}); evaluate again") from error


def _edges(maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """Return the values between bins: quantiles of the unmarked pixels and of the marked ones, half and half.

    Each bin so holds about 1/512 of either at most, which bounds the error of both figures.
    """
    shares = np.linspace(0, 1, _BINS // 2 + 1)[1:-1]
    edges = []
    for is_marked in (False, True):
        chosen = np.concatenate([values[mask == is_marked] for values, mask in zip(maps, masks, strict=True)])
        edges.append(np.quantile(chosen[:: max(1, chosen.size // _SAMPLED)], shares))
    return np.unique(np.concatenate(edges).astype(np.float32))
