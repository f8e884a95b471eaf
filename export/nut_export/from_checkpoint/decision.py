"""What a checkpoint decides with: anomalib's thresholds, ranges and sensitivities as an operating point of ours."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nut_export.from_checkpoint.reading import Contents
from nut_runtime.errors import InputError
from nut_runtime.scoring import OperatingPoint, Scale

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["NEUTRAL", "decide", "restore_decision"]

NEUTRAL = 0.5  # the sensitivity at which anomalib's verdict changes where the normalised score is 0.5
_CONFIG = "anomalib_post_processor_config"


def restore_decision(model: "Patchcore", contents: Contents) -> None:
    """Give a model the settings of a checkpoint's post-processor, before its tensors are loaded.

    A sensitivity other than 0.5 moves the verdict to another normalised score, where our outputs have it at 0.5
    always. `Recentred` then takes the post-processor's place: the verdicts stay anomalib's, the scores move along.

    Raises:
        InputError: If the post-processor is turned off, of another kind, or gives no verdicts.
    """
    path = contents.path
    enabled = contents.table("anomalib_components_enabled")
    config = contents.table(_CONFIG)
    if not (enabled or contents.arguments).get("post_processor", True):
        raise InputError(f"{path} was trained without a post-processor, so it has no threshold; train it with one")
    known = set(model.post_processor.checkpoint_config())
    extra = set(config or {}) - known
    if extra or (config is None and enabled is not None):
        kind = f" (it has {min(extra)})" if extra else ""
        raise InputError(f"{path} has a post-processor of another kind{kind}; only anomalib's default can be exported")
    settings = model.post_processor.checkpoint_config() | (config or {})
    for switch, meaning in (("enable_normalization", "normalisation"), ("enable_thresholding", "thresholds")):
        if settings[switch] is not True:
            raise InputError(f"{path} has {meaning} turned off, so anomalib gives no comparable verdicts; turn it on")
    sensitivities = [settings["image_sensitivity"], settings["pixel_sensitivity"]]
    for name, value in zip(("image_sensitivity", "pixel_sensitivity"), sensitivities, strict=True):
        # anomalib clips scores at 1 and asks for more than 1 - sensitivity
        if not isinstance(value, int | float) or not 0 < value <= 1:
            raise InputError(f"{path} has the {name} {value}, at which all are judged alike; take one above 0, up to 1")
    if sensitivities != [NEUTRAL, NEUTRAL]:
        from nut_export.from_checkpoint.recentred import Recentred

        model.post_processor = Recentred()
    model.post_processor.load_checkpoint_config(settings)


def decide(model: "Patchcore", path: Path) -> OperatingPoint:
    """Return the thresholds and ranges of a loaded model, sensitivities folded in.

    Where anomalib falls back, so does this: without masks it has no threshold of pixels and takes the image's; where
    that matching is turned off it takes the middle of the range.

    Raises:
        InputError: If the model was never validated, or its range or threshold cannot tell parts apart.
    """
    post = model.post_processor
    if torch.isnan(post.image_threshold) or any(
        torch.isnan(value) for value in (post.image_min, post.image_max, post.pixel_min, post.pixel_max)
    ):
        raise InputError(
            f"{path} has no threshold, it was trained without validation pictures; run anomalib's engine.validate "
            "with some and save it anew, or train with nut train"
        )
    scales = {}
    for part in ("image", "pixel"):
        threshold, minimum, maximum = (getattr(post, f"{part}_{name}") for name in ("threshold", "min", "max"))
        if not minimum < maximum or not all(map(math.isfinite, (_or(threshold, 0.0), minimum, maximum))):
            raise InputError(
                f"{path} has the {part} range {float(minimum):.6g} to {float(maximum):.6g}, which tells nothing apart; "
                "validate it with good and defective pictures"
            )
        middle = _or(threshold, float((maximum + minimum) / 2))
        shift = (NEUTRAL - getattr(post, f"{part}_sensitivity")) * float(maximum - minimum)
        scales[part] = Scale(threshold=middle + shift, minimum=float(minimum), maximum=float(maximum))
    if scales["image"].threshold <= 0:
        raise InputError(
            f"{path} rejects above a distance of {scales['image'].threshold:.6g}, which is every part; lower its "
            "image_sensitivity or validate it again"
        )
    return OperatingPoint(image=scales["image"], pixel=scales["pixel"])


def _or(threshold: torch.Tensor, fallback: float) -> float:
    """Return a threshold, or the fallback where it is not set."""
    return fallback if torch.isnan(threshold) else float(threshold)
