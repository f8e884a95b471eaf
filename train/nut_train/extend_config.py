"""What growing a run was asked for."""

from dataclasses import dataclass, replace
from math import inf

from nut_runtime.errors import InputError
from nut_train.config import DEVICES, PointConfig, TrainConfig
from nut_train.kept_point import kept_point
from nut_train.run import Run

__all__ = ["ExtendConfig"]

_LARGEST_HOLDOUT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendConfig:
    """The arguments of `nut train --extend`; None takes what the run has.

    Attributes:
        coreset_ratio: Share of the new pictures' patches to add at least, in (0, 1].
        bank_size: Rows of the whole bank at most, the base's among them.
        bank_mb: Size of the whole bank at most, in megabytes of 10^6 bytes.
        holdout: Share of the new pictures that calibrate instead of going into the bank, in [0, 0.9]; None takes the
            run's own share of ten or more pictures, and of fewer none.
        seed: Fixes which of them.
        false_reject_rate: Share of good parts that may be rejected.
        threshold: How the image threshold is found, a `Rule`.
        threshold_value: The raw image threshold, for the rule `value`.
        review_rate: Share of good parts that may be for review or rejected; `kept_point.NO_REVIEW` asks for none.
        device: `auto`, `cpu` or `cuda`.
    """

    coreset_ratio: float | None = None
    bank_size: int | None = None
    bank_mb: float | None = None
    holdout: float | None = None
    seed: int = 0
    false_reject_rate: float | None = None
    threshold: str | None = None
    threshold_value: float | None = None
    review_rate: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check ranges; those of the thresholds are checked where they are put.

        Raises:
            InputError: If a value is outside its range.
        """
        if self.coreset_ratio is not None and not 0 < self.coreset_ratio <= 1:
            raise InputError(f"coreset ratio {self.coreset_ratio}, expected above 0 and at most 1")
        if self.bank_size is not None and self.bank_mb is not None:
            raise InputError("a bank size and a bank of so many megabytes were given; give one of them")
        if self.bank_mb is not None and not 0 < self.bank_mb < inf:
            raise InputError(f"bank of {self.bank_mb} MB, expected above 0")
        if self.holdout is not None and not 0 <= self.holdout <= _LARGEST_HOLDOUT:
            raise InputError(f"holdout {self.holdout}, expected 0 to {_LARGEST_HOLDOUT}")
        if self.seed not in range(2**32):
            raise InputError(f"seed {self.seed}, expected at least 0 and less than {2**32}")
        if self.device not in DEVICES:
            raise InputError(f"device {self.device!r}, expected one of {', '.join(DEVICES)}")

    def point(self, run: Run) -> PointConfig:
        """Return where the thresholds of the grown run are put: as the run's are now, unless something else was given.

        Raises:
            InputError: If what was given does not fit together, or with what the run has.
        """
        return kept_point(
            run,
            false_reject_rate=self.false_reject_rate,
            threshold=self.threshold,
            threshold_value=self.threshold_value,
            review_rate=self.review_rate,
        )

    def arguments(self, run: Run, point: PointConfig) -> TrainConfig:
        """Return the run's arguments with the thresholds of the grown run."""
        return replace(
            run.config,
            false_reject_rate=point.false_reject_rate,
            threshold=str(point.rule),
            threshold_value=point.value,
            review_rate=point.review_rate,
        )
