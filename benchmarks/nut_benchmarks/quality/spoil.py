"""Defects drawn into good pictures, of no part in particular: what settings are chosen by, so that no test picture is.

Spots, scratches, foreign surface (as in CutPaste, Li et al. 2021) and rough patches (smoothed noise, as in DRAEM,
Zavrtanik et al. 2021), many of them faint: with plain ones every setting would do.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "spoil"]

_RAGGED = -0.3  # noise above it is inside: about 60%
_FEWEST_PX = 20

_Pixels = NDArray[np.float32]


def spoil(frame: NDArray[np.uint8], other: NDArray[np.uint8], *, kind: int, seed: int) -> NDArray[np.uint8]:
    """Return a good picture with a defect.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        other: Another good picture, which foreign surface is cut from.
        kind: Which of `KINDS`, counted round.
        seed: Same seed, same defect.
    """
    rng = np.random.default_rng(seed)
    pixels = frame.astype(np.float32)
    mask, values = KINDS[kind % len(KINDS)](rng, pixels, other)
    blended = pixels + mask[..., None] * (values - pixels)
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def _spot(rng: np.random.Generator, pixels: _Pixels, other: NDArray[np.uint8]) -> tuple[_Pixels, _Pixels]:
    """A soft ellipse, mostly darker than its place."""
    del other
    height, width = pixels.shape[:2]
    radius = max(2.0, min(height, width) * rng.uniform(0.012, 0.05))
    axes = 2 * radius * rng.uniform(0.6, 1.4, 2)
    centre = rng.uniform(0.08, 0.92, 2) * (width, height)
    mask = _ellipse((height, width), centre, axes, rng.uniform(0, 180))
    contrast = rng.choice([-1, 1], p=[0.7, 0.3]) * rng.uniform(15, 60)
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, radius / 4)), pixels + np.float32(contrast)


def _scratch(rng: np.random.Generator, pixels: _Pixels, other: NDArray[np.uint8]) -> tuple[_Pixels, _Pixels]:
    """A thin line that bends."""
    del other
    height, width = pixels.shape[:2]
    side = min(height, width)
    step, angle = side * rng.uniform(0.1, 0.4) / 6, rng.uniform(0, np.pi)
    points = [rng.uniform(0.15, 0.85, 2) * (width, height)]
    for _ in range(6):
        angle += rng.normal(0, 0.25)
        points.append(points[-1] + step * np.array([np.cos(angle), np.sin(angle)]))
    mask = np.zeros((height, width), np.float32)
    thickness = max(1, round(side * rng.uniform(0.003, 0.012)))
    cv2.polylines(
        mask, [np.rint(points).astype(np.int32)], isClosed=False, color=1.0, thickness=thickness, lineType=cv2.LINE_AA
    )
    return mask, pixels + np.float32(rng.choice([-1, 1], p=[0.6, 0.4]) * rng.uniform(15, 60))


def _foreign(rng: np.random.Generator, pixels: _Pixels, other: NDArray[np.uint8]) -> tuple[_Pixels, _Pixels]:
    """An ellipse of another picture's surface, brought near the brightness of its place."""
    height, width = pixels.shape[:2]
    tall, wide = (max(6, int(min(height, width) * rng.uniform(0.05, 0.18))) for _ in range(2))
    source = cv2.resize(other, (width, height)).astype(np.float32)
    top, left = rng.integers(0, height - tall), rng.integers(0, width - wide)
    y, x = rng.integers(0, height - tall), rng.integers(0, width - wide)
    patch, place = source[top : top + tall, left : left + wide], pixels[y : y + tall, x : x + wide]
    values = pixels.copy()
    values[y : y + tall, x : x + wide] = patch - patch.mean() + place.mean() + np.float32(rng.normal(0, 8))
    return _ellipse((height, width), np.array([x + wide / 2, y + tall / 2]), np.array([wide, tall]), 0), values


def _rough(rng: np.random.Generator, pixels: _Pixels, other: NDArray[np.uint8]) -> tuple[_Pixels, _Pixels]:
    """A patch of fine noise with a ragged edge."""
    del other
    height, width = pixels.shape[:2]
    side = min(height, width)
    centre = rng.uniform(0.15, 0.85, 2) * (width, height)
    whole = _ellipse((height, width), centre, np.full(2, 2 * side * rng.uniform(0.04, 0.12)), 0)
    ragged = whole * (_noise(rng, (height, width), 0.08 * side) > _RAGGED)
    mask = cv2.GaussianBlur(ragged if ragged.sum() >= _FEWEST_PX else whole, (0, 0), 1.0)
    noise = _noise(rng, (height, width), 0.015 * side) * rng.uniform(10, 30) + rng.normal(0, 15)
    return mask, pixels + noise[..., None].astype(np.float32)


def _ellipse(size: tuple[int, int], centre: NDArray[np.float64], axes: NDArray[np.float64], angle: float) -> _Pixels:
    """Return a mask float32 `[H, W]`, 1 inside; axes are whole, in pixels."""
    mask = np.zeros(size, np.float32)
    box = ((float(centre[0]), float(centre[1])), (float(axes[0]), float(axes[1])), angle)
    cv2.ellipse(mask, box, 1.0, -1, cv2.LINE_AA)
    return mask


def _noise(rng: np.random.Generator, size: tuple[int, int], cell_px: float) -> _Pixels:
    """Return smooth noise of spread 1 whose grains are so wide, float32 `[H, W]`."""
    rows, columns = (int(length / max(2.0, cell_px)) + 2 for length in size)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


KINDS: tuple[Callable[[np.random.Generator, _Pixels, NDArray[np.uint8]], tuple[_Pixels, _Pixels]], ...] = (
    _spot,
    _scratch,
    _foreign,
    _rough,
)
"""The kinds of defects."""
