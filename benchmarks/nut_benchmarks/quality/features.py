"""Feature maps of pictures, kept for as long as variants ask for the same backbone and size."""

from collections.abc import Sequence

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import Normalize, Resize

from nut_benchmarks.quality.variant import Variant
from nut_dataset.progress import Progress, no_progress
from nut_train.backbone import describe_backbone, load_weights
from nut_train.predict import picture_tensor
from nut_train.weights import find_weights

__all__ = ["Extractor", "Maps", "embed"]

Maps = list[Tensor]
"""A feature map of each of timm's layers, float16 `[N, C, h, w]`: half the memory, and 1e-3 of a feature's size."""


class Extractor:
    """A backbone at one input size.

    Args:
        backbone: A timm model.
        side_px: Side of the square input.

    Raises:
        InputError: If there are no weights for it.
    """

    def __init__(self, backbone: str, side_px: int) -> None:
        described = describe_backbone(backbone, image_size=(side_px, side_px))
        self._network = timm.create_model(backbone, pretrained=False, features_only=True).eval()
        load_weights(self._network, find_weights(backbone))
        self._resize = Resize((side_px, side_px), antialias=True)
        self._normalise = Normalize(list(described.mean), list(described.std))

    @torch.no_grad()
    def maps(self, frames: Sequence[NDArray[np.uint8]], what: str, progress: Progress = no_progress) -> Maps:
        """Return the maps of pictures, uint8 `[H, W, 3]` BGR each; `what` names them to `progress`."""
        found: list[list[Tensor]] = []
        for done, frame in enumerate(frames, start=1):
            pixels = self._normalise(self._resize(picture_tensor(frame)))[None]
            found.append([values.half() for values in self._network(pixels)])
            progress(f"features of {what}", done, len(frames))
        return [torch.cat(layer) for layer in zip(*found, strict=True)]


def embed(maps: Maps, variant: Variant) -> tuple[Tensor, tuple[int, ...]]:
    """Return patch features as PatchCore makes them of feature maps.

    Returns:
        Float32 `[N, h, w, D]`, and the width of each layer in D.
    """
    layers: list[Tensor] = []
    for number in variant.layers:
        values = functional.avg_pool2d(maps[number].float(), variant.pool, 1, variant.pool // 2)
        if layers:
            values = functional.interpolate(values, size=layers[0].shape[-2:], mode="bilinear")
        layers.append(values)
    return torch.cat(layers, dim=1).permute(0, 2, 3, 1), tuple(values.shape[1] for values in layers)
