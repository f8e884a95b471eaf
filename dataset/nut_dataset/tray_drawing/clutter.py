"""Things in view that are no nuts: shadows of what is out of sight, rods, discs, scraps, pen marks, dust, glints."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_clutter", "add_dust"]

_WIDE_BLUR_PX = 6


def add_clutter(rng: np.random.Generator, table: NDArray[np.float32], *, count: int, side_px: float) -> None:
    """Put things on the table, in place.

    Args:
        rng: Draws them.
        table: Linear light, float32 `[H, W, 3]`.
        count: How many.
        side_px: Side of a nut, which decides how large they are.
    """
    for _ in range(count):
        kind = int(rng.choice(6, p=[0.3, 0.2, 0.1, 0.15, 0.15, 0.1]))
        (_shadow, _rod, _disc, _scrap, _pen, _glint)[kind](rng, table, side_px)


def add_dust(rng: np.random.Generator, table: NDArray[np.float32]) -> None:
    """Strew specks of a pixel or two, in place."""
    share = np.zeros(table.shape[:2], np.float32)
    for _ in range(int(rng.integers(0, 25))):
        x, y = (float(rng.uniform(0, side)) for side in (table.shape[1], table.shape[0]))
        _blob(share, x, y, float(rng.uniform(0.4, 1.6)), float(rng.uniform(0.2, 0.9)))
    table += share[..., None] * (np.float32(rng.choice([0.05, 0.3, 1.5])) - table)


def _anywhere(rng: np.random.Generator, table: NDArray[np.float32]) -> tuple[float, float]:
    return float(rng.uniform(0, table.shape[1])), float(rng.uniform(0, table.shape[0]))


def _blob(share: NDArray[np.float32], x: float, y: float, sigma: float, strength: float) -> None:
    """Add a soft spot to a field, in place."""
    reach = math.ceil(3 * sigma)
    rows = slice(max(int(y) - reach, 0), int(y) + reach + 1)
    columns = slice(max(int(x) - reach, 0), int(x) + reach + 1)
    part = share[rows, columns]
    yy = np.arange(rows.start, rows.start + part.shape[0], dtype=np.float32)[:, None] - np.float32(y)
    xx = np.arange(columns.start, columns.start + part.shape[1], dtype=np.float32)[None] - np.float32(x)
    part += np.float32(strength) * np.exp(-(yy * yy + xx * xx) / np.float32(2 * sigma * sigma))


def _polygon_share(canvas: tuple[int, ...], points: NDArray[np.floating], *, blur_px: float) -> NDArray[np.float32]:
    """Return how much of each pixel a polygon covers."""
    share = np.zeros(canvas[:2], np.float32)
    fixed = np.rint(np.asarray(points) * 16).astype(np.int32)
    cv2.fillPoly(share, [fixed], 1.0, lineType=cv2.LINE_8, shift=4)
    if blur_px < _WIDE_BLUR_PX:
        return np.asarray(cv2.GaussianBlur(share, (0, 0), blur_px))
    # A wide blur leaves nothing that a smaller picture would not show, and takes long on a large one.
    small = cv2.resize(share, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), blur_px / 4)
    return np.asarray(cv2.resize(soft, (canvas[1], canvas[0]), interpolation=cv2.INTER_LINEAR))


def _box(rng: np.random.Generator, x: float, y: float, length: float, width: float) -> NDArray[np.floating]:
    """Return the corners of a rectangle turned at random."""
    angle = rng.uniform(0, math.pi)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    corners = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    return corners @ turn + (x, y)


def _cover(table: NDArray[np.float32], share: NDArray[np.float32], colour: NDArray[np.floating]) -> None:
    table += share[..., None] * (colour.astype(np.float32) - table)


def _shadow(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """The shadow of a hand, a lamp or a nut that was taken away."""
    x, y = _anywhere(rng, table)
    corners = _box(rng, x, y, side_px * rng.uniform(0.8, 6), side_px * rng.uniform(0.6, 3))
    share = _polygon_share(table.shape, corners, blur_px=side_px * rng.uniform(0.1, 1.0))
    table *= (1 - np.float32(rng.uniform(0.2, 0.8)) * share)[..., None]


def _rod(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """A bolt, nail or wire: bright along its middle."""
    x, y = _anywhere(rng, table)
    length, width = side_px * rng.uniform(1, 6), side_px * rng.uniform(0.06, 0.4)
    corners = _box(rng, x, y, length, width)
    shade = _polygon_share(table.shape, corners + side_px * 0.08, blur_px=side_px * 0.08)
    table *= (1 - 0.5 * shade)[..., None]
    share = _polygon_share(table.shape, corners, blur_px=0.6)
    upper = np.array([corners[0], corners[1], corners[1], corners[0]])
    upper[2:] += 0.4 * (corners[2] - corners[1])
    _cover(table, share, np.full(3, rng.uniform(0.02, 0.3)))
    _cover(table, 0.6 * _polygon_share(table.shape, upper, blur_px=0.8), np.full(3, rng.uniform(0.2, 1.0)))


def _disc(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """A coin, a rivet's head, a drop: no bore."""
    x, y = _anywhere(rng, table)
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    radius = side_px * rng.uniform(0.15, 0.7)
    points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle) * rng.uniform(0.8, 1)], axis=1)
    _cover(table, _polygon_share(table.shape, points, blur_px=0.7), rng.uniform(0.02, 0.6) * rng.uniform(0.6, 1, 3))


def _scrap(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """A scrap of paper, tape or rubber."""
    x, y = _anywhere(rng, table)
    corners = _box(rng, x, y, side_px * rng.uniform(0.5, 3), side_px * rng.uniform(0.3, 2))
    corners = corners + rng.uniform(-0.15, 0.15, corners.shape) * side_px
    _cover(table, _polygon_share(table.shape, corners, blur_px=0.7), rng.uniform(0.01, 1.2) * rng.uniform(0.3, 1, 3))


def _pen(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """Writing, a crack in the glass, a hair."""
    x, y = _anywhere(rng, table)
    count = int(rng.integers(4, 14))
    turns = rng.uniform(-math.pi, math.pi) + np.cumsum(rng.normal(0, rng.uniform(0.1, 1.2), count))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * side_px * rng.uniform(0.1, 0.5)
    points = np.rint((np.cumsum(steps, axis=0) + np.array([x, y])) * 16).astype(np.int32)
    share = np.zeros(table.shape[:2], np.float32)
    width = int(rng.integers(1, 4))
    cv2.polylines(share, [points], isClosed=False, color=1.0, thickness=width, lineType=cv2.LINE_8, shift=4)
    _cover(table, 0.9 * cv2.GaussianBlur(share, (0, 0), 0.6), rng.uniform(0.01, 0.4) * rng.uniform(0.3, 1, 3))


def _glint(rng: np.random.Generator, table: NDArray[np.float32], side_px: float) -> None:
    """A lamp mirrored in the glass."""
    share = np.zeros(table.shape[:2], np.float32)
    x, y = _anywhere(rng, table)
    _blob(share, x, y, side_px * float(rng.uniform(0.1, 2.5)), float(rng.uniform(0.2, 1.2)))
    table += share[..., None]
