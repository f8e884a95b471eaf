"""The camera: lens blur, vignette, tone curve, sensor noise, eight bits."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "random_camera", "take_picture"]

_BRIGHTEST = 1.6
"""Light at which the sensor is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Settings of one exposure.

    Attributes:
        exposure: Factor on the light.
        blur_px: Gaussian sigma of the lens, in pixels of the picture.
        vignette: Light lost in the corners, 0 to 1.
        noise: Deviation of the sensor's noise in grey levels of 255.
    """

    exposure: float
    blur_px: float
    vignette: float
    noise: float


def random_camera(rng: np.random.Generator) -> Camera:
    """Return the settings of one exposure of the same camera."""
    return Camera(
        exposure=float(rng.uniform(0.93, 1.07)),
        blur_px=float(rng.uniform(0.35, 0.75)),
        vignette=float(rng.uniform(0.05, 0.18)),
        noise=float(rng.uniform(1.2, 2.4)),
    )


def take_picture(
    camera: Camera, scene: NDArray[np.float32], size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return `scene` as the camera delivers it.

    Args:
        camera: Settings.
        scene: Linear light, float32 `[h, w, 3]`, BGR; larger than the picture, for smooth edges.
        size: Rows and columns of the picture.
        rng: Source of the sensor noise; the same state gives the same noise whatever the scene.

    Returns:
        The picture, uint8 `[H, W, 3]`, BGR.
    """
    rows, columns = size
    light = cv2.resize(scene, (columns, rows), interpolation=cv2.INTER_AREA)
    # Limit the highlights before the blur, or one glint outshines its neighbours.
    light = cv2.GaussianBlur(np.minimum(light, np.float32(_BRIGHTEST)), (0, 0), camera.blur_px)
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    falloff = np.float32(camera.exposure) * (1 - np.float32(camera.vignette / 2) * (x * x + y * y))
    light *= falloff[..., None]
    # A square root is near enough to the display curve, and a shoulder keeps highlights from looking cut out.
    levels = np.float32(255) * np.sqrt(light / (1 + np.float32(0.12) * light * light))
    levels += np.float32(camera.noise) * rng.standard_normal(levels.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
