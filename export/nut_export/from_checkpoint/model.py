"""The checkpoint's model, built anew by anomalib from checked arguments.

Lightning's own `load_from_checkpoint` is not used: it passes whatever the file says on to constructors.
"""

from typing import TYPE_CHECKING

import timm
import torch

from nut_export.features import PatchEmbedding
from nut_export.from_checkpoint.decision import restore_decision
from nut_export.from_checkpoint.preparation import Preparation
from nut_export.from_checkpoint.reading import BANK, Contents
from nut_runtime.errors import InputError
from nut_train.backbone import Backbone
from nut_train.config import TrainConfig
from nut_train.patchcore import build_model, load_state

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["read_arguments", "restore_model"]

# What timm, torch and anomalib raise where a backbone does not take the layers or the size that a file names.
_UNBUILDABLE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


def read_arguments(contents: Contents, preparation: Preparation) -> TrainConfig:
    """Return what the model was built with, checked.

    Raises:
        InputError: If an argument is missing, or of a kind that is not exported.
    """
    path, arguments = contents.path, contents.arguments
    missing = [name for name in ("backbone", "layers", "num_neighbors") if name not in arguments]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)} in its hyper_parameters; save it with anomalib's Engine")
    name, layers, neighbours = arguments["backbone"], arguments["layers"], arguments["num_neighbors"]
    if not isinstance(name, str) or not timm.is_model(name):
        raise InputError(f"{path} has the backbone {name!r}, which timm does not know; update timm or train another")
    if not isinstance(layers, list | tuple) or not layers or not all(isinstance(layer, str) for layer in layers):
        raise InputError(f"{path} has the layers {layers!r}, expected their names; train it with names")
    if type(neighbours) is not int:
        raise InputError(f"{path} has {neighbours!r} for num_neighbors, expected a whole number; train it with one")
    try:
        return TrainConfig(
            backbone=name,
            layers=tuple(layers),
            image_height_px=preparation.image_size[0],
            image_width_px=preparation.image_size[1],
            coreset_ratio=arguments.get("coreset_sampling_ratio", 1.0),
            neighbours=neighbours,
        )
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error


def restore_model(contents: Contents, preparation: Preparation, config: TrainConfig) -> "Patchcore":
    """Build the model, load its tensors and try it on a black picture.

    Args:
        contents: The checkpoint.
        preparation: Its pre-processor.
        config: From `read_arguments`.

    Raises:
        InputError: If the tensors do not fit the arguments, or the post-processor is not one that is exported.
    """
    path = contents.path
    model = _build(contents, preparation, config)
    restore_decision(model, contents)
    blur = model.model.anomaly_map_generator.blur.kernel.clone()
    load_state(model, contents.state, source=path)
    # One ulp of float32 is 1.2e-7 of a value; another sigma moves the kernel's by percents.
    if not torch.allclose(blur, model.model.anomaly_map_generator.blur.kernel, rtol=1e-5):
        raise InputError(f"{path} blurs its anomaly maps otherwise than anomalib does; only its default is exported")
    width, given = contents.state[BANK].shape[1], _embedding_width(contents, model, config)
    if width != given:
        raise InputError(
            f"{path} has a memory bank of width {width}, its backbone {config.backbone} gives {given}; train it again"
        )
    return model


def _build(contents: Contents, preparation: Preparation, config: TrainConfig) -> "Patchcore":
    """Build the model without its tensors."""
    backbone = Backbone(name=config.backbone, layers=config.layers, mean=preparation.mean, std=preparation.std)
    try:
        model = build_model(
            backbone,
            image_size=config.image_size,
            coreset_ratio=config.coreset_ratio,
            neighbours=config.neighbours,
        )
    except _UNBUILDABLE as error:
        raise _does_not_run(contents, config, error) from error
    model.pre_processor = preparation.pre_processor
    if tuple(model.model.feature_extractor.layers) != config.layers:  # anomalib drops what it does not find
        raise InputError(
            f"{contents.path} takes the layers {', '.join(config.layers)}, not all of which {config.backbone} has; "
            "train it again"
        )
    return model


def _embedding_width(contents: Contents, model: "Patchcore", config: TrainConfig) -> int:
    """Return how wide the embedding of a black picture is."""
    try:
        with torch.no_grad():
            return int(PatchEmbedding(model.model)(torch.zeros(1, 3, *config.image_size)).shape[1])
    except _UNBUILDABLE as error:
        raise _does_not_run(contents, config, error) from error


def _does_not_run(contents: Contents, config: TrainConfig, error: Exception) -> InputError:
    size = "x".join(map(str, config.image_size))
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{contents.path} has a backbone {config.backbone} that does not run at {size} px: {reason}")
