"""One picture of one nut on a table."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.camera import random_camera, take_picture
from nut_dataset.drawing.defects import DefectKind
from nut_dataset.drawing.layer import draw_layer
from nut_dataset.drawing.light import random_room
from nut_dataset.drawing.shape import Pose, random_shape
from nut_dataset.drawing.table import draw_table
from nut_runtime.errors import InputError

__all__ = ["MIN_SIDE_PX", "DefectKind", "DrawnNut", "draw_nut"]

MIN_SIDE_PX = 64
"""Below this a thread turn is thinner than a pixel."""

_SUPER = 2
"""The scene is drawn this many times larger than the picture, then averaged, so that edges are smooth."""
_MASK_SHARE = 0.2
"""A pixel of the picture counts as defective from this share of altered scene pixels on: any one of four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnNut:
    """A picture and what is true about it.

    Attributes:
        picture: uint8 `[H, W, 3]`, BGR.
        silhouette: True within the nut's outline, bore included, bool `[H, W]`.
        defect: True where a defect changed form or material, bool `[H, W]`; all False on a good nut.
    """

    picture: NDArray[np.uint8]
    silhouette: NDArray[np.bool_]
    defect: NDArray[np.bool_]


def draw_nut(
    rng: np.random.Generator, *, height_px: int = 320, width_px: int = 320, defect: DefectKind | None = None
) -> DrawnNut:
    """Draw a weld nut on a table, as a camera above the line sees it.

    Rotation, place, scale, dimensions, lights, metal, table and camera are drawn from `rng`. The same state
    gives the same nut with and without a defect: pixels differ in and around the defect only.

    Args:
        rng: Source of all chance; it moves on by the same amount in every call.
        height_px: Rows of the picture, at least 64.
        width_px: Columns of the picture, at least 64.
        defect: Kind of defect, or None for a good nut.

    Raises:
        InputError: If a side is too small.
    """
    if min(height_px, width_px) < MIN_SIDE_PX:
        raise InputError(
            f"a drawn nut needs sides of at least {MIN_SIDE_PX} px, got {width_px}x{height_px}; "
            "ask for a larger picture"
        )
    form, metal, damage, lens, floor = (np.random.default_rng(key) for key in rng.integers(0, 2**63, 5))
    canvas = _SUPER * height_px, _SUPER * width_px
    shape, room, camera = random_shape(form), random_room(form), random_camera(lens)
    pose = _random_pose(form, canvas, shape.height)
    layer = draw_layer(shape, pose, room, metal, defect=defect, damage=damage)
    scene = draw_table(floor, canvas)
    layer.shade_table(scene)
    layer.lay_on(scene)
    size = height_px, width_px
    altered = layer.on_canvas(layer.defect.astype(np.float32), canvas)
    return DrawnNut(
        picture=take_picture(camera, scene, size, lens),
        silhouette=_shrink(layer.on_canvas(layer.outline, canvas), size) > 0.5,  # noqa: PLR2004 - more nut than table
        defect=_shrink(altered, size) >= _MASK_SHARE,
    )


def _shrink(field: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(field, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _random_pose(rng: np.random.Generator, canvas: tuple[int, int], nut_height: float) -> Pose:
    """Return a nut near the middle of the canvas, turned any way, and a camera mounted with some play."""
    rows, columns = canvas
    side = min(canvas)
    tilt = math.radians(rng.uniform(17, 25))
    scale = side * rng.uniform(0.285, 0.305)
    shift_x, shift_y = rng.uniform(-0.03, 0.03, 2).tolist()
    # The axis meets the table below the middle, so that the nut as a whole comes to lie in the middle.
    lift = 0.5 * nut_height * scale * math.sin(tilt)
    return Pose(
        x_px=columns / 2 + side * shift_x,
        y_px=rows / 2 + side * shift_y + lift,
        scale_px=scale,
        angle_rad=rng.uniform(-math.pi, math.pi),
        tilt_rad=tilt,
    )
