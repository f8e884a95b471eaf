"""How a checkpoint's pictures are prepared: its pre-processor, as far as the deployment graph does the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nut_export.from_checkpoint.reading import Contents
from nut_runtime.errors import InputError

if TYPE_CHECKING:
    from anomalib.pre_processing import PreProcessor

__all__ = ["Preparation", "prepare"]

_CONFIG = "anomalib_pre_processor_config"
_SIDES, _CHANNELS = 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The pre-processor, and what the graph needs to know of it.

    Attributes:
        pre_processor: anomalib's own, as the checkpoint describes it.
        image_size: Height and width that pictures are resized to, in pixels.
        mean: Subtracted per channel in RGB order, on a 0..1 scale.
        std: Divided by after that.
        is_stated: Whether the checkpoint says so; False where it was taken from the user.
    """

    pre_processor: "PreProcessor"
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    is_stated: bool


def prepare(contents: Contents, image_size: tuple[int, int] | None = None) -> Preparation:
    """Restore a checkpoint's pre-processor with anomalib's own reader, and look at what came of it.

    Args:
        contents: The checkpoint.
        image_size: Height and width, where the checkpoint does not say. anomalib's default pre-processor of that
            size is taken then.

    Raises:
        InputError: If the checkpoint does not say and no size is given, it says another size, or it prepares
            pictures in a way that the graph does not.
    """
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor

    path = contents.path
    enabled = contents.table("anomalib_components_enabled")
    if not (enabled or contents.arguments).get("pre_processor", True):
        raise InputError(f"{path} was trained without a pre-processor; only a fixed input size can be exported")
    config = contents.table(_CONFIG)
    if config is None and enabled is not None:
        raise InputError(f"{path} has a pre-processor of its own make; only anomalib's PreProcessor can be exported")
    if config is None:
        if image_size is None:
            raise InputError(
                f"{path} does not say how pictures are resized (anomalib before 2.7 kept it to itself); give "
                "--image-size, 256 for the default of anomalib 2.1 to 2.6"
            )
        return _look(path, Patchcore.configure_pre_processor(image_size=image_size), is_stated=False)
    extra = set(config) - {"transform"}
    if extra:
        raise InputError(f"{path} has a pre-processor with {min(extra)}; only anomalib's PreProcessor can be exported")
    pre_processor = PreProcessor()
    try:
        pre_processor.load_checkpoint_config(config)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} has a transform that cannot be restored: {error}") from error
    preparation = _look(path, pre_processor, is_stated=True)
    if image_size not in {None, preparation.image_size}:
        stated = "x".join(map(str, preparation.image_size))
        raise InputError(f"{path} says that pictures are resized to {stated}; leave --image-size out")
    return preparation


def _look(path: Path, pre_processor: "PreProcessor", *, is_stated: bool) -> Preparation:
    """Take the pre-processor apart; refuse by name what the graph does not do."""
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    pending = [pre_processor.transform]
    steps: list[Any] = []
    while pending:
        step = pending.pop(0)
        if isinstance(step, Compose):
            pending = [*step.transforms, *pending]
        elif step is not None:
            steps.append(step)
    if not steps:
        raise InputError(
            f"{path} has no transform in its pre-processor (anomalib keeps those of its own kinds only); a resize to "
            "a fixed size is needed"
        )
    kinds = [type(step) for step in steps]
    if kinds not in ([Resize], [Resize, Normalize]):
        other = next((kind for kind in kinds if kind not in {Resize, Normalize}), None)
        what = other.__name__ if other else ", then ".join(kind.__name__ for kind in kinds)
        raise InputError(
            f"{path} prepares pictures with {what}, which the exported model does not; only Resize, then Normalize "
            "can be exported, train it with these"
        )
    mean, std = (steps[1].mean, steps[1].std) if len(steps) > 1 else ((0.0,) * _CHANNELS, (1.0,) * _CHANNELS)
    return Preparation(
        pre_processor=pre_processor,
        image_size=_size(path, steps[0]),
        mean=_by_channel(path, mean),
        std=_by_channel(path, std, is_divisor=True),
        is_stated=is_stated,
    )


def _size(path: Path, resize: Any) -> tuple[int, int]:
    """Return height and width of an antialiased bilinear resize to a fixed size."""
    kind = getattr(resize.interpolation, "value", resize.interpolation)  # torchvision takes the text or its enumeration
    if kind != "bilinear" or resize.antialias is not True:
        raise InputError(
            f"{path} resizes with {kind} interpolation, antialias {resize.antialias}; only bilinear with "
            "antialias can be exported, train it with these"
        )
    if resize.size is None or len(resize.size) != _SIDES:
        raise InputError(
            f"{path} resizes one side to {resize.size} and keeps the proportions; only a fixed height and width can "
            "be exported"
        )
    height, width = resize.size
    return int(height), int(width)


def _by_channel(path: Path, values: Sequence[float], *, is_divisor: bool = False) -> tuple[float, float, float]:
    """Return one finite number a channel."""
    numbers = tuple(float(value) for value in values)
    if len(numbers) != _CHANNELS or not all(map(math.isfinite, numbers)) or (is_divisor and min(numbers) <= 0):
        raise InputError(f"{path} normalises with {list(numbers)}, expected one number a channel (std above 0)")
    red, green, blue = numbers
    return red, green, blue
