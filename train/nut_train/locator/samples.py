"""Batches of pieces, the same for the same seed however they are made."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from nut_dataset.coco.distance_map import distance_map
from nut_dataset.coco.trays import TrayPicture
from nut_train.locator.augment import cut_piece, spoil
from nut_train.locator.config import LocatorConfig
from nut_train.locator.network import MAP_STRIDE

__all__ = ["batches", "steps_an_epoch"]


def steps_an_epoch(pictures: int, batch_size: int) -> int:
    """Return how many batches an epoch has; the last one is filled up from the first pictures of the next order."""
    return -(-pictures // batch_size)


def batches(pictures: Sequence[TrayPicture], config: LocatorConfig, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the batches of an epoch: RGB pictures 0..1, float32 `[B, 3, s, s]`, and maps `[B, 1, s / 2, s / 2]`.

    Every piece has a random state of its own, made of seed, epoch and its number. All batches are equally large, since
    a batch of one would spoil the statistics of the normalisation layers.

    Args:
        pictures: Those to learn from.
        config: Sizes and seed.
        epoch: From 0.

    Raises:
        PictureError: If one cannot be read.
    """
    steps = steps_an_epoch(len(pictures), config.batch_size)
    order: list[int] = []
    while len(order) < steps * config.batch_size:
        seed = (config.seed, epoch, len(order))
        order.extend(np.random.default_rng(seed).permutation(len(pictures)).tolist())
    side = min(config.crop_px, config.long_side_px)
    for step in range(steps):
        inputs, targets = [], []
        for place in range(step * config.batch_size, (step + 1) * config.batch_size):
            random = np.random.default_rng((config.seed, epoch, place, 1))
            picture, instances, _ = pictures[order[place]].read()
            piece = cut_piece(picture, instances, side_px=side, long_side_px=config.long_side_px, random=random)
            spoiled = spoil(piece.picture, random)
            depth = distance_map(piece.instances)
            half = (side // MAP_STRIDE, side // MAP_STRIDE)
            inputs.append(torch.from_numpy(np.ascontiguousarray(spoiled[..., ::-1])).permute(2, 0, 1))
            targets.append(torch.from_numpy(cv2.resize(depth, half, interpolation=cv2.INTER_AREA))[None])
        yield torch.stack(inputs).float() / 255, torch.stack(targets)
