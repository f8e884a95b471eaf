"""The nut as a height map: rounded square body, cone-cut corners, countersink and four corner feet."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WALL_SLOPE", "Ground", "NutShape", "Pose", "height_map", "random_shape"]

WALL_SLOPE = 7.0
"""Height lost per unit of width on the outer walls: forged walls lean a little, and the map needs pixels."""
_EDGE_RADIUS = 0.05
"""Rounding of the outer upper edge, in nut units."""
_HALF_TURN = np.float32(math.sqrt(0.5))
"""Sine and cosine of the 45 degrees to the corners."""
_PLUG_DEPTH = 0.03
"""The map closes the bore this far below its lip, so that the lip's slope runs on to its very edge."""
_BELOW = -0.2
"""Where the map ends below the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NutShape:
    """One nut's dimensions in nut units (1 = half the body's width, about 7 mm of an M8 weld nut).

    Attributes:
        height: Of the flat face above the table.
        half_width: Of the body at the face.
        corner_radius: Of the face's outline.
        foot_reach: Distance of the feet's ends from the axis, along the diagonal.
        foot_half_width: Across the diagonal.
        foot_height: Above the table, where the foot leaves the body.
        cone_radius: Beyond this radius the corners of the face are cut by a flat cone.
        sink_radius: Where the countersink meets the face.
        bore_radius: Of the thread's crests.
        sink_depth: Height lost from `sink_radius` to `bore_radius`.
        pitch: Of the thread.
        thread_depth: From crest to root.
        thread_phase: Where the helix begins, in turns.
    """

    height: float
    half_width: float
    corner_radius: float
    foot_reach: float
    foot_half_width: float
    foot_height: float
    cone_radius: float
    sink_radius: float
    bore_radius: float
    sink_depth: float
    pitch: float
    thread_depth: float
    thread_phase: float

    @property
    def lip_height(self) -> float:
        """Height above the table at which the bore begins."""
        return self.height - self.sink_depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where the nut lies and how the camera looks at it. The camera leans towards the picture's lower edge.

    Attributes:
        x_px: Column of the axis at the table.
        y_px: Row of the axis at the table.
        scale_px: Pixels per nut unit.
        angle_rad: In-plane rotation.
        tilt_rad: Angle between the line of sight and the vertical.
    """

    x_px: float
    y_px: float
    scale_px: float
    angle_rad: float
    tilt_rad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Coordinates of each pixel of the height map, float32 `[H, W]`, nut units.

    Attributes:
        x: To the right from the axis, in the picture's directions.
        y: Downwards from the axis, in the picture's directions.
        u: Along one side of the nut.
        w: Along the other side.
        r: Distance from the axis.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    u: NDArray[np.float32]
    w: NDArray[np.float32]
    r: NDArray[np.float32]

    @classmethod
    def of(cls, pose: Pose, shape: tuple[int, int]) -> "Ground":
        """Return the coordinates of a map of `shape` rows and columns under `pose`."""
        rows, columns = shape
        x = (np.arange(columns, dtype=np.float32) - np.float32(pose.x_px)) / np.float32(pose.scale_px)
        y = (np.arange(rows, dtype=np.float32) - np.float32(pose.y_px)) / np.float32(
            pose.scale_px * math.cos(pose.tilt_rad)
        )
        cosine, sine = np.float32(math.cos(pose.angle_rad)), np.float32(math.sin(pose.angle_rad))
        x_map, y_map = np.broadcast_to(x, shape), np.broadcast_to(y[:, None], shape)
        return cls(
            x=x_map,
            y=y_map,
            u=cosine * x + (sine * y)[:, None],
            w=(cosine * y)[:, None] - sine * x,
            r=np.sqrt(x * x + (y * y)[:, None]),
        )


def random_shape(rng: np.random.Generator) -> NutShape:
    """Return a good nut: the scatter is that of a forging tool, a percent or two."""
    near = rng.uniform(-1, 1, 10).tolist()
    return NutShape(
        height=0.86 + 0.02 * near[0],
        half_width=0.93 + 0.01 * near[1],
        corner_radius=0.50 + 0.04 * near[2],
        foot_reach=1.29 + 0.025 * near[3],
        foot_half_width=0.40 + 0.02 * near[4],
        foot_height=0.56 + 0.04 * near[5],
        cone_radius=0.945 + 0.015 * near[6],
        sink_radius=0.755 + 0.012 * near[7],
        bore_radius=0.605 + 0.008 * near[8],
        sink_depth=0.135 + 0.012 * near[9],
        pitch=0.175,
        thread_depth=0.075,
        thread_phase=float(rng.uniform()),
    )


def height_map(shape: NutShape, ground: Ground) -> NDArray[np.float32]:
    """Return the height above the table at each pixel, seen straight from above.

    The bore is closed at the lip: what lies below is drawn by `bore.draw_bore`.

    Args:
        shape: The nut.
        ground: Coordinates, each `[H, W]`.

    Returns:
        Heights in nut units, float32 `[H, W]`; the surface is carried on below the table, which lies at 0.
    """
    au, aw = np.abs(ground.u), np.abs(ground.w)
    body = shape.height - _edge_drop(_rounded_square(au, aw, shape.half_width, shape.corner_radius))
    cone = shape.height - 0.42 * (ground.r - shape.cone_radius)
    sink = shape.height - (shape.sink_radius - ground.r) * (shape.sink_depth / (shape.sink_radius - shape.bore_radius))
    body = np.minimum(np.minimum(body, cone), np.maximum(sink, shape.lip_height - _PLUG_DEPTH))
    along, across = (au + aw) * _HALF_TURN, np.abs(au - aw) * _HALF_TURN
    foot = _foot(shape, along, across)
    return np.asarray(np.maximum(np.maximum(body, foot), _BELOW), np.float32)


def _rounded_square(
    au: NDArray[np.float32], aw: NDArray[np.float32], half_width: float, radius: float
) -> NDArray[np.float32]:
    """Return the signed distance to a rounded square, negative inside."""
    du, dw = au - np.float32(half_width - radius), aw - np.float32(half_width - radius)
    outside = np.sqrt(np.square(np.maximum(du, 0)) + np.square(np.maximum(dw, 0)))
    return np.asarray(outside + np.minimum(np.maximum(du, dw), 0) - np.float32(radius), np.float32)


def _edge_drop(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far a rounded edge and the leaning wall beyond it lie below the face."""
    t = np.clip(distance / np.float32(_EDGE_RADIUS) + 1, 0, 0.98)
    rounded = np.float32(_EDGE_RADIUS) * (1 - np.sqrt(1 - t * t))
    return np.asarray(rounded + np.maximum(distance, 0) * np.float32(WALL_SLOPE), np.float32)


def _foot(shape: NutShape, along: NDArray[np.float32], across: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the height of the corner feet; negative where there is none.

    The foot narrows outwards, and its back falls away from the body.
    """
    width = shape.foot_half_width - 0.55 * (along - 1.0)
    distance = np.maximum(along - shape.foot_reach, across - width)
    back = shape.foot_height - 0.30 * (along - 1.0) - 1.2 * np.square(across)
    return np.asarray(back - _edge_drop(distance), np.float32)
