"""One picture of one tray, and which pixels belong to which nut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.light import random_room
from nut_dataset.tray_drawing.clutter import add_clutter, add_dust
from nut_dataset.tray_drawing.drawn_sprite import DEFECT_SHARE, draw_sprite, random_tray_shape
from nut_dataset.tray_drawing.photo import bend, photograph
from nut_dataset.tray_drawing.placing import Layout, place_nuts
from nut_dataset.tray_drawing.scenery import Scenery, random_scenery
from nut_dataset.tray_drawing.sprite import Patch, Sprite
from nut_dataset.tray_drawing.table import draw_tray_table

__all__ = ["DrawnTray", "TrayOrder", "draw_tray"]

_LONG_SIDE_PX = 640
"""What sides of nuts refer to."""
_DISTINCT = 12
"""Nuts drawn for a tray; more are the same ones, turned."""
_LEAST_SEEN = 0.06
"""A nut of which less is seen is nobody's to find."""
_EMPTY = 0.04
"""Share of empty trays, where empty ones are allowed."""
_ON_NUTS = 0.3
"""Shadows on other nuts, as a share of those on the table: those lie higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayOrder:
    """What kind of tray to draw.

    Attributes:
        height_px: Rows of the picture.
        width_px: Columns of the picture.
        parts: Least and largest number of nuts; fewer lie there where no more fit.
        side: Least and largest side of a nut, in pixels of a picture whose longer side is 640.
        cutouts: Nuts cut from photos; none draws all.
        cutout_share: Share of trays whose nuts are from photos.
        defect_share: How likely a drawn nut has a defect.
        backgrounds: Photos of empty tables, uint8 `[H, W, 3]`, BGR; they serve half of the trays.
    """

    height_px: int
    width_px: int
    parts: tuple[int, int]
    side: tuple[float, float]
    cutouts: Sequence[Sprite] = ()
    cutout_share: float = 0.5
    defect_share: float = DEFECT_SHARE
    backgrounds: Sequence[NDArray[np.uint8]] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnTray:
    """A picture and what is true about it.

    Attributes:
        picture: uint8 `[H, W, 3]`, BGR.
        instances: 0 background, 1, 2, ... the visible pixels of each nut, bore included; uint16 `[H, W]`.
    """

    picture: NDArray[np.uint8]
    instances: NDArray[np.uint16]


def draw_tray(rng: np.random.Generator, order: TrayOrder) -> DrawnTray:
    """Draw a tray of nuts."""
    look, strewing, metal, floor, lens = (np.random.default_rng(key) for key in rng.integers(0, 2**63, 5))
    canvas = order.height_px, order.width_px
    scenery = random_scenery(look)
    side_px = _random_side(look, order, scenery) * max(canvas) / _LONG_SIDE_PX
    table = _background(floor, scenery, canvas, order)
    add_clutter(floor, table, count=scenery.clutter, side_px=side_px)
    add_dust(floor, table)
    sprites = _sprites(metal, order, scenery, side_px)
    layout = _random_layout(strewing, order, scenery, canvas, side_px)
    patches = place_nuts(strewing, layout, canvas, _Hand(strewing, sprites, scenery, canvas, side_px))
    scene, instances = _lay(table, patches, scenery)
    scene, instances = bend(scene, instances, barrel=scenery.barrel)
    return DrawnTray(picture=photograph(lens, scene, scenery), instances=_seen(instances, patches))


def _random_side(rng: np.random.Generator, order: TrayOrder, scenery: Scenery) -> float:
    """Return the side of this tray's nuts for a picture of 640 px: each scenery has its part of the range."""
    low, high = order.side
    share = rng.uniform(*scenery.side)
    return float(low * (high / low) ** share)


def _background(
    rng: np.random.Generator, scenery: Scenery, canvas: tuple[int, int], order: TrayOrder
) -> NDArray[np.float32]:
    """Return a drawn table, or a piece of a photo of one."""
    table = draw_tray_table(rng, scenery, canvas)
    if not order.backgrounds or rng.random() < 0.5:  # noqa: PLR2004 - half of the trays
        return table
    photo = order.backgrounds[int(rng.integers(len(order.backgrounds)))]
    share = float(rng.uniform(0.6, 1.0))
    rows, columns = (max(int(side * share), 1) for side in photo.shape[:2])
    top, left = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(photo.shape[:2], (rows, columns), strict=True)
    )
    piece = photo[top : top + rows, left : left + columns]
    if rng.random() < 0.5:  # noqa: PLR2004 - either way round
        piece = piece[:, ::-1]
    piece = cv2.resize(piece, (canvas[1], canvas[0]), interpolation=cv2.INTER_AREA)
    return np.square(piece.astype(np.float32) / 255)


def _sprites(rng: np.random.Generator, order: TrayOrder, scenery: Scenery, side_px: float) -> list[Sprite]:
    """Return the nuts to choose from, at about twice the resolution of the picture, the steepest last."""
    if order.cutouts and rng.random() < order.cutout_share:
        chosen = rng.integers(len(order.cutouts), size=_DISTINCT)
        return [order.cutouts[int(place)].shrunk(side_px) for place in chosen]
    room, shape = random_room(rng), random_tray_shape(rng)
    count = min(_DISTINCT, max(order.parts[1], 1))
    tilts = np.linspace(0.02, max(scenery.tilt_rad, 0.02), count)
    return [
        draw_sprite(rng, shape, room, side_px=side_px, tilt_rad=float(tilt), defect_share=order.defect_share)
        for tilt in tilts
    ]


