"""Scores of good pictures against banks of any others, for `nut_benchmarks.coverage`: features are extracted once."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nut_dataset.progress import Progress, no_progress
from nut_export.anomaly_map import spread_matrix
from nut_export.fast import pixels_of
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.coreset import select_coreset
from nut_train.projection import project

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["CoresetBanks", "FullBanks", "Scorer", "Scores", "embeddings_of"]

_LARGEST_BYTES = 6 << 30
_PAIRS_AT_A_TIME = 8

Scores = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Raw score of each picture, shape (N,), and the peak of its raw map, shape (N,)."""


class Scorer(Protocol):
    """Judges some pictures with a bank of others."""

    def scores(self, bank: NDArray[np.intp], judged: NDArray[np.intp]) -> Scores:
        """Return scores and peaks of the pictures with the numbers `judged`; none of them is in `bank`."""
        ...


def embeddings_of(
    model: "Patchcore", paths: Sequence[Path], progress: Progress = no_progress
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Return the patch features of pictures, as anomalib makes them, and how the patches lie.

    Args:
        model: With the backbone's weights; its bank is not used.
        paths: The pictures, each resized by itself.
        progress: Told of each picture.

    Returns:
        Float32 (N, P, D), and rows and columns of the patches.
    """
    network = model.model
    found: list[torch.Tensor] = []
    shape: tuple[int, int] = (0, 0)
    for done, path in enumerate(paths, start=1):
        with torch.no_grad():
            features = network.feature_extractor(torch.from_numpy(pixels_of(model, read_picture(path))))
            pooled = {layer: network.feature_pooler(feature) for layer, feature in features.items()}
            embedding = network.generate_embedding(pooled)
        shape = int(embedding.shape[2]), int(embedding.shape[3])
        found.append(network.reshape_embedding(embedding))
        progress("extracting features", done, len(paths))
    return torch.stack(found), shape


class _Maps:
    """The peak of the anomaly map that patch distances make: enlarged and blurred as anomalib does."""

    def __init__(self, grid: tuple[int, int], size: tuple[int, int]) -> None:
        self.grid = grid
        self.down, self.across = spread_matrix(grid[0], size[0]), spread_matrix(grid[1], size[1]).T

    def peak(self, distances: NDArray[np.float32]) -> float:
        """Return it for the distances (P,) of one picture's patches."""
        return float((self.down @ distances.reshape(self.grid) @ self.across).max())


class FullBanks:
    """Banks of every patch of their pictures, and scores that no neighbours weigh.

    The distance from a patch to such a bank is the smallest of those to its pictures. These are worked out once, so a
    bank of any pictures costs nothing more; the scores are exact.

    Args:
        embeddings: Float32 (N, P, D).
        grid: Rows and columns of the patches.
        size: Height and width of the map in pixels.
        progress: Told of each picture.

    Raises:
        InputError: If the distances would not fit into memory.
    """

    def __init__(
        self, embeddings: torch.Tensor, grid: tuple[int, int], size: tuple[int, int], progress: Progress = no_progress
    ) -> None:
        count, patches, _ = embeddings.shape
        if (need := 4 * count * count * patches) > _LARGEST_BYTES:
            raise InputError(
                f"the distances of {count} pictures with {patches} patches take {need / 2**30:.1f} GB; give a smaller "
                "--image-size or fewer pictures"
            )
        self._maps = _Maps(grid, size)
        self.nearest = np.full((count, count, patches), np.inf, np.float32)  # patch of i, to its nearest in j
        centred = embeddings - embeddings.mean(dim=(0, 1))  # distances stay, and less of them cancels out
        squares = (centred**2).sum(dim=2)  # (N, P)
        for one in range(count):
            for start in range(one + 1, count, _PAIRS_AT_A_TIME):
                others = slice(start, min(start + _PAIRS_AT_A_TIME, count))
                products = centred[one] @ centred[others].flatten(0, 1).T  # (P, J * P)
                squared = products.mul_(-2).add_(squares[one, :, None]).add_(squares[others].flatten()[None])
                squared = squared.view(patches, -1, patches)
                self.nearest[one, others] = squared.amin(dim=2).clamp_(min=0).sqrt_().T.numpy()
                self.nearest[others, one] = squared.amin(dim=0).clamp_(min=0).sqrt_().numpy()
            progress("measuring distances", one + 1, count)

    def scores(self, bank: NDArray[np.intp], judged: NDArray[np.intp]) -> Scores:
        """Return scores and peaks, as `Scorer` says."""
        raw, peaks = [], []
        for picture in judged:
            distances = self.nearest[picture, bank].min(axis=0)  # (P,)
            raw.append(float(distances.max()))
            peaks.append(self._maps.peak(distances))
        return np.array(raw), np.array(peaks)


class CoresetBanks:
    """Banks that are thinned, and scores that neighbours weigh: what `nut train` does, by anomalib's own code.

    Args:
        model: Its bank is replaced for each set of pictures.
        embeddings: Float32 (N, P, D).
        ratio: Share of the patches kept.
        grid: Rows and columns of the patches.
        size: Height and width of the map in pixels.
    """

    def __init__(
        self,
        model: "Patchcore",
        embeddings: torch.Tensor,
        ratio: float,
        grid: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        self._network, self._embeddings, self._ratio = model.model, embeddings, ratio
        self._maps = _Maps(grid, size)
        self._thinned: tuple[bytes, torch.Tensor] = (b"", torch.empty(0))

    def scores(self, bank: NDArray[np.intp], judged: NDArray[np.intp]) -> Scores:
        """Return scores and peaks, as `Scorer` says."""
        return self.with_bank(self._bank(bank), judged)

    def with_bank(self, bank: torch.Tensor, judged: NDArray[np.intp]) -> Scores:
        """Return scores and peaks of pictures with a bank that is given, float32 (M, D)."""
        network = self._network
        network.memory_bank = bank
        raw, peaks = [], []
        with torch.no_grad():
            for picture in judged:
                embedding = self._embeddings[int(picture)]
                distances, places = network.nearest_neighbors(embedding=embedding, n_neighbors=1)
                distances, places = distances.reshape(1, -1), places.reshape(1, -1)
                raw.append(float(network.compute_anomaly_score(distances, places, embedding)))
                peaks.append(self._maps.peak(distances[0].numpy()))
        return np.array(raw), np.array(peaks)

    def _bank(self, bank: NDArray[np.intp]) -> torch.Tensor:
        """Return the coreset of some pictures; the last one is kept, since a bank judges several times."""
        key = bank.tobytes()
        if self._thinned[0] != key:
            patches = self._embeddings[torch.from_numpy(bank)].flatten(0, 1)
            count = max(1, int(len(patches) * self._ratio))
            with tempfile.TemporaryDirectory(prefix="nut-coverage-") as folder:
                features, start = project(
                    [patches], rows=len(patches), width=patches.shape[1], seed=0, folder=Path(folder)
                )
                self._thinned = key, patches[torch.from_numpy(select_coreset(features, count, start=start).picks)]
        return self._thinned[1]
