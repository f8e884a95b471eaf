"""Where a run's thresholds are put again: as they are now, but for what is asked for."""

from typing import TYPE_CHECKING

from nut_runtime.errors import InputError
from nut_train.config import PointConfig
from nut_train.thresholds import Rule

if TYPE_CHECKING:  # which imports torch, and a command's --help does without
    from nut_train.run import Run

__all__ = ["NO_REVIEW", "kept_point"]

NO_REVIEW = 0.0
"""A review rate that asks for none, where None asks for that of the run."""


def kept_point(
    run: "Run",
    *,
    false_reject_rate: float | None = None,
    threshold: str | None = None,
    threshold_value: float | None = None,
    review_rate: float | None = None,
) -> PointConfig:
    """Return where the thresholds of a run are put; None takes what the run has now, `nut calibrate` included.

    Args:
        run: A finished run.
        false_reject_rate: Share of good parts that may be rejected.
        threshold: How the image threshold is found, a `Rule`.
        threshold_value: The raw image threshold, for the rule `value`.
        review_rate: Share of good parts that may be for review or rejected; `NO_REVIEW` asks for none.

    Raises:
        InputError: If what was given does not fit together, or with what the run has.
    """
    calibration = run.record["calibration"]
    kept = Rule(calibration.get("rule", Rule.CONFORMAL))
    rule = kept if threshold is None else Rule(threshold)
    if threshold_value is None and rule is kept is Rule.VALUE:
        threshold_value = run.point.image.threshold
    rate = _rate(run, kept) if false_reject_rate is None else false_reject_rate
    review = calibration.get("review_rate") if review_rate is None else review_rate
    if review_rate is None and review is not None and review <= rate:
        raise InputError(
            f"the review rate of {run.folder} is {review:g}, which is not above the false reject rate {rate:g}; give "
            "--review-rate too, or --review-rate off"
        )
    return PointConfig(
        false_reject_rate=rate,
        rule=rule,
        value=threshold_value,
        review_rate=None if review == NO_REVIEW else review,
    )


def _rate(run: "Run", rule: Rule) -> float:
    """Return the false-reject rate that was last asked for."""
    calibration = run.record["calibration"]
    if rule in {Rule.CONFORMAL, Rule.QUANTILE}:
        return float(calibration["false_reject_rate"])
    # That of a threshold that good scores did not put was counted; records from before it was kept tell no other.
    return float(calibration.get("asked_rate", run.config.false_reject_rate))
