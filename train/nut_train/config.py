"""What a training run was asked for."""

from dataclasses import dataclass, fields
from math import inf
from pathlib import Path
from typing import Any, Self

from nut_runtime.errors import InputError
from nut_train.thresholds import Rule

__all__ = ["CALIBRATIONS", "DEFAULT_BACKBONE", "DEVICES", "PointConfig", "TrainConfig", "parse_image_size"]

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
DEVICES = ("auto", "cpu", "cuda")
CALIBRATIONS = ("holdout", "crossfit")
# The anomaly map's blur reaches 16 px and is mirrored at the border, so the model's input must be wider.
_SMALLEST_INPUT_PX, _LARGEST_INPUT_PX = 64, 1024
_LARGEST_RATE = 0.5
_LEAST_FOLDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PointConfig:
    """Where thresholds are put, given the scores of good pictures.

    Attributes:
        false_reject_rate: Share of good parts that may be rejected, in (0, 0.5].
        rule: How the image threshold is found.
        value: The raw image threshold, where the rule is `value` and only there.
        review_rate: Share of good parts that may be for review or rejected, above `false_reject_rate`; None asks for no
            review.
    """

    false_reject_rate: float = 0.01
    rule: Rule = Rule.CONFORMAL
    value: float | None = None
    review_rate: float | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range, or is there without need.
        """
        rate, review = self.false_reject_rate, self.review_rate
        if not 0 < rate <= _LARGEST_RATE:
            raise InputError(f"false reject rate {rate}, expected above 0 and at most {_LARGEST_RATE}")
        if review is not None and not rate < review < 1:
            raise InputError(f"review rate {review}, expected above the false reject rate {rate} and below 1")
        if (self.rule is Rule.VALUE) != (self.value is not None):
            raise InputError("the threshold rule value needs --threshold-value RAW, and no other rule takes it")
        if self.value is not None and not 0 < self.value < inf:
            raise InputError(f"threshold value {self.value}, expected a raw score above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The arguments of `nut train`; `run.json` stores them.

    Attributes:
        backbone: Name of a timm model.
        layers: Names of its feature blocks; empty takes those of strides 8 and 16.
        backbone_weights: A `.safetensors` or `.pth` file; None takes what `weights` finds.
        image_height_px: Height of the model's input.
        image_width_px: Width of the model's input.
        coreset_ratio: Share of the training patches kept in the memory bank, in (0, 1].
        bank_size: Rows of the bank at most, instead of the share; None goes by the share.
        bank_mb: Size of the bank at most, in megabytes of 10^6 bytes, instead of the share.
        whiten: Whether patch features are whitened by the good pictures' covariance before they are compared.
        neighbours: Bank vectors that weigh the image score (k of the PatchCore paper, eq. 7); 1 turns it off.
        batch_size: Pictures a step of feature extraction; changes speed, not scores.
        workers: Processes that read pictures; 0 reads in the main process.
        seed: Fixes the split and the start of the coreset.
        device: `auto` (a GPU when there is one), `cpu` or `cuda`.
        false_reject_rate: Share of good parts that may be rejected, in (0, 0.5].
        holdout: Share of `train/good` kept out of the bank for calibration, in (0, 0.9].
        calibration: `holdout`, or `crossfit`: every picture goes into the bank, and is scored by a model without it.
        folds: Models that `crossfit` trains besides the final one, at least 2.
        threshold: How the image threshold is found, a `Rule`.
        threshold_value: The raw image threshold, for the rule `value`.
        review_rate: Share of good parts that may be for review or rejected; None asks for no review.
    """

    backbone: str = DEFAULT_BACKBONE
    layers: tuple[str, ...] = ()
    backbone_weights: str | None = None
    image_height_px: int = 256
    image_width_px: int = 256
    coreset_ratio: float = 0.01
    bank_size: int | None = None
    bank_mb: float | None = None
    whiten: bool = False
    neighbours: int = 9
    batch_size: int = 8
    workers: int = 0
    seed: int = 0
    device: str = "auto"
    false_reject_rate: float = 0.01
    holdout: float = 0.2
    calibration: str = "holdout"
    folds: int = 5
    threshold: str = Rule.CONFORMAL.value
    threshold_value: float | None = None
    review_rate: float | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range.
        """
        for side in (self.image_height_px, self.image_width_px):
            if not _SMALLEST_INPUT_PX <= side <= _LARGEST_INPUT_PX:
                raise InputError(f"image size {side} px, expected {_SMALLEST_INPUT_PX} to {_LARGEST_INPUT_PX}")
        for name, share, most in (
            ("coreset ratio", self.coreset_ratio, 1),
            ("holdout", self.holdout, 0.9),
        ):
            if not 0 < share <= most:
                raise InputError(f"{name} {share}, expected above 0 and at most {most}")
        self._check_counts()
        if self.seed not in range(2**32):  # what numpy's and Lightning's seeding take
            raise InputError(f"seed {self.seed}, expected at least 0 and less than {2**32}")
        for name, word, words in (
            ("device", self.device, DEVICES),
            ("calibration", self.calibration, CALIBRATIONS),
            ("threshold", self.threshold, tuple(Rule)),
        ):
            if word not in words:
                raise InputError(f"{name} {word!r}, expected one of {', '.join(words)}")
        _ = self.point
        if self.backbone_weights is not None and not Path(self.backbone_weights).is_file():
            raise InputError(f"backbone weights {self.backbone_weights} do not exist")

    def _check_counts(self) -> None:
        """Refuse a number of things that is too small."""
        for name, value, least in (
            ("neighbours", self.neighbours, 1),
            ("batch size", self.batch_size, 1),
            ("workers", self.workers, 0),
            ("folds", self.folds, _LEAST_FOLDS),
        ):
            if value < least:
                raise InputError(f"{name} {value}, expected at least {least}")
        self._check_bank()

    def _check_bank(self) -> None:
        """Check the limits of the bank."""
        if self.bank_size is not None and self.bank_mb is not None:
            raise InputError("a bank size and a bank of so many megabytes were given; give one of them")
        if self.bank_size is not None and self.bank_size < 1:
            raise InputError(f"bank size {self.bank_size}, expected at least 1")
        if self.bank_mb is not None and not 0 < self.bank_mb < inf:
            raise InputError(f"bank of {self.bank_mb} MB, expected above 0")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the model's input in pixels."""
        return self.image_height_px, self.image_width_px

    @property
    def point(self) -> PointConfig:
        """Where the thresholds are put."""
        return PointConfig(
            false_reject_rate=self.false_reject_rate,
            rule=Rule(self.threshold),
            value=self.threshold_value,
            review_rate=self.review_rate,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("bank_size", "bank_mb"):  # an older version, which knows none of these, reads what has none
            if plain[name] is None:
                del plain[name]
        if not self.whiten:
            del plain["whiten"]
        return plain | {"layers": list(self.layers)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the configuration that `to_json` gave."""
        return cls(**{**data, "layers": tuple(data["layers"])})


def parse_image_size(text: str) -> tuple[int, int]:
    """Return height and width from `256` or `192x320` (height x width).

    Raises:
        InputError: If the text is neither.

    Example:
        >>> parse_image_size("256"), parse_image_size("192x320")
        ((256, 256), (192, 320))
    """
    parts = text.lower().split("x")
    if len(parts) not in {1, 2} or not all(part.isdecimal() for part in parts):
        raise InputError(f"image size {text!r}, expected one number or HEIGHTxWIDTH, such as 256 or 192x320")
    return int(parts[0]), int(parts[-1])
