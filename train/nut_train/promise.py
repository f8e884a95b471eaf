"""What a threshold promises about good parts it has not seen, and with how many pictures it could promise more.

`alpha` is the share that the calibration speaks for: with `above` of n calibration scores above the threshold,
(above + 1) / (n + 1).

- Held out (split conformal, Lei et al. 2018): a fresh good part, drawn like the calibration pictures, is rejected with
  a probability of at most alpha, on average over calibration sets. For the one set at hand the rate is distributed as
  Beta(above + 1, n - above), or lies lower (Vovk 2012, "Conditional validity of inductive conformal predictors").
- Cross-fitted: the proof of CV+ (Barber et al. 2021, "Predictive inference with the jackknife+", theorem 4; Vovk 2015,
  "Cross-conformal predictors") gives 2 alpha + min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)). It is of a test
  against each of the K models. The final model's bank holds every fold's, so its distances are none larger and it
  rejects no more than that test, as long as distances are the same in all, no coreset thins the bank and no neighbours
  weigh the score. With the latter two the proof does not hold to the letter. With a whitening, which each fold finds
  anew, the distances are of different metrics and none need be smaller: nothing is proven. Nothing is said of the one
  set at hand.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CONFIDENCE", "Promise", "confident_rate", "crossfit_bound", "pictures_needed"]

CONFIDENCE = 0.95
"""How sure `Promise.confident_rate` is."""
_RATE_STEP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is known of a threshold's false rejects.

    Attributes:
        pictures: Calibration pictures, n.
        above: How many of them the threshold lets be rejected.
        mean_rate: (above + 1) / (n + 1).
        bound: Largest probability that is proven for a fresh good part, on average over calibrations; None where the
            threshold was not put by the good scores alone, or each fold compared patches in a metric of its own.
        confident_rate: Rate that is not exceeded with 95% confidence, for this very calibration; None where the
            pictures are cross-fitted.
    """

    pictures: int
    above: int
    mean_rate: float
    bound: float | None
    confident_rate: float | None

    def to_json(self) -> Mapping[str, Any]:
        """Return plain types."""
        return asdict(self)


def promise(*, pictures: int, above: int, folds: int, is_by_good: bool, is_whitened: bool = False) -> Promise:
    """Return what a threshold promises.

    Args:
        pictures: Calibration pictures.
        above: How many of their scores may lie above it.
        folds: Models that scored them; 1 for held-out pictures.
        is_by_good: Whether it was put by these scores alone.
        is_whitened: Whether patches are whitened, by each model in its own way.
    """
    mean_rate = (above + 1) / (pictures + 1)
    bound: float | None = mean_rate if folds == 1 else crossfit_bound(pictures, folds, mean_rate)
    return Promise(
        pictures=pictures,
        above=above,
        mean_rate=mean_rate,
        bound=bound if is_by_good and (folds == 1 or not is_whitened) else None,
        confident_rate=confident_rate(pictures, above) if folds == 1 else None,
    )


def crossfit_bound(pictures: int, folds: int, rate: float) -> float:
    """Return the largest rejection probability that CV+ proves at a rate; theorem 4 of Barber et al. 2021.

    Args:
        pictures: n.
        folds: K, 2 to n; n is the jackknife+.
        rate: alpha.

    Example:
        >>> crossfit_bound(100, 100, 0.05)
        0.1
    """
    first = 2 * (1 - 1 / folds) / (pictures / folds + 1)
    second = (1 - folds / pictures) / (folds + 1)
    return min(1.0, 2 * rate + min(first, second))


def confident_rate(pictures: int, above: int, confidence: float = CONFIDENCE) -> float:
    """Return the rate of false rejects that is not exceeded with this confidence.

    It is the quantile of Beta(above + 1, n - above): for a threshold on an order statistic the distribution of its rate
    (Vovk 2012), for one chosen without these scores the upper limit of Clopper and Pearson 1934.

    Args:
        pictures: n, independent.
        above: Of them above the threshold.
        confidence: In (0, 1).

    Example:
        >>> round(confident_rate(99, 0), 4)  # the rule of three: about 3 / n
        0.0298
    """
    if above >= pictures:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > _RATE_STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(above, pictures, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(above: int, pictures: int, rate: float) -> float:
    """Return the probability that of so many independent parts at most `above` are rejected at a rate in (0, 1)."""
    return math.fsum(
        math.exp(
            math.lgamma(pictures + 1)
            - math.lgamma(k + 1)
            - math.lgamma(pictures - k + 1)
            + k * math.log(rate)
            + (pictures - k) * math.log1p(-rate)
        )
        for k in range(above + 1)
    )


def pictures_needed(rate: float) -> int:
    """Return the fewest calibration pictures that can speak for a rate: 1 / (n + 1) <= rate.

    Example:
        >>> pictures_needed(0.01), pictures_needed(0.005), pictures_needed(1 / 3)
        (99, 199, 2)
    """
    return math.ceil(1 / rate - 1 - 1e-9)
