"""Greedy k-centre selection: the picks of anomalib's `KCenterGreedy`, found with a fraction of the work.

Each pick is the row that lies farthest from all earlier ones (Gonzalez, "Clustering to minimize the maximum
intercluster distance", 1985). anomalib compares every row with every pick, one pick at a time, so that each pick reads
the whole matrix. Here

- a row is compared again only when it could be the next pick: its distance to the nearest pick can only shrink, so the
  old value is an upper bound (lazy greedy; Minoux, 1978);
- the rows with the largest bounds are put together, their distances to each other computed in one product, and picks
  made among them for as long as none of the others can be farther away;
- the missed picks are then compared with many rows in one matrix product, which the processor does at its full rate.

The products round differently than anomalib does. They only say, with a proven margin, which distances cannot matter;
those that might are computed as anomalib computes them. So the picks are the same to the last one, ties included,
whatever the number of threads and wherever the products are made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nut_dataset.progress import Progress, no_progress
from nut_runtime.errors import InputError

__all__ = ["Coreset", "extend_coreset", "select_coreset"]

_BLOCK_ROWS = 1024  # rows compared at a time, with as many picks: both and their product stay near the processor
_FEWEST_HOT, _MOST_HOT = 64, 2048
_REFRESHED = 4  # bounds brought up to date at first, for each row that is picked from
_UNIT = 2.0**-24  # half the distance from 1 to the next float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coreset:
    """The rows that were picked.

    Attributes:
        picks: Their places, int64 `[count]`, in the order in which they were picked. A shorter selection from the same
            start is the beginning of a longer one.
        radius: Largest distance of any row to its nearest pick: what the next pick would have had.
    """

    picks: NDArray[np.int64]
    radius: float


def select_coreset(
    features: Tensor, count: int, *, start: int, progress: Progress = no_progress, device: str = "cpu"
) -> Coreset:
    """Pick rows that cover all others as anomalib's `KCenterGreedy` does, the farthest one each time.

    It ends early where every row that is left equals a pick; anomalib would then pick row 0 again and again.

    Args:
        features: float32 `[N, D]`, on the CPU; may be mapped from a file.
        count: Rows to pick, 1 to N.
        start: The first one.
        progress: Told of the picks now and then.
        device: Where the products are made, such as `cuda`; the picks do not depend on it.

    Raises:
        InputError: If `count` or `start` is out of range or a value is not finite.

    Example:
        >>> select_coreset(torch.tensor([[0.0], [1.0], [9.0]]), 2, start=0).picks
        array([0, 2])
    """
    rows = len(features)
    if not 1 <= count <= rows:
        raise InputError(f"{count} rows to pick out of {rows}, expected 1 to {rows}")
    if not 0 <= start < rows:
        raise InputError(f"first pick {start}, expected 0 to {rows - 1}")
    with _full_precision(), torch.no_grad():
        search = _Search(features, features[:0], count, device)
        search.add(start)
        search.compare(np.arange(rows))
        return _pick(search, count, count, 0.0, progress)


def extend_coreset(
    features: Tensor,
    given: Tensor,
    *,
    least: int,
    most: int,
    radius: float,
    progress: Progress = no_progress,
    device: str = "cpu",
) -> Coreset:
    """Pick rows that cover all others together with rows that are given, the farthest one from all of them each time.

    The picks are those that the greedy selection over `given` and `features` would go on with after it had picked the
    given rows. It ends once there are `least` picks and no row is farther than `radius` from a given row or a pick, at
    `most` picks, or where every row that is left equals one of them.

    Args:
        features: float32 `[N, D]`, on the CPU; may be mapped from a file.
        given: float32 `[M, D]`, M >= 1, for instance a memory bank; none of them is picked.
        least: Rows to pick at least, 0 to `most`.
        most: Rows to pick at most, up to N.
        radius: At which distance a row counts as covered, at least 0.
        progress: Told of the picks now and then.
        device: Where the products are made; the picks do not depend on it.

    Returns:
        The places in `features` of the picks, maybe none, and the largest distance that is left.

    Raises:
        InputError: If a count is out of range, the widths differ or a value is not finite.

    Example:
        >>> far = torch.tensor([[0.1], [5.0], [9.0]])
        >>> extend_coreset(far, torch.tensor([[0.0]]), least=0, most=3, radius=1.0).picks
        array([2, 1])
    """
    rows = len(features)
    if not 0 <= least <= most <= rows:
        raise InputError(f"{least} to {most} rows to pick out of {rows}, expected 0 <= least <= most <= {rows}")
    if not len(given) or given.shape[1:] != features.shape[1:]:
        raise InputError(f"rows of shape {list(given.shape)} to start from, expected [M, {features.shape[1]}]")
    with _full_precision(), torch.no_grad():
        search = _Search(features, given, most, device)
        search.compare(np.arange(rows))
        return _pick(search, least, most, radius, progress)


def _pick(search: "_Search", least: int, most: int, radius: float, progress: Progress) -> Coreset:
    """Pick until the search has what is asked for."""
    hot = _FEWEST_HOT
    while len(search.picks) < most:
        before = len(search.picks)
        goes_on = search.burst(hot, least, most, radius)
        if not goes_on:
            break
        progress("selecting the coreset", len(search.picks), most)
        made = len(search.picks) - before
        hot = min(2 * hot, _MOST_HOT) if 8 * made > hot else max(hot // 2, _FEWEST_HOT) if 64 * made < hot else hot
    farthest, _ = search.farthest(1)
    return Coreset(picks=np.array(search.picks, np.int64), radius=float(search.distances[farthest[0]]))


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep products from being rounded to fewer bits, which would break the margin."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Search:
    """The picks so far, and what is known of each row's distance to them.

    Attributes:
        picks: In their order.
        distances: Of each row to the nearest of the first `compared` centres, float32 `[N]`, as anomalib computes it;
            an upper bound of the distance to all. The centres are the given rows, then the picks.
        compared: int64 `[N]`.
    """

    def __init__(self, features: Tensor, given: Tensor, count: int, device: str) -> None:
        rows, width = features.shape
        self.features, self.given, self.device = features, given, device
        self.picks: list[int] = []
        self.distances = np.full(rows, np.inf, np.float32)
        self.compared = np.zeros(rows, np.int64)
        # About the mean the numbers are small, and so is the margin; any other point would do.
        self.mean = sum(block.sum(dim=0, dtype=torch.float64) for block in features.split(_BLOCK_ROWS)) / rows
        self.mean = self.mean.float()
        if not bool(torch.isfinite(self.mean).all()) or not bool(torch.isfinite(given).all()):
            raise InputError("the features are not finite numbers; a picture or the backbone's weights are broken")
        self.norms = torch.cat([(block - self.mean).square().sum(dim=1) for block in features.split(_BLOCK_ROWS)])
        # A product of width D is off by less than (D + 3) units of |x||c|, each norm by as much of itself, and the
        # square of anomalib's distance by (D + 6) units of itself. Since 2|x||c| <= |x|^2 + |c|^2, all of it together
        # is less than this share of |x|^2 + |c|^2.
        self.margin = 4 * (width + 8) * _UNIT
        self.centres = torch.empty(len(given) + count, width, device=device)  # less the mean
        self.centre_norms = torch.empty(len(given) + count, device=device)
        self.centres[: len(given)] = given - self.mean
        self.centre_norms[: len(given)] = (given - self.mean).square().sum(dim=1)

    @property
    def done(self) -> int:
        """How many centres there are."""
        return len(self.given) + len(self.picks)

    def add(self, row: int) -> None:
        """Make a row a pick."""
        place = self.done
        self.centres[place] = self.features[row] - self.mean
        self.centre_norms[place] = self.norms[row]
        self.picks.append(row)

    def compare(self, rows: NDArray[np.int64]) -> None:
        """Bring the distances of some rows up to date with all centres."""
        rows = rows[np.argsort(self.compared[rows], kind="stable")]  # those that lack the same centres together
        done = self.done
        for begin in range(0, len(rows), _BLOCK_ROWS):
            block = rows[begin : begin + _BLOCK_ROWS]
            own = self.features[torch.from_numpy(block)]  # (B, D)
            centred = (own - self.mean).to(self.device)
            norms = self.norms[torch.from_numpy(block)].to(self.device)
            nearest = torch.from_numpy(self.distances[block])
            for first in range(int(self.compared[block[0]]), done, _BLOCK_ROWS):
                self._compare_block(own, centred, norms, nearest, slice(first, min(first + _BLOCK_ROWS, done)))
            self.distances[block] = nearest.numpy()
            self.compared[block] = done

    def _compare_block(self, own: Tensor, centred: Tensor, norms: Tensor, nearest: Tensor, picks: slice) -> None:
        """Lower the distances `nearest` of a block of rows to those to some centres, where these are less."""
        centre_norms = self.centre_norms[picks]
        # Squared distance less the row's own part, at least so much below anomalib's as the margin says.
        lower = torch.addmm((1 - self.margin) * centre_norms, centred, self.centres[picks].T, alpha=-2)  # (B, C)
        least = lower.min(dim=1).values
        limit = _squared(nearest).to(self.device) - (1 - self.margin) * norms
        hit = torch.nonzero(least <= limit)[:, 0]
        if not len(hit):
            return
        band = 2 * self.margin * (norms[hit] + centre_norms.max())
        near = lower[hit] <= torch.minimum(least[hit] + band, limit[hit])[:, None]
        pairs = torch.nonzero(near).cpu()
        row = hit.cpu()[pairs[:, 0]]
        exact = torch.linalg.norm(own[row] - self._centres(picks, pairs[:, 1]), ord=2, dim=1)
        nearest.scatter_reduce_(0, row, exact, "amin")

    def _centres(self, block: slice, places: Tensor) -> Tensor:
        """Return the rows themselves of some places in a block of the centres, `[K, D]`."""
        given = self.given[block]
        own = torch.tensor(self.picks[max(block.start - len(self.given), 0) : max(block.stop - len(self.given), 0)])
        if not len(given):
            return self.features[own[places]]
        found = torch.empty(len(places), self.features.shape[1])
        is_given = places < len(given)
        found[is_given] = given[places[is_given]]
        found[~is_given] = self.features[own.long()[places[~is_given] - len(given)]]
        return found

    def farthest(self, size: int) -> tuple[NDArray[np.int64], tuple[float, int]]:
        """Return the rows that lie farthest from all picks, brought up to date.

        Returns:
            At most `size` rows in ascending order; and of the one behind them, the upper bound of its distance and its
            place (-1 and 0 where there is none).
        """
        refreshed = _REFRESHED * size
        while True:
            rows, behind = _largest(self.distances, size)
            if (self.compared[rows] == self.done).all():
                return rows, behind
            more, _ = _largest(self.distances, refreshed)
            self.compare(more[self.compared[more] < self.done])
            refreshed *= 2

    def burst(self, size: int, least: int, most: int, radius: float) -> bool:
        """Pick among the farthest rows until there are `most` picks or another row may be farther.

        Returns:
            False where it is done: there are `least` picks and no row is farther than `radius`, or every row that is
            left equals a centre.
        """
        rows, (bound, place) = self.farthest(size)
        own = self.features[torch.from_numpy(rows)]  # (K, D)
        norms = self.norms[torch.from_numpy(rows)]
        centred = own - self.mean
        lower = torch.addmm(
            (1 - self.margin) * (norms + norms[:, None]), centred, centred.T, alpha=-2
        ).numpy()  # (K, K)
        distances = self.distances[rows]
        limits = _squared(torch.from_numpy(distances)).numpy()
        is_done = False
        while len(self.picks) < most:
            best = int(distances.argmax())
            value = distances[best]
            if value < bound or (value == bound and rows[best] > place):
                break
            is_done = value == 0 or bool(len(self.picks) >= least and value <= radius)
            if is_done:
                break
            self.add(int(rows[best]))
            near = np.flatnonzero(lower[best] <= limits)
            exact = torch.linalg.norm(own[torch.from_numpy(near)] - own[best], ord=2, dim=1).numpy()
            distances[near] = np.minimum(distances[near], exact)
            distances[best] = 0
            limits[near] = _squared(torch.from_numpy(distances[near])).numpy()
        self.distances[rows] = distances
        self.compared[rows] = self.done
        return not is_done


def _squared(distances: Tensor) -> Tensor:
    """Return the squares, a little larger than rounding could make them smaller."""
    return distances.square() * (1 + 32 * _UNIT)


def _largest(values: NDArray[np.float32], size: int) -> tuple[NDArray[np.int64], tuple[float, int]]:
    """Return the places of the largest values, the first ones of equal ones, and the value and place that come next."""
    if size >= len(values):
        return np.arange(len(values)), (-1.0, 0)
    order = np.partition(values, [len(values) - size - 1, len(values) - size])
    last, following = order[len(values) - size], order[len(values) - size - 1]
    above = np.flatnonzero(values > last)
    equal = np.flatnonzero(values == last)
    rows = np.sort(np.concatenate([above, equal[: size - len(above)]]))
    rest = equal[size - len(above) :]
    return rows, (float(last), int(rest[0])) if len(rest) else (float(following), int(np.argmax(values == following)))
