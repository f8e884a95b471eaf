"""Light and metal: a room of lamps, and how polished and rough steel mirror it, as tables over the normal.

All lights are far away, so brightness depends on the normal alone and a small table of it serves every pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Room", "Steel", "random_room", "steel_tables", "tinted"]

_TABLE_SIDE = 160
"""Entries per side of a table over the normal's x and y, each from -1 to 1."""

_WINDOWS = (
    (0.6, 0.16, 1.6),
    (1.15, 0.30, 2.6),
    (2.05, 0.14, 1.8),
    (2.9, 0.25, 1.4),
    (-2.2, 0.35, 1.8),
    (-0.7, 0.2, 1.1),
)
"""Bearing (radians, from right over down), half-width (radians) and strength of the bright places around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The lights of one picture. Directions are those the light comes from; y points down the picture, z up.

    Attributes:
        key: Unit vector to the main lamp.
        key_strength: Its brightness, about 1.
        fill: Unit vector to a weaker lamp across.
        fill_strength: Its brightness, about 0.4.
        ambient: Light from everywhere, about 0.3.
        windows: Bright places near the horizon: bearing (radians), elevation (sine), half-width (radians) and
            strength of each.
        tint_bgr: Colour of the steel, about 1 in each channel.
    """

    key: tuple[float, float, float]
    key_strength: float
    fill: tuple[float, float, float]
    fill_strength: float
    ambient: float
    windows: tuple[tuple[float, float, float, float], ...]
    tint_bgr: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steel:
    """Brightness over the normal's x and y, float32 `[S, S]`, linear light.

    Attributes:
        polished: Mirror-like: chamfers, edges, thread crests.
        rough: Blasted or cast: faces and walls.
    """

    polished: NDArray[np.float32]
    rough: NDArray[np.float32]

    def shade(
        self, nx: NDArray[np.float32], ny: NDArray[np.float32], roughness: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the brightness of surfaces with normals `(nx, ny)`; all arrays `[H, W]`.

        Args:
            nx: Normal's x, -1 to 1.
            ny: Normal's y, -1 to 1.
            roughness: 0 is polished, 1 is rough.
        """
        half = np.float32((_TABLE_SIDE - 1) / 2)
        column, row = (nx + 1) * half, (ny + 1) * half
        polished = cv2.remap(self.polished, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rough = cv2.remap(self.rough, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(polished + (rough - polished) * roughness)


def tinted(grey: NDArray[np.float32], colour_bgr: Sequence[float]) -> NDArray[np.float32]:
    """Return `grey`, `[H, W]`, times a colour: float32 `[H, W, 3]`, BGR."""
    return np.asarray(cv2.merge([grey * np.float32(channel) for channel in colour_bgr]))


def random_room(rng: np.random.Generator) -> Room:
    """Return the lights of one picture: a lamp from the upper left, give or take, and a weaker one across."""
    azimuth = math.radians(rng.uniform(-160, -80))
    across = azimuth + math.radians(rng.uniform(140, 220))
    turn = rng.uniform(-0.3, 0.3)
    warm = rng.uniform(-0.01, 0.06)
    return Room(
        key=_direction(azimuth, math.radians(rng.uniform(48, 62))),
        key_strength=float(rng.uniform(0.9, 1.12)),
        fill=_direction(across, math.radians(rng.uniform(30, 45))),
        fill_strength=float(rng.uniform(0.3, 0.5)),
        ambient=float(rng.uniform(0.26, 0.34)),
        windows=tuple(
            (
                turn + bearing + float(rng.uniform(-0.12, 0.12)),
                float(rng.uniform(0.05, 0.25)),
                half_width * float(rng.uniform(0.8, 1.2)),
                strength * float(rng.uniform(0.8, 1.2)),
            )
            for bearing, half_width, strength in _WINDOWS
        ),
        tint_bgr=(float(0.96 - warm), float(1.0 + rng.uniform(-0.01, 0.01)), float(1.0 + warm)),
    )


def _direction(azimuth_rad: float, elevation_rad: float) -> tuple[float, float, float]:
    flat = math.cos(elevation_rad)
    return flat * math.cos(azimuth_rad), flat * math.sin(azimuth_rad), math.sin(elevation_rad)


def steel_tables(room: Room, tilt_rad: float) -> Steel:
    """Return how polished and rough steel look in `room` to a camera that leans by `tilt_rad`."""
    axis = np.linspace(-1, 1, _TABLE_SIDE, dtype=np.float32)
    nx, ny = np.meshgrid(axis, axis)
    radius = np.maximum(np.sqrt(nx * nx + ny * ny), 1e-6)
    shrink = np.minimum(1, 0.995 / radius)
    nx, ny = nx * shrink, ny * shrink
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
    view = (0.0, math.sin(tilt_rad), math.cos(tilt_rad))
    facing = ny * view[1] + nz * view[2]
    mirrored = (2 * facing * nx, 2 * facing * ny - view[1], 2 * facing * nz - view[2])
    mirror = _surroundings(room, *mirrored)
    diffuse = np.maximum(nx * room.key[0] + ny * room.key[1] + nz * room.key[2], 0) * room.key_strength
    diffuse += np.maximum(nx * room.fill[0] + ny * room.fill[1] + nz * room.fill[2], 0) * room.fill_strength
    polished = 0.02 * diffuse + 0.92 * mirror
    spread = cv2.GaussianBlur(mirror, (0, 0), _TABLE_SIDE * 0.085, borderType=cv2.BORDER_REPLICATE)
    rough = 0.03 * diffuse + 0.215 * spread
    return Steel(polished=polished.astype(np.float32), rough=rough.astype(np.float32))


def _surroundings(
    room: Room, dx: NDArray[np.floating], dy: NDArray[np.floating], dz: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the brightness of the room in a direction: dim ceiling, dark walls, bright table, lamps."""
    light = (0.05 + 0.13 * np.clip(dz, 0, 1)) * (room.ambient / 0.3)  # a dim ceiling
    light = light + 0.16 * np.clip(-dz * 2.0, 0, 1)  # the table, as the walls see it
    for lamp, strength, tightness in (
        (room.key, room.key_strength, 18.0),
        (room.fill, room.fill_strength, 30.0),
    ):
        along = dx * lamp[0] + dy * lamp[1] + dz * lamp[2]
        light = light + 3.2 * strength / (1 + np.exp(np.minimum((0.94 - along) * 6 * tightness, 60)))
        light = light + 0.45 * strength * np.exp(np.minimum(along - 1, 0) * tightness * 0.4)
    # Windows and lit walls near the horizon: what the countersink, the thread and the edges mirror.
    flat = np.maximum(np.sqrt(dx * dx + dy * dy), 1e-3)
    for bearing, elevation, width, strength in room.windows:
        turned = (dx * math.cos(bearing) + dy * math.sin(bearing)) / flat
        band = np.exp(-np.square((dz - elevation) / 0.20))
        light = light + strength * band / (1 + np.exp(np.minimum((math.cos(width) - turned) * 30, 60)))
    return np.asarray(light)
