"""Lines and blots in the plane of the face, the brushes that defects are painted with."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["distance_to_line", "ragged", "wander"]


def wander(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading_rad: float,
    *,
    length: float,
    steps: int,
    jitter_rad: float,
    bend_rad: float,
) -> NDArray[np.float32]:
    """Return a line that goes roughly one way.

    Args:
        rng: Source of the jitter.
        start: First point.
        heading_rad: Direction at the start.
        length: Of the line.
        steps: Number of straight pieces.
        jitter_rad: Deviation of each piece's direction; large for a crack, small for a scratch.
        bend_rad: Turn of the direction from start to end.

    Returns:
        Points, float32 `[steps + 1, 2]`.
    """
    heading = heading_rad + bend_rad * np.linspace(0, 1, steps) + jitter_rad * rng.standard_normal(steps)
    pieces = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / steps)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(pieces, axis=0)]).astype(np.float32) + np.array(
        start, np.float32
    )


def distance_to_line(
    x: NDArray[np.float32], y: NDArray[np.float32], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distance of each place to a line of straight pieces, and how far along the line it is.

    Args:
        x: Coordinates, float32 `[H, W]`.
        y: Coordinates, float32 `[H, W]`.
        points: The line, float32 `[N, 2]`, N >= 2.

    Returns:
        Distance, and position 0 (start) to 1 (end) of the nearest point; both float32 `[H, W]`.
    """
    nearest = np.full(x.shape, np.inf, np.float32)
    position = np.zeros(x.shape, np.float32)
    count = len(points) - 1
    for i, (a, b) in enumerate(pairwise(points)):
        dx, dy = b - a
        t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, np.float32(1e-9)), 0, 1)
        distance = np.square(x - a[0] - t * dx) + np.square(y - a[1] - t * dy)
        closer = distance < nearest
        nearest = np.where(closer, distance, nearest)
        position = np.where(closer, (i + t) / np.float32(count), position)
    return np.sqrt(nearest), position


def ragged(
    rng: np.random.Generator,
    angle: NDArray[np.float32],
    *,
    centre_rad: float,
    half_width_rad: float,
    teeth: int,
) -> NDArray[np.float32]:
    """Return a jagged hump over the angle: 0 outside, up to 1 inside `half_width_rad` of the centre.

    Args:
        rng: Draws the teeth.
        angle: Angles, any shape, any number of turns.
        centre_rad: Middle of the hump.
        half_width_rad: Where it ends.
        teeth: How many jags it has.

    Returns:
        Values 0 to 1, float32, shape of `angle`.
    """
    knots = np.linspace(-1, 1, teeth + 2)
    values = np.sqrt(np.maximum(1 - knots**2, 0)) * rng.uniform(0.45, 1.0, teeth + 2)
    off = np.mod(angle - centre_rad + math.pi, 2 * math.pi) - math.pi
    return np.interp(off / half_width_rad, knots, values, left=0, right=0).astype(np.float32)
