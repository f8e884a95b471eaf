"""What a training of a locator was asked for."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from nut_runtime.errors import InputError
from nut_runtime.locate.network_size import STRIDE_PX
from nut_train.config import DEVICES

__all__ = ["DEFAULT_ENCODER", "LocatorConfig"]

DEFAULT_ENCODER = "tf_efficientnet_lite0"
_LARGEST_SIDE_PX = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorConfig:
    """The arguments of `nut train-locator`; `run.json` stores them.

    Attributes:
        encoder: Name of a timm model.
        encoder_weights: A `.safetensors` or `.pth` file; None takes what `nut_train.weights` finds.
        long_side_px: What the longer side of a frame is brought to, a multiple of 32.
        crop_px: Side of the square pieces it learns from, a multiple of 32; at most `long_side_px` is taken.
        epochs: Passes over the training pictures, at most.
        patience: Passes without a better validation after which it stops.
        batch_size: Pieces a step.
        learning_rate: Of the decoder, at its peak; the encoder, which has learned before, gets a quarter.
        seed: Fixes initialisation, order and augmentation.
        device: `auto` (a GPU when there is one), `cpu` or `cuda`.
    """

    encoder: str = DEFAULT_ENCODER
    encoder_weights: str | None = None
    long_side_px: int = 512
    crop_px: int = 320
    epochs: int = 20
    patience: int = 5
    batch_size: int = 8
    learning_rate: float = 2e-3
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range.
        """
        for name, side in (("longer side", self.long_side_px), ("crop", self.crop_px)):
            if not STRIDE_PX <= side <= _LARGEST_SIDE_PX or side % STRIDE_PX:
                raise InputError(
                    f"{name} of {side} px, expected a multiple of {STRIDE_PX} from {STRIDE_PX} to {_LARGEST_SIDE_PX}"
                )
        for name, value in (("epochs", self.epochs), ("patience", self.patience), ("batch size", self.batch_size)):
            if value < 1:
                raise InputError(f"{name} {value}, expected at least 1")
        if not 0 < self.learning_rate <= 1:
            raise InputError(f"learning rate {self.learning_rate}, expected above 0 and at most 1")
        if self.seed not in range(2**32):  # what numpy's and torch's seeding take
            raise InputError(f"seed {self.seed}, expected at least 0 and less than {2**32}")
        if self.device not in DEVICES:
            raise InputError(f"device {self.device!r}, expected one of {', '.join(DEVICES)}")
        if self.encoder_weights is not None and not Path(self.encoder_weights).is_file():
            raise InputError(f"encoder weights {self.encoder_weights} do not exist")

    def to_json(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the configuration that `to_json` gave."""
        return cls(**data)
