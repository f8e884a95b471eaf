"""What a plan was asked for."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from nut_runtime.engines.base import PRECISIONS
from nut_runtime.errors import InputError
from nut_train.config import TrainConfig

__all__ = [
    "QUICK_RATIOS",
    "QUICK_SIDES_PX",
    "RATIOS",
    "SIDES_PX",
    "BackboneChoice",
    "PlanConfig",
    "counted",
    "size_text",
]

SIDES_PX = (160, 224, 256, 320)
RATIOS = (0.01, 0.1)
QUICK_SIDES_PX = (160, 256)
QUICK_RATIOS = (0.01,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneChoice:
    """A backbone to try.

    Attributes:
        name: Name of the timm model.
        weights: Its weights file; None takes what `nut train` finds.
    """

    name: str
    weights: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME` or `NAME=FILE`.

        Example:
            >>> BackboneChoice.parse("resnet18=r18.safetensors")
            BackboneChoice(name='resnet18', weights='r18.safetensors')
        """
        name, _, file = text.partition("=")
        return cls(name=name, weights=file or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """The arguments of `nut plan`.

    Attributes:
        target_ms: Time within which all cameras' parts must be judged, above 0.
        backbones: Backbones to try; empty takes those whose weights packages are installed.
        cameras: Cameras that this machine serves.
        image_sizes: Heights and widths of the model's input to try.
        coreset_ratios: Shares of the training patches to keep.
        precisions: Precisions to try.
        engines: Engines to try; empty takes the preferred one.
        threads: Threads to compute with; 0 takes the cores of this process.
        pictures: Good pictures that a bank is made from, at most, evenly over those there are.
        test_pictures: Test pictures that are judged, at most, evenly.
        warm_up: Frames before the clock starts.
        repeats: Timed frames.
        is_complete: Measure other precisions of banks, too, that fp32 rules out.
        false_reject_rate: Share of good parts that may be rejected, as for `nut train`.
        seed: Fixes the split and the coreset's start, as for `nut train`.
        device: Where to train: `auto`, `cpu` or `cuda`.
    """

    target_ms: float
    backbones: tuple[BackboneChoice, ...] = ()
    cameras: int = 1
    image_sizes: tuple[tuple[int, int], ...] = tuple((side, side) for side in SIDES_PX)
    coreset_ratios: tuple[float, ...] = RATIOS
    precisions: tuple[str, ...] = PRECISIONS
    engines: tuple[str, ...] = ()
    threads: int = 0
    pictures: int = 100
    test_pictures: int = 200
    warm_up: int = 10
    repeats: int = 50
    is_complete: bool = False
    false_reject_rate: float = field(default=TrainConfig().false_reject_rate)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range, or a list is empty or repeats itself.
        """
        if not 0 < self.target_ms < float("inf"):
            raise InputError(f"target {self.target_ms} ms, expected above 0")
        for name, value, least in (
            ("cameras", self.cameras, 1),
            ("threads", self.threads, 0),
            ("pictures", self.pictures, 5),
            ("test pictures", self.test_pictures, 1),
            ("warm-up", self.warm_up, 0),
            ("repeats", self.repeats, 1),
        ):
            if value < least:
                raise InputError(f"{name} {value}, expected at least {least}")
        self._check_lists()
        for ratio in self.coreset_ratios:
            for size in self.image_sizes:
                self.training(BackboneChoice(name="any"), size, ratio)

    def _check_lists(self) -> None:
        """Refuse an unknown precision, and lists that are empty or repeat themselves."""
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise InputError(f"unknown precision {precision!r}, expected one of {', '.join(PRECISIONS)}")
        for what, values in (
            ("backbone", [backbone.name for backbone in self.backbones]),
            ("image size", self.image_sizes),
            ("coreset ratio", self.coreset_ratios),
            ("precision", self.precisions),
            ("engine", self.engines),
        ):
            if len(set(values)) != len(values):
                raise InputError(f"a {what} was given twice")
        if not (self.image_sizes and self.coreset_ratios and self.precisions):
            raise InputError("nothing to try: give at least one image size, coreset ratio and precision")

    def training(self, backbone: BackboneChoice, size: tuple[int, int], ratio: float) -> TrainConfig:
        """Return what one training is asked for.

        Raises:
            InputError: If a value is outside its range, or the weights file is not there.
        """
        height, width = size
        return TrainConfig(
            backbone=backbone.name,
            backbone_weights=backbone.weights,
            image_height_px=height,
            image_width_px=width,
            coreset_ratio=ratio,
            false_reject_rate=self.false_reject_rate,
            seed=self.seed,
            device=self.device,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def size_text(size: tuple[int, int]) -> str:
    """Return a height and width as `nut train --image-size` takes them.

    Example:
        >>> size_text((256, 256)), size_text((192, 320))
        ('256', '192x320')
    """
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    Example:
        >>> counted(1, "thread"), counted(2, "thread")
        ('1 thread', '2 threads')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