def _random_layout(
    rng: np.random.Generator, order: TrayOrder, scenery: Scenery, canvas: tuple[int, int], side_px: float
) -> Layout:
    """Return how the nuts are strewn: a few, many, or a pile, on all of the tray or a part of it."""
    low, high = order.parts
    count = round(low + (high - low) * float(rng.beta(1.1, 2.2)))
    if low == 0 and rng.random() < _EMPTY:
        count = 0
    rows, columns = canvas
    beyond = 0.5 * side_px if scenery.side[0] > 0 or rng.random() < 0.3 else -0.5 * side_px  # noqa: PLR2004
    left, top, right, bottom = -beyond, -beyond, columns + beyond, rows + beyond
    if rng.random() < 0.6:  # noqa: PLR2004 - mostly they lie together
        width, height = (max(4 * side_px, float(rng.uniform(0.35, 1.0)) * side) for side in (columns, rows))
        left = float(rng.uniform(min(left, right - width), max(left, right - width)))
        top = float(rng.uniform(min(top, bottom - height), max(top, bottom - height)))
        right, bottom = left + width, top + height
    return Layout(
        count=count,
        side_px=side_px,
        region=(left, top, right, bottom),
        touching=float(rng.choice([0.15, 0.5, 0.9], p=[0.35, 0.35, 0.3])),
        overlap=float(rng.choice([0.01, 0.06, 0.3], p=[0.4, 0.4, 0.2])),
        pull=int(rng.choice([1, 2, 4])),
    )


@dataclass(slots=True)
class _Hand:
    """Picks a nut for a place, as perspective shows it there."""

    rng: np.random.Generator
    sprites: list[Sprite]
    scenery: Scenery
    canvas: tuple[int, int]
    side_px: float

    def __call__(self, x: float, y: float) -> Patch:
        rows, columns = self.canvas
        off_x, off_y = x - columns / 2, y - rows / 2
        is_drawn = self.sprites[-1].tilt_rad > 0
        if is_drawn and self.scenery.is_radial:
            # The nut leans outwards, and more so towards the corners.
            share = min(math.hypot(off_x, off_y) / (math.hypot(rows, columns) / 2), 1.0)
            place = round(share * (len(self.sprites) - 1) + float(self.rng.normal(0, 1)))
            angle = math.atan2(off_x, -off_y) + float(self.rng.normal(0, 0.15))
        else:
            place = int(self.rng.integers(len(self.sprites)))
            angle = float(self.rng.normal(0, 0.3)) if is_drawn else float(self.rng.uniform(-math.pi, math.pi))
        gain = self.scenery.steel if is_drawn else 1.0
        gain *= float(self.rng.uniform(0.8, 1.25))
        blue, red = self.rng.uniform(0.94, 1.06, 2).tolist()
        return self.sprites[min(max(place, 0), len(self.sprites) - 1)].at(
            x,
            y,
            angle_rad=angle,
            side_px=self.side_px * float(self.rng.uniform(0.94, 1.06)),
            gain_bgr=(gain * blue, gain, gain * red),
        )


def _lay(
    table: NDArray[np.float32], patches: Sequence[Patch], scenery: Scenery
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return the table with shadows and nuts, and the label of each pixel; later nuts lie on top."""
    scene = table.copy()
    labels = np.zeros(table.shape[:2], np.uint16)
    for patch in patches:
        there, here = patch.windows(table.shape)
        scene[there] *= _shade(patch.shade[here], scenery.shadow)
    for label, patch in enumerate(patches, start=1):
        there, here = patch.windows(table.shape)
        part, paint = scene[there], patch.paint[here]
        below = labels[there]
        if below.any():
            part *= np.where(below[..., None] > 0, _shade(patch.shade[here], _ON_NUTS), np.float32(1))
        part *= 1 - paint[..., 3:]
        part += paint[..., :3]
        below[patch.mask[here]] = label
    return scene, labels


def _shade(shade: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Return the light left below a shadow of that strength, float32 `[h, w, 1]`."""
    if shade.size == 0:
        return shade[..., None]
    return np.asarray(cv2.pow(np.ascontiguousarray(shade), strength))[..., None]


def _seen(instances: NDArray[np.uint16], patches: Sequence[Patch]) -> NDArray[np.uint16]:
    """Return the labels of nuts of which enough is seen, renumbered 1, 2, ... in the order they were laid."""
    areas = np.bincount(instances.ravel(), minlength=len(patches) + 1)[1:]
    whole = np.array([max(int(patch.mask.sum()), 1) for patch in patches], np.int64)
    keep = areas >= np.maximum(_LEAST_SEEN * whole, 12) if len(patches) else np.zeros(0, np.bool_)
    numbers = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.uint16)
    return np.asarray(numbers[instances])
