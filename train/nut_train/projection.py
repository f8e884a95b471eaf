"""anomalib's random projection of patch features, block by block and from a seed of its own."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nut_runtime.errors import OutputError
from nut_train.free_memory import free_memory_bytes

__all__ = ["project"]

_EPSILON = 0.9  # anomalib's own in its coreset
_SHARE_OF_MEMORY = 0.5
_PROJECTED = "projected.float32"


def project(blocks: Iterable[Tensor], *, rows: int, width: int, seed: int, folder: Path) -> tuple[Tensor, int]:
    """Project features as anomalib does before it selects its coreset, and draw where the selection starts.

    The projection (Li et al., "Very sparse random projections", KDD 2006) brings any width to about 4 ln(N) / 0.16
    numbers, 304 for 225,000 rows; distances keep their order of size. Neither the ratio nor the number of threads takes
    part, and the program's other random numbers are left as they were.

    Args:
        blocks: The features in order, float32 `[n, D]` each.
        rows: Their number N.
        width: Their width D.
        seed: Fixes the projection and the start.
        folder: Where the result is mapped to a file, if it takes more than half of the free memory.

    Returns:
        float32 `[N, C]`, and the first pick, 0 to N - 1.

    Raises:
        OutputError: If that file cannot be written.
    """
    from anomalib.models.components import SparseRandomProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # An instance, since a plain number would put the non-zeros of every component at the same places.
        projection = SparseRandomProjection(eps=_EPSILON, random_state=np.random.RandomState(seed))
        projection.fit(torch.empty(1).expand(rows, width))
        start = int(torch.randint(rows, (1,)))
    target = _room(rows, int(projection.n_components), folder)
    done = 0
    for block in blocks:
        target[done : done + len(block)] = projection.transform(block)
        done += len(block)
    return target, start


def _room(rows: int, width: int, folder: Path) -> Tensor:
    """Return an array in memory, or in a file where memory is short."""
    free = free_memory_bytes()
    if free is None or rows * width * 4 <= _SHARE_OF_MEMORY * free:
        return torch.empty(rows, width)
    place = folder / _PROJECTED
    try:
        with place.open("wb") as file:
            # Really taken, not promised: a mapped file that runs out of disk would kill the process.
            for first in range(0, rows, 4096):
                file.write(bytes(4 * width * min(4096, rows - first)))
        return torch.from_numpy(np.memmap(place, np.float32, "r+", shape=(rows, width)))
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from error
