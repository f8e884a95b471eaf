"""Changes to a training picture that a camera, a light or another tray could have made."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Piece", "cut_piece", "spoil"]

_SCALES = (0.6, 1.5)  # of the size at which the network sees a whole frame
_STRETCH = 0.08  # of one side against the other
_FLOAT_MAX = 255.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A square piece of a picture, as the network gets it.

    Attributes:
        picture: uint8 `[side, side, 3]`, BGR.
        instances: Labels, uint16 `[side, side]`.
    """

    picture: NDArray[np.uint8]
    instances: NDArray[np.uint16]


def cut_piece(
    picture: NDArray[np.uint8],
    instances: NDArray[np.uint16],
    *,
    side_px: int,
    long_side_px: int,
    random: np.random.Generator,
) -> Piece:
    """Cut a square piece at a random scale and place, turned by a random quarter and mirrored or not.

    Where the picture is smaller than the piece, the rest is of one random grey. Labels stay whole numbers, so that the
    distance map of the piece can be computed anew: a part that is cut has another innermost point.

    Args:
        picture: uint8 `[H, W, 3]`, BGR.
        instances: Labels, uint16 `[H, W]`.
        side_px: Side of the piece.
        long_side_px: Longer side of a whole frame at the network.
        random: Decides.
    """
    scale = long_side_px / max(picture.shape[:2]) * float(np.exp(random.uniform(*np.log(_SCALES))))
    stretch = 1 + random.uniform(-_STRETCH, _STRETCH)
    height = max(2, round(picture.shape[0] * scale * stretch))
    width = max(2, round(picture.shape[1] * scale / stretch))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(picture, (width, height), interpolation=smooth), np.uint8)
    labels = np.asarray(cv2.resize(instances, (width, height), interpolation=cv2.INTER_NEAREST), np.uint16)
    height_from, height_to = _place(height, side_px, random)
    width_from, width_to = _place(width, side_px, random)
    canvas = np.full((side_px, side_px, 3), int(random.integers(256)), np.uint8)
    marks = np.zeros((side_px, side_px), np.uint16)
    canvas[height_to, width_to] = small[height_from, width_from]
    marks[height_to, width_to] = labels[height_from, width_from]
    quarters, is_mirrored = int(random.integers(4)), bool(random.integers(2))
    turned = np.rot90(canvas, quarters), np.rot90(marks, quarters)
    if is_mirrored:
        turned = turned[0][:, ::-1], turned[1][:, ::-1]
    return Piece(picture=np.ascontiguousarray(turned[0]), instances=np.ascontiguousarray(turned[1]))


def spoil(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture as another camera in another light would show it.

    Exposure (up to washing the background out), gamma, colour cast, blur or over-sharpening, noise and JPEG.

    Args:
        picture: uint8 `[H, W, 3]`, BGR.
        random: Decides.
    """
    values = picture.astype(np.float32) / _FLOAT_MAX
    if random.random() < 0.3:  # noqa: PLR2004 - this and what follows are chances and ranges
        values = cv2.GaussianBlur(values, (0, 0), float(random.uniform(0.3, 1.6)))
    elif random.random() < 0.3:  # noqa: PLR2004
        soft = cv2.GaussianBlur(values, (0, 0), float(random.uniform(0.8, 2.0)))
        values = values + float(random.uniform(0.3, 1.5)) * (values - soft)
    values = np.clip(values, 0, 1) ** np.float32(np.exp(random.uniform(-0.5, 0.5)))
    if random.random() < 0.15:  # noqa: PLR2004
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    contrast = np.float32(np.exp(random.uniform(-0.3, 0.3)))
    middle = values.mean(dtype=np.float32)
    values = (values - middle) * contrast + middle
    gains = np.exp(random.uniform(-0.5, 0.6) + random.uniform(-0.12, 0.12, 3)).astype(np.float32)
    values = values * gains + np.float32(random.uniform(-0.08, 0.08))
    if random.random() < 0.5:  # noqa: PLR2004
        noise = random.standard_normal(values.shape, np.float32)
        values = values + np.float32(random.uniform(0, 0.04)) * noise
    spoiled = np.asarray(np.clip(np.rint(values * _FLOAT_MAX), 0, _FLOAT_MAX), np.uint8)
    if random.random() < 0.3:  # noqa: PLR2004
        quality = int(random.integers(40, 95))
        coded = cv2.imencode(".jpg", spoiled, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        spoiled = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return spoiled


def _place(size: int, side: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Return where a side is cut from and put to, at random."""
    spare = size - side
    offset = int(random.integers(abs(spare) + 1))
    if spare >= 0:
        return slice(offset, offset + side), slice(0, side)
    return slice(0, size), slice(offset, offset + size)
