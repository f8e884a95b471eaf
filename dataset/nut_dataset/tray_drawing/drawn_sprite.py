"""Sprites of drawn nuts: the nuts of `nut_dataset.drawing`, with more play in their dimensions."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.defects import DefectKind
from nut_dataset.drawing.layer import NutLayer, draw_layer
from nut_dataset.drawing.light import Room
from nut_dataset.drawing.shape import NutShape, Pose, random_shape
from nut_dataset.tray_drawing.sprite import Sprite

__all__ = ["DEFECT_SHARE", "draw_sprite", "random_tray_shape"]

_SIDE_UNITS = 1.9
"""Side of the square with a nut's area, in nut units, roughly."""
_SUPER = 2
"""Sprites have this many pixels for one of the picture's, so that they can be turned without harm."""
DEFECT_SHARE = 0.15
"""Share of nuts with a defect: those must be found as well."""
_WITH_DARK_FEET = 0.6
"""Share of nuts whose feet are dark on one side."""
_BODY_REACH = 0.95
"""Distance from the axis, in nut units, beyond which a nut is mostly feet."""


def random_tray_shape(rng: np.random.Generator) -> NutShape:
    """Return the dimensions of one lot: a locator meets more kinds of weld nut than a judge."""
    bore = float(rng.uniform(0.50, 0.64))
    height = float(rng.uniform(0.6, 0.95))
    half_width = float(rng.uniform(0.83, 0.93))
    return replace(
        random_shape(rng),
        height=height,
        half_width=half_width,
        corner_radius=float(rng.uniform(0.3, 0.6)),
        foot_reach=float(rng.uniform(1.20, 1.38)),
        foot_half_width=float(rng.uniform(0.30, 0.44)),
        foot_height=height * float(rng.uniform(0.4, 0.98)),
        bore_radius=bore,
        sink_radius=min(bore + float(rng.uniform(0.08, 0.2)), half_width - 0.06),
        cone_radius=float(rng.uniform(0.93, 1.15)),
    )


def draw_sprite(
    rng: np.random.Generator,
    shape: NutShape,
    room: Room,
    *,
    side_px: float,
    tilt_rad: float,
    defect_share: float = DEFECT_SHARE,
) -> Sprite:
    """Draw one nut, or one with a defect.

    Args:
        rng: Draws turn, grain and defect.
        shape: Its dimensions.
        room: The lights of the tray.
        side_px: How large it will be in the picture.
        tilt_rad: Angle between the line of sight and its axis.
        defect_share: How likely it has a defect.
    """
    kinds = list(DefectKind)
    defect = kinds[int(rng.integers(len(kinds)))] if rng.random() < defect_share else None
    pose = Pose(
        x_px=0.0,
        y_px=0.0,
        scale_px=_SUPER * side_px / _SIDE_UNITS,
        angle_rad=float(rng.uniform(-math.pi, math.pi)),
        tilt_rad=tilt_rad,
    )
    feet = _dark_feet(rng)
    metal, damage = (np.random.default_rng(key) for key in rng.integers(0, 2**63, 2))
    sprite = _centred(draw_layer(shape, pose, room, metal, defect=defect, damage=damage), tilt_rad)
    if feet is not None:
        _darken(sprite, *feet)
    return sprite


def _dark_feet(rng: np.random.Generator) -> tuple[float, float] | None:
    """Return how much darker the feet on one side are, and which side (radians); None where they are not.

    Forged feet fall away from the light and are black with scale: in photos of piles they look like gaps.
    """
    strength, bearing = float(rng.uniform(0.3, 0.95)), float(rng.uniform(-math.pi, math.pi))
    return (strength, bearing) if rng.random() < _WITH_DARK_FEET else None


def _darken(sprite: Sprite, strength: float, bearing_rad: float) -> None:
    """Take light from the feet, in place."""
    rows, columns = sprite.outline.shape
    unit = sprite.side_px / _SIDE_UNITS
    y = (np.arange(rows, dtype=np.float32)[:, None] - np.float32((rows - 1) / 2)) / np.float32(unit)
    x = (np.arange(columns, dtype=np.float32)[None] - np.float32((columns - 1) / 2)) / np.float32(unit)
    radius = np.sqrt(x * x + y * y)
    towards = (x * np.float32(math.cos(bearing_rad)) + y * np.float32(math.sin(bearing_rad))) / np.maximum(radius, 1e-3)
    beyond = np.clip((radius - np.float32(_BODY_REACH)) / np.float32(0.08), 0, 1)
    sprite.paint[..., :3] *= (1 - np.float32(strength) * beyond * np.clip(0.5 + 0.8 * towards, 0, 1))[..., None]


def _centred(layer: NutLayer, tilt_rad: float) -> Sprite:
    """Return the layer as a sprite: all arrays as large as the shadow's, the outline's middle in the middle."""
    margin = layer.margin_px
    paint = np.dstack([layer.light, layer.cover])
    rows, columns = (np.flatnonzero(layer.outline.max(axis=axis) > 0.5) for axis in (1, 0))  # noqa: PLR2004 - half
    off_y = round((rows[0] + rows[-1]) / 2 - (layer.outline.shape[0] - 1) / 2)
    off_x = round((columns[0] + columns[-1]) / 2 - (layer.outline.shape[1] - 1) / 2)
    # Room on the side that the middle is nearer to brings it to the middle.
    above, below, left, right = 2 * max(-off_y, 0), 2 * max(off_y, 0), 2 * max(-off_x, 0), 2 * max(off_x, 0)

    def framed(field: NDArray[np.float32], border: int) -> NDArray[np.float32]:
        """Return a field within more room: empty, or for the shadow as at its edge."""
        kind = cv2.BORDER_CONSTANT if border else cv2.BORDER_REPLICATE
        sides = border + above, border + below, border + left, border + right
        return np.asarray(cv2.copyMakeBorder(field, sides[0], sides[1], sides[2], sides[3], kind))

    return Sprite(
        paint=framed(paint, margin),
        outline=framed(layer.outline, margin),
        shade=framed(layer.table_light, 0),
        tilt_rad=tilt_rad,
    )
