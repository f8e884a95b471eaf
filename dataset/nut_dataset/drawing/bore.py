"""The threaded bore: each line of sight through the lip is followed down to the wall or the table."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.shape import NutShape, Pose

__all__ = ["AngleProfile", "BoreView", "ThreadProfile", "look_into_bore"]

_NEARNESS = 0.12
"""Reciprocal of the camera's distance in nut units: lines of sight spread by this much per unit of depth."""

AngleProfile = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From the angle in the nut's frame (radians) to a length that the lip sticks out into the bore."""
ThreadProfile = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""From angle in the nut's frame (radians) and depth below the lip to how much thread is there, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoreView:
    """What is seen through the lip, within the window `rows`, `columns` of the picture; arrays `[h, w]`.

    Attributes:
        rows: Window in the picture.
        columns: Window in the picture.
        inside: How much of the pixel looks past the lip, 0 to 1.
        wall: How much of that ends on the thread, 0 to 1; the rest ends on the table.
        nx: Normal's x on the wall.
        ny: Normal's y on the wall.
        openness: Light that reaches the place, 0 to 1.
        x: Where the line of sight meets the table, nut units from the axis.
        y: Where the line of sight meets the table, nut units from the axis.
        angle: Of the place on the wall, in the nut's frame, radians.
        depth: Of the place on the wall below the lip, nut units.
    """

    rows: slice
    columns: slice
    inside: NDArray[np.float32]
    wall: NDArray[np.float32]
    nx: NDArray[np.float32]
    ny: NDArray[np.float32]
    openness: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.float32]
    depth: NDArray[np.float32]


def look_into_bore(
    shape: NutShape,
    pose: Pose,
    picture_shape: tuple[int, int],
    *,
    lip: AngleProfile | None = None,
    thread: ThreadProfile | None = None,
) -> BoreView:
    """Return what the camera sees through the lip of the bore.

    Args:
        shape: The nut.
        pose: Where it lies, how the camera leans.
        picture_shape: Rows and columns of the picture, to cut the window at its border.
        lip: Material that sticks out into the bore (a burr); none by default.
        thread: Where the thread is; everywhere by default.
    """
    sine, cosine = math.sin(pose.tilt_rad), math.cos(pose.tilt_rad)
    lip_row = pose.y_px - shape.lip_height * pose.scale_px * sine
    reach = shape.bore_radius * pose.scale_px + 2
    rows = slice(max(int(lip_row - reach), 0), min(int(lip_row + reach) + 1, picture_shape[0]))
    columns = slice(max(int(pose.x_px - reach), 0), min(int(pose.x_px + reach) + 1, picture_shape[1]))
    x0 = ((np.arange(columns.start, columns.stop) - pose.x_px) / pose.scale_px).astype(np.float32)[None]
    y0 = ((np.arange(rows.start, rows.stop) - lip_row) / (pose.scale_px * cosine)).astype(np.float32)[:, None]
    radius = np.sqrt(x0 * x0 + y0 * y0)
    edge = np.full(radius.shape, shape.bore_radius, np.float32)
    if lip is not None:
        edge -= lip(np.arctan2(y0, x0) - np.float32(pose.angle_rad))
    inside = np.clip((edge - radius) * np.float32(pose.scale_px) + np.float32(0.5), 0, 1)
    # Going down by 1, the line of sight moves by (step_x, step_y).
    step_x, step_y = _NEARNESS * x0, _NEARNESS * y0 - np.float32(math.tan(pose.tilt_rad))
    depth = _wall_depth(x0, y0, step_x, step_y, shape.bore_radius)
    x, y = x0 + step_x * depth, y0 + step_y * depth
    angle = np.arctan2(y, x) - np.float32(pose.angle_rad)
    amount = np.float32(1) if thread is None else thread(angle, depth)
    lean, recess = _thread(shape, angle, depth)
    lean = np.float32(0.12) + (lean - np.float32(0.12)) * amount
    # The wall's normal points to the axis, and the flanks of the thread lean it up.
    inwards = -np.sqrt(1 - lean * lean) / np.maximum(np.sqrt(x * x + y * y), np.float32(1e-3))
    openness = 1 - np.float32(0.92) * recess * amount
    openness *= 1 - (1 - amount) * _drill_marks(shape, depth)
    openness *= 0.30 + 0.70 * np.exp(-1.5 * np.maximum(depth, 0) / shape.lip_height)
    # Near the wall's foot the depth changes by about 1 / tan(tilt) pixels from one pixel to the next.
    soft = np.float32(pose.scale_px * max(math.tan(pose.tilt_rad), 0.05))
    wall = np.clip((shape.lip_height - depth) * soft + np.float32(0.5), 0, 1)
    fall = np.float32(shape.lip_height)
    return BoreView(
        rows=rows,
        columns=columns,
        inside=inside,
        wall=wall,
        nx=(x * inwards).astype(np.float32),
        ny=(y * inwards).astype(np.float32),
        openness=openness.astype(np.float32),
        x=np.broadcast_to(x0 + step_x * fall, inside.shape),
        y=np.broadcast_to(y0 + step_y * fall, inside.shape),
        angle=angle,
        depth=depth,
    )


def _wall_depth(
    x0: NDArray[np.float32],
    y0: NDArray[np.float32],
    step_x: NDArray[np.float32],
    step_y: NDArray[np.float32],
    radius: float | NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return how far below the lip each line of sight meets a cylinder: the larger root of a quadratic."""
    a = np.maximum(step_x * step_x + step_y * step_y, np.float32(1e-6))
    b = x0 * step_x + y0 * step_y
    c = x0 * x0 + y0 * y0 - radius * radius
    return np.asarray((np.sqrt(np.maximum(b * b - a * c, 0)) - b) / a, np.float32)


def _drill_marks(shape: NutShape, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of light lost to the rings that a drill leaves where there is no thread."""
    wave = (depth / np.float32(shape.bore_radius) + np.float32(shape.thread_phase)) * np.float32(19)
    return np.float32(0.16) + np.float32(0.08) * (np.sin(wave) + np.sin(wave * np.float32(2.7)))


def _thread(
    shape: NutShape, angle: NDArray[np.float32], depth: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how the flank leans up (0 level, 1 up) and how deep it lies in the shade of the turn above.

    The camera looks almost along the axis, so of each turn it sees the upper flank only: it comes out of the
    shade below the turn above, faces up, and rounds off at its crest.
    """
    turns = depth / np.float32(shape.pitch) + angle / np.float32(2 * math.pi) + np.float32(shape.thread_phase)
    t = turns - np.floor(turns)
    lean = np.float32(0.88) * (1 - t * t)
    shade = np.clip(1 - t / np.float32(0.42), 0, 1)
    crest = np.clip((t - np.float32(0.86)) / np.float32(0.14), 0, 1)
    return lean, np.maximum(shade * shade * (3 - 2 * shade), crest)
