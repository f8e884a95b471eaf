"""From frames to what the network sees, and from its maps back: the same steps as in the exported graph."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nut_runtime.locate.network_size import network_size
from nut_train.backbone import Backbone
from nut_train.locator.network import MAP_STRIDE, LocatorNetwork

__all__ = ["locate_map", "normalised", "pixels_of", "small_distance"]


def normalised(pictures: Tensor, encoder: Backbone) -> Tensor:
    """Return RGB pixels on a 0..1 scale, float32 `[B, 3, h, w]`, as the encoder was trained with."""
    mean = torch.tensor(encoder.mean, device=pictures.device).view(1, 3, 1, 1)
    std = torch.tensor(encoder.std, device=pictures.device).view(1, 3, 1, 1)
    return (pictures - mean) / std


def pixels_of(frame: NDArray[np.uint8], encoder: Backbone, *, long_side_px: int) -> Tensor:
    """Return what the network sees of a frame: resized (antialiased) and normalised, float32 `[1, 3, h, w]`.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        encoder: Its normalisation.
        long_side_px: Longer side at the network.
    """
    size = network_size(*frame.shape[:2], long_side_px=long_side_px)
    rgb = torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).permute(2, 0, 1)[None].float() / 255
    resized = nn.functional.interpolate(rgb, size, mode="bilinear", antialias=True, align_corners=False)
    return normalised(resized, encoder)


def locate_map(
    network: LocatorNetwork, frame: NDArray[np.uint8], encoder: Backbone, *, long_side_px: int
) -> NDArray[np.float32]:
    """Return the distance map of a frame, float32 `[h, w]`, 0 to 1, at half of the network's size.

    Args:
        network: In evaluation mode.
        frame: uint8 `[H, W, 3]`, BGR.
        encoder: The network's encoder.
        long_side_px: Longer side at the network.
    """
    device = next(network.parameters()).device
    with torch.no_grad():
        logits = network(pixels_of(frame, encoder, long_side_px=long_side_px).to(device))
    return np.asarray(torch.sigmoid(logits)[0, 0].float().cpu().numpy(), np.float32)


def small_distance(distance: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """Return a distance map brought to the size of the network's map by averaging.

    Args:
        distance: float32 `[H, W]`.
        size: Height and width of the network's input.
    """
    height, width = size[0] // MAP_STRIDE, size[1] // MAP_STRIDE
    interpolation = cv2.INTER_AREA if height < distance.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(distance, (width, height), interpolation=interpolation), np.float32)
