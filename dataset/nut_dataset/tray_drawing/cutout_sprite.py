"""Sprites from photos: single nuts on white, as an earlier locator or a person cut them out."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.tray_drawing.sprite import Sprite
from nut_runtime.errors import InputError
from nut_runtime.pictures import list_pictures, read_picture

__all__ = ["cutout_mask", "cutout_sprite", "read_cutouts"]

_WHITE = 245
"""Grey level from which a pixel may be background."""
_MOST, _LEAST = 0.9, 0.005
"""Share of the picture that a part takes up, at most and at least."""
_TIDY = 0.10
"""What is narrower than this share of the part's side is a left-over of the cutting, not part."""
_CAST, _CONTACT = 0.45, 0.5
"""Light lost in the shadow beside a part, and where it touches the table."""


def read_cutouts(folder: Path) -> tuple[Sprite, ...]:
    """Return the parts in `folder`, sorted by file name.

    Raises:
        InputError: If there is no picture, or one is not a part on a white background.
    """
    paths = list_pictures(Path(folder))
    if not paths:
        raise InputError(f"{folder} holds no pictures; give a folder of cut-outs, single parts on white")
    sprites = []
    for path in paths:
        picture = read_picture(path)
        try:
            sprites.append(cutout_sprite(picture, cutout_mask(picture)))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return tuple(sprites)


def cutout_mask(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the part is: what is not white, holes filled, the largest piece without its frayed edges.

    Args:
        picture: uint8 `[H, W, 3]`.

    Raises:
        InputError: If the background is not white, or nothing stands before it.
    """
    part = (picture.min(axis=2) < _WHITE).astype(np.uint8)
    if part.mean() > _MOST:
        raise InputError("the background is not white; give cut-outs, single parts on white")
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(part)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    if filled.mean() < _LEAST:
        raise InputError("nothing but white background; give cut-outs, single parts on white")
    # Odd, or OpenCV's opening moves what it leaves.
    reach = 2 * round(math.sqrt(float(filled.sum())) * _TIDY / 2) + 1
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    count, pieces, facts, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(filled, cv2.MORPH_OPEN, brush))
    if count == 1:
        return filled > 0
    return np.asarray(pieces == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()))


def cutout_sprite(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Sprite:
    """Return a part on white as a sprite with soft edges and a soft shadow.

    Args:
        picture: uint8 `[H, W, 3]`, BGR.
        mask: Where the part is, bool `[H, W]`.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    edge = max(mask[window].shape) // 2
    frame = (edge, edge, edge, edge, cv2.BORDER_CONSTANT)
    part = cv2.copyMakeBorder(mask[window].astype(np.float32), *frame, value=0)
    colour = cv2.copyMakeBorder(picture[window], edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    side = math.sqrt(float(part.sum()))
    # The outermost pixels are mixed with the white: cover begins within them.
    inner = cv2.erode(part, np.ones((3, 3), np.uint8))
    cover = cv2.GaussianBlur(0.5 * (part + inner), (0, 0), 0.7)
    light = np.square(colour.astype(np.float32) / 255)  # the inverse of the camera's tone curve, nearly
    cast = cv2.GaussianBlur(part, (0, 0), 0.16 * side)
    contact = cv2.GaussianBlur(part, (0, 0), 0.05 * side)
    shade = (1 - _CAST * cast) * (1 - _CONTACT * contact)
    return Sprite(
        paint=np.dstack([light * cover[..., None], cover]).astype(np.float32),
        outline=part,
        shade=shade.astype(np.float32),
    )
