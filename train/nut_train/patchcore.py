"""anomalib's PatchCore: built for training, saved, and loaded back without unpickling anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nut_runtime.errors import InputError
from nut_runtime.scoring import OperatingPoint, Scale
from nut_train.backbone import Backbone, load_weights
from nut_train.weights import Weights

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["build_model", "load_model", "load_state", "operating_point", "set_operating_point"]


def build_model(
    backbone: Backbone,
    *,
    image_size: tuple[int, int],
    coreset_ratio: float = 0.01,
    neighbours: int = 9,
    is_whitened: bool = False,
    weights: Weights | None = None,
) -> "Patchcore":
    """Return anomalib's `Patchcore` with an empty memory bank.

    Its pre-processor is the antialiased resize and the backbone's own normalisation; it neither draws nor
    evaluates by itself.

    Args:
        backbone: From `describe_backbone`.
        image_size: Height and width of the model's input in pixels.
        coreset_ratio: Share of the training patches to keep.
        neighbours: Bank vectors that weigh the image score.
        is_whitened: Whether patch features are whitened before they are compared; `fit` finds how.
        weights: The backbone's weights; None leaves random ones (a checkpoint fills them).
    """
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    transform = Compose(
        [Resize(image_size, antialias=True), Normalize(mean=list(backbone.mean), std=list(backbone.std))]
    )
    model = Patchcore(
        backbone=backbone.name,
        layers=list(backbone.layers),
        pre_trained=False,
        coreset_sampling_ratio=coreset_ratio,
        num_neighbors=neighbours,
        precision="float32",  # the text, since the enum could not be read back with weights_only
        pre_processor=PreProcessor(transform),
        visualizer=False,
        evaluator=False,
    )
    if is_whitened:
        from nut_train.whitening import WhitenedPatchcoreModel

        model.model = WhitenedPatchcoreModel(
            list(backbone.layers), backbone.name, pre_trained=False, num_neighbors=neighbours
        )
    if weights is not None:
        load_weights(model.model.feature_extractor.feature_extractor, weights)
    return model


def load_model(
    checkpoint: Path, backbone: Backbone, *, image_size: tuple[int, int], neighbours: int, is_whitened: bool = False
) -> "Patchcore":
    """Return the trained model in `checkpoint`, in evaluation mode.

    Raises:
        InputError: If the file is missing, cannot be read without unpickling objects, or is not a PatchCore
            of this backbone.
    """
    if not checkpoint.is_file():
        raise InputError(f"{checkpoint} is missing; train again")
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["state_dict"]
        _ = state["model.memory_bank"]
    except Exception as error:
        # torch's own message would advise to unpickle it all the same
        raise InputError(f"{checkpoint} is not a PatchCore checkpoint that can be read safely; train again") from error
    model = build_model(backbone, image_size=image_size, neighbours=neighbours, is_whitened=is_whitened)
    return load_state(model, state, source=checkpoint)


def load_state(model: "Patchcore", state: Mapping[str, Tensor], *, source: Path) -> "Patchcore":
    """Copy a checkpoint's tensors into a model from `build_model`, and return it in evaluation mode.

    Args:
        model: Changed in place.
        state: Tensors by name, the memory bank among them.
        source: Where they came from, for the message.

    Raises:
        InputError: If a tensor is missing, left over or of another shape.
    """
    model.model.memory_bank = torch.empty_like(state["model.memory_bank"])
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source} does not fit backbone {model.model.backbone}: {reason}") from error
    return model.eval()


def set_operating_point(model: "Patchcore", point: OperatingPoint) -> None:
    """Give the model's post-processor our thresholds and ranges, so that anomalib itself decides with them."""
    post = model.post_processor
    for buffer, value in (
        (post._image_threshold, point.image.threshold),  # noqa: SLF001 - anomalib has no public setter
        (post.image_min, point.image.minimum),
        (post.image_max, point.image.maximum),
        (post._pixel_threshold, point.pixel.threshold),  # noqa: SLF001
        (post.pixel_min, point.pixel.minimum),
        (post.pixel_max, point.pixel.maximum),
    ):
        buffer.fill_(value)


def operating_point(model: "Patchcore") -> OperatingPoint:
    """Return the thresholds and ranges in the model's post-processor."""
    post = model.post_processor
    return OperatingPoint(
        image=Scale(
            threshold=float(post.image_threshold),
            minimum=float(post.image_min),
            maximum=float(post.image_max),
        ),
        pixel=Scale(
            threshold=float(post.pixel_threshold),
            minimum=float(post.pixel_min),
            maximum=float(post.pixel_max),
        ),
    )
