"""What the steel is like at each point of the height map, and its brightness under the lights."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.light import Room, Steel
from nut_dataset.drawing.noise import clouds, grain
from nut_dataset.drawing.shape import Ground, NutShape, Pose, height_map
from nut_runtime.errors import InputError

__all__ = ["Surface", "forge", "shade_surface"]

_MARK_STEPS = 1024
"""Entries per nut unit of the table of turning marks, finer than the pixels."""

_SHADE_PER_HEIGHT = 1.45
"""Share of the light lost per nut unit that the surroundings rise above a point."""
_AROUND_UNITS = 0.12
"""How far the surroundings reach that keep light away, as a Gaussian sigma in nut units."""


@dataclass(slots=True, kw_only=True)
class Surface:
    """Height map and material; a defect changes them in place before shading. Arrays float32 `[H, W]`.

    Attributes:
        height: Above the table, nut units.
        bump_px: Fine relief added to the height, pixels.
        roughness: 0 polished to 1 rough.
        albedo: Factor on the light given back, about 1.
        around: Mean height of the surroundings, nut units: what stands above a point keeps light away.
        paint: Colour of matter that covers the steel, BGR `[H, W, 3]`, or None where there is none.
        cover: How much of the steel the paint hides, 0 to 1, or None.
    """

    height: NDArray[np.float32]
    bump_px: NDArray[np.float32]
    roughness: NDArray[np.float32]
    albedo: NDArray[np.float32]
    around: NDArray[np.float32]
    paint: NDArray[np.float32] | None = None
    cover: NDArray[np.float32] | None = None


def forge(shape: NutShape, ground: Ground, pose: Pose, rng: np.random.Generator) -> Surface:
    """Return the surface of a good nut: form, grain of the metal, wear of the edges.

    Args:
        shape: The nut.
        ground: Coordinates of the map.
        pose: For its scale.
        rng: Draws grain and mottling.
    """
    height = height_map(shape, ground)
    upper = np.clip((height - shape.height + 0.30) * 5, 0.25, 1)  # the walls are smoother than the face
    size = height.shape
    unit = pose.scale_px / 190  # relief keeps its look at other sizes of picture
    mottle = clouds(rng, size, cell_px=14 * unit)
    waves = clouds(rng, size, cell_px=45 * unit)
    fine = grain(rng, size, sigma_px=1.3 * unit)
    in_sink = (ground.r < shape.sink_radius).astype(np.float32)
    # The countersink is turned: its relief runs round the axis. The rest is forged and tumbled.
    rings = _turning_marks(rng, ground.r, count=int(110 * unit) + 8)
    bump = np.float32(unit) * (
        (0.15 - 0.08 * in_sink) * upper * fine + 0.16 * mottle + 0.9 * waves + 0.16 * in_sink * rings
    )
    smooth = cv2.GaussianBlur(height, (0, 0), 1.6 * unit)
    worn = np.clip((height - smooth) * (60 + 25 * mottle), 0, 1)  # convex edges are rubbed bright in the hopper
    roughness = np.clip(0.92 - 0.72 * in_sink - 0.65 * worn + 0.05 * waves, 0, 1)
    albedo = 1 + 0.10 * mottle + 0.08 * waves + 0.10 * upper * fine + 1.1 * worn
    return Surface(
        height=height,
        bump_px=bump.astype(np.float32),
        roughness=roughness.astype(np.float32),
        albedo=np.maximum(albedo, 0.3).astype(np.float32),
        around=_surroundings(height, pose.scale_px),
    )


def _turning_marks(rng: np.random.Generator, r: NDArray[np.float32], *, count: int) -> NDArray[np.float32]:
    """Return relief that depends on the radius alone, as a turning tool leaves it; `count` marks per unit."""
    marks = cv2.resize(
        rng.standard_normal((1, count), dtype=np.float32), (_MARK_STEPS, 1), interpolation=cv2.INTER_CUBIC
    )[0]
    return np.asarray(marks[np.minimum(r * np.float32(_MARK_STEPS), np.float32(_MARK_STEPS - 1)).astype(np.int32)])


def _surroundings(height: NDArray[np.float32], scale_px: float) -> NDArray[np.float32]:
    """Return the mean height around each point of the map."""
    small = cv2.resize(np.maximum(height, 0), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), _AROUND_UNITS * scale_px / 4)
    return np.asarray(cv2.resize(blurred, (height.shape[1], height.shape[0]), interpolation=cv2.INTER_LINEAR))


def shade_surface(surface: Surface, steel: Steel, pose: Pose) -> NDArray[np.float32]:
    """Return the light the camera gets from the bare steel at each point of the map.

    Args:
        surface: Form and material.
        steel: How metal looks in the room.
        pose: For its scale.

    Returns:
        Linear light before the steel's tint, float32 `[H, W]`.
    """
    gx, gy, length = _slopes(surface, pose)
    light = steel.shade(-gx / length, -gy / length, surface.roughness)
    light *= surface.albedo
    light *= np.clip(1 - np.float32(_SHADE_PER_HEIGHT) * (surface.around - surface.height), 0.2, 1)
    return light


def shade_paint(surface: Surface, room: Room, pose: Pose) -> NDArray[np.float32]:
    """Return the light the camera gets from the matter that covers the steel; there must be some.

    Args:
        surface: Form and material.
        room: The lights.
        pose: For its scale.

    Returns:
        Linear light times the cover in the first three channels, and the cover, float32 `[H, W, 4]`, BGR.

    Raises:
        InputError: If nothing covers the steel.
    """
    if surface.paint is None or surface.cover is None:
        raise InputError("nothing covers the steel; set paint and cover first")
    gx, gy, length = _slopes(surface, pose)
    facing = (room.key[2] - room.key[0] * gx - room.key[1] * gy) / length
    matt = (room.ambient + room.key_strength * np.clip(facing, 0, 1)) * surface.cover
    return np.dstack([surface.paint * matt[..., None], surface.cover])


def _slopes(surface: Surface, pose: Pose) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the slopes in x and y, and the length of the normal `(-gx, -gy, 1)`."""
    relief = surface.height * np.float32(pose.scale_px) + surface.bump_px
    gx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    gy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return gx, gy, np.sqrt(gx * gx + gy * gy + 1)
