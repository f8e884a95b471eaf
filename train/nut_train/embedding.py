"""Patch features of one picture, from anomalib's own modules, as its `forward` makes them."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nut_train.predict import picture_tensor

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["embed", "patch_grid"]


def patch_grid(model: "Patchcore", image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the grid of patches that a picture gives.

    Args:
        model: From `build_model`.
        image_size: Height and width of the model's input in pixels.
    """
    patchcore = model.model
    with torch.no_grad():
        finest = patchcore.feature_extractor(torch.zeros(1, 3, *image_size, device=model.device))[patchcore.layers[0]]
    return int(finest.shape[-2]), int(finest.shape[-1])


def embed(model: "Patchcore", frame: NDArray[np.uint8]) -> Tensor:
    """Return the features of a picture's patches.

    Args:
        model: A trained model.
        frame: uint8 `[H, W, 3]`, BGR, of any size.

    Returns:
        float32 `[rows, columns, D]` on the model's device; row 0 is the top.
    """
    patchcore = model.model
    with torch.no_grad():
        pixels = model.pre_processor.transform(picture_tensor(frame)[None].to(model.device))
        features = {
            layer: patchcore.feature_pooler(values) for layer, values in patchcore.feature_extractor(pixels).items()
        }
        embedding = patchcore.generate_embedding(features)  # (1, D, rows, columns)
        return patchcore.reshape_embedding(embedding).reshape(*embedding.shape[-2:], -1)
