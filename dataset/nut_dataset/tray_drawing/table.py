"""The table below the nuts: paper with edges, or a tray with rim and tape."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.noise import clouds, grain
from nut_dataset.tray_drawing.scenery import Scenery

__all__ = ["draw_tray_table"]

_BLUE = (0.62, 0.16, 0.02)
"""Painter's tape, linear light, BGR."""
_TAPES = (_BLUE, _BLUE, _BLUE, _BLUE, (0.55, 0.30, 0.12), (0.05, 0.42, 0.55), (0.05, 0.05, 0.05), (0.35, 0.5, 0.62))
_WALLS = ((0.85, 0.9, 0.92), (0.6, 0.62, 0.63), (0.30, 0.52, 0.68), (0.01, 0.01, 0.01), (0.2, 0.2, 0.2))
"""What is seen beyond the rim: white board, grey, wood, darkness."""


def draw_tray_table(rng: np.random.Generator, scenery: Scenery, canvas: tuple[int, int]) -> NDArray[np.float32]:
    """Return the table without anything on it, linear light, float32 `[H, W, 3]`, BGR."""
    table = _sheet(rng, scenery, canvas)
    for _ in range(scenery.sheets):
        _paper_edge(rng, table)
    sides = rng.permutation(4)
    for side in sides[: int(rng.integers(1, 4)) if scenery.walls else 0]:
        _rim(rng, table, int(side), scenery.brightness)
    first = int(rng.integers(2))
    for place in range(scenery.tape):  # mostly above and below, opposite each other
        is_usual = rng.random() < 0.8  # noqa: PLR2004 - a share
        _tape(rng, table, (first + place) % 2 if is_usual else int(rng.integers(4)), scenery)
    return table


def _sheet(rng: np.random.Generator, scenery: Scenery, canvas: tuple[int, int]) -> NDArray[np.float32]:
    """Return an unevenly lit surface with blotches, fibres and specks."""
    rows, columns = canvas
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    slope = rng.uniform(-0.28, 0.28, 2).astype(np.float32)
    light = 1 + slope[0] * x + slope[1] * y
    light = light + np.float32(rng.uniform(0, 0.08)) * clouds(rng, canvas, cell_px=columns / 4)
    light += np.float32(rng.uniform(0, 0.04)) * clouds(rng, canvas, cell_px=columns / 20)
    light += np.float32(rng.uniform(0, 0.03)) * clouds(rng, canvas, cell_px=3)
    light += np.float32(rng.uniform(0, 0.02)) * grain(rng, canvas, sigma_px=0)
    colours = [scenery.brightness * channel for channel in scenery.tint_bgr]
    return np.maximum(cv2.merge([light * np.float32(channel) for channel in colours]), 0.0)


def _side_distance(
    rng: np.random.Generator, canvas: tuple[int, ...], side: int, *, lean_rad: float
) -> NDArray[np.float32]:
    """Return how far each pixel is from a side (0 above, 1 below, 2 left, 3 right) that leans a little."""
    rows, columns = canvas[:2]
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)[None]
    along, across = (x, y) if side < 2 else (y, x)  # noqa: PLR2004 - above and below
    if side in {1, 3}:
        across = (rows if side == 1 else columns) - 1 - across
    half = (columns if side < 2 else rows) / 2  # noqa: PLR2004 - above and below
    return np.asarray(across + np.float32(math.tan(rng.uniform(-lean_rad, lean_rad))) * (along - np.float32(half)))


def _mix(table: NDArray[np.float32], share: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
    """Cover `table` with a colour, in place."""
    table += share[..., None] * (colour - table)


def _paper_edge(rng: np.random.Generator, table: NDArray[np.float32]) -> None:
    """Lay another sheet over one side of the table, a little brighter or darker, its edge in a thin shade."""
    distance = _side_distance(rng, table.shape, int(rng.integers(4)), lean_rad=0.15)
    reach = np.float32(min(table.shape[:2]) * rng.uniform(0.04, 0.45))
    inside = np.clip(reach - distance + 0.5, 0, 1)
    shade = np.exp(-np.square((distance - reach) / np.float32(rng.uniform(0.7, 5)))) * (distance > reach)
    table *= (1 + np.float32(rng.uniform(-0.3, 0.25)) * inside - np.float32(rng.uniform(0, 0.3)) * shade)[..., None]


def _rim(rng: np.random.Generator, table: NDArray[np.float32], side: int, brightness: float) -> None:
    """Draw the tray's rim along one side: what lies beyond, and the glass's lines, bright and dark."""
    distance = _side_distance(rng, table.shape, side, lean_rad=0.12)
    reach = np.float32(min(table.shape[:2]) * rng.uniform(0.02, 0.28))
    beyond = np.array(_WALLS[int(rng.integers(len(_WALLS)))], np.float32) * np.float32(rng.uniform(0.6, 1.2))
    beyond = beyond * np.float32(max(brightness, 0.5))
    softness = np.float32(rng.uniform(0.5, 3))
    pattern = 1 + np.float32(0.15) * clouds(rng, (table.shape[0], table.shape[1]), cell_px=60)
    _mix(table, np.clip((reach - distance) / softness + 0.5, 0, 1), beyond * pattern[..., None])
    for _ in range(int(rng.integers(1, 5))):
        place = reach + np.float32(rng.uniform(-0.8, 0.5) * reach)
        line = np.exp(-np.square((distance - place) / np.float32(rng.uniform(0.5, 6))))
        level = np.float32(rng.choice([0.02, 0.3, 1.3, 1.6]))
        _mix(table, np.float32(rng.uniform(0.3, 1)) * line, np.array([level] * 3, np.float32))


def _tape(rng: np.random.Generator, table: NDArray[np.float32], side: int, scenery: Scenery) -> None:
    """Stick tape along one side, its fibres showing."""
    canvas = table.shape[0], table.shape[1]
    distance = _side_distance(rng, canvas, side, lean_rad=0.05)
    width = min(canvas) * rng.uniform(0.04, 0.16)
    begin = min(canvas) * rng.uniform(-0.05, 0.12)
    inside = np.clip(np.minimum(distance - np.float32(begin), np.float32(begin + width) - distance) + 0.5, 0, 1)
    kind = np.array(_TAPES[int(rng.integers(len(_TAPES)))])
    colour = kind * rng.uniform(0.5, 1.5) * max(scenery.brightness, 0.3) * rng.uniform(0.8, 1.2, 3)
    fibres = 1 + np.float32(0.12) * clouds(rng, canvas, cell_px=2.5) + np.float32(0.08) * clouds(rng, canvas, cell_px=9)
    if rng.random() < 0.5:  # noqa: PLR2004 - every other strip ends within the picture
        along = _side_distance(rng, canvas, (side + 2) % 4, lean_rad=0.02)
        inside *= np.clip(along - np.float32(rng.uniform(0, 0.3) * max(canvas)), 0, 1)
    _mix(table, np.asarray(inside, np.float32), (colour * fibres[..., None]).astype(np.float32))
