"""Confidence intervals: the stratified percentile bootstrap, and exact ones where the bootstrap says nothing."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEW",
    "LEVEL",
    "RESAMPLES",
    "Counted",
    "Interval",
    "Statistic",
    "bootstrap",
    "exact_rate",
    "mcnemar",
    "perfect_ranking",
]

LEVEL = 0.95
RESAMPLES = 2000
FEW = 20
"""With fewer pictures of a class the percentile interval is noticeably too narrow."""
_AT_ONCE = 200  # bounds the memory to that many rows of counts

Counted = NDArray[np.float64]
Statistic = Callable[[Counted], Mapping[str, NDArray[np.float64]]]
"""From counts `(B, N)`, how often each picture is in each resample, to figures by name, each `(B,)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a figure lies with 95% confidence.

    Attributes:
        low: Lower end.
        high: Upper end.
        method: `bootstrap` or `exact`.
    """

    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def bootstrap(
    statistic: Statistic, strata: NDArray[np.integer], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the percentile interval of each figure over stratified resamples.

    Each stratum keeps its size, since how many good and defective pictures a test set has was somebody's choice, not
    chance: they are drawn with replacement within it (Davison and Hinkley 1997, "Bootstrap methods and their
    application", section 3.2). The interval runs between the 2.5% and the 97.5% point of the resampled figures (Efron
    and Tibshirani 1993, "An introduction to the bootstrap", section 13.3).

    Args:
        statistic: The figures of a resample.
        strata: The stratum of each picture, shape (N,), N >= 1.
        seed: Of the resampling; the same seed gives the same interval.
        resamples: How many.

    Returns:
        An interval for each figure that is a number in every resample and not the same in all: one without any width
        would claim a certainty that few pictures cannot give.

    Example:
        >>> values = np.arange(100.0)
        >>> found = bootstrap(lambda counts: {"mean": counts @ values / 100}, np.zeros(100, int))
        >>> 42 < found["mean"].low < 49.5 < found["mean"].high < 57
        True
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, resamples, _AT_ONCE):
        counts = np.zeros((min(_AT_ONCE, resamples - start), strata.size))
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            counts[:, members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size), len(counts))
        for name, values in statistic(counts).items():
            drawn.setdefault(name, []).append(values)
    tail = (1 - LEVEL) / 2
    intervals = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        if np.isfinite(values).all():
            low, high = np.quantile(values, [tail, 1 - tail])
            if high > low:
                intervals[name] = Interval(low=float(low), high=float(high), method="bootstrap")
    return intervals


def exact_rate(hits: int, total: int) -> Interval | None:
    """Return the exact interval of a rate at a threshold that these pictures did not choose.

    The bootstrap would claim certainty where all or none are hits; this one does not (Clopper and Pearson 1934, "The
    use of confidence or fiducial limits illustrated in the case of the binomial").

    Args:
        hits: How many.
        total: Of how many; None is returned for 0.

    Example:
        >>> found = exact_rate(30, 30)
        >>> round(found.low, 3), found.high
        (0.884, 1.0)
    """
    from scipy.stats import binomtest

    if total == 0:
        return None
    found = binomtest(hits, total).proportion_ci(confidence_level=LEVEL, method="exact")
    return Interval(low=float(found.low), high=float(found.high), method="exact")


def perfect_ranking(good: int, defective: int) -> Interval | None:
    """Return the interval of an AUROC where every defective picture scores above every good one.

    Every resample is perfect then, so the bootstrap says nothing. min(good, defective) pairs of pictures have none in
    common, and each is ranked right with a probability that is the AUROC; that all were is Clopper and Pearson's case
    of no miss. It is wide, on purpose.

    Args:
        good: Number of good pictures.
        defective: Number of defective ones.

    Example:
        >>> round(perfect_ranking(25, 100).low, 3)
        0.863
    """
    pairs = min(good, defective)
    return exact_rate(pairs, pairs)


def mcnemar(mended: int, spoilt: int) -> float:
    """Return how likely chance alone changes verdicts as unevenly as that, or more so: the exact McNemar test's p.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", with the binomial
    distribution in place of his approximation.

    Args:
        mended: Verdicts that became right.
        spoilt: Verdicts that became wrong.

    Example:
        >>> mcnemar(3, 0), round(mcnemar(6, 0), 4), mcnemar(0, 0)
        (0.25, 0.0312, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(mended, mended + spoilt).pvalue) if mended + spoilt else 1.0
