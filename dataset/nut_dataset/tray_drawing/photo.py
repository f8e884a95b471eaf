"""From the scene's light to the file a camera delivers: lens, exposure, the camera's own processing."""

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.camera import Camera, take_picture
from nut_dataset.tray_drawing.scenery import Scenery

__all__ = ["bend", "photograph"]

_BRIGHTEST = 2.2
"""Light beyond which the camera's tone curve says nothing more."""


def bend(
    scene: NDArray[np.float32], labels: NDArray[np.uint16], *, barrel: float
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return scene and labels as a lens with barrel distortion shows them; the corners stay where they are.

    Args:
        scene: float32 `[H, W, 3]`.
        labels: uint16 `[H, W]`.
        barrel: How much nearer the middle is than the corners, 0 for a true lens.
    """
    if barrel <= 0:
        return scene, labels
    rows, columns = labels.shape
    half = np.float32((rows - 1) / 2), np.float32((columns - 1) / 2)
    y = np.arange(rows, dtype=np.float32)[:, None] - half[0]
    x = np.arange(columns, dtype=np.float32)[None] - half[1]
    squared = (x * x + y * y) / (half[0] ** 2 + half[1] ** 2)
    factor = (1 + np.float32(barrel) * squared) / np.float32(1 + barrel)
    map_x, map_y = x * factor + half[1], y * factor + half[0]
    return (
        cv2.remap(scene, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        cv2.remap(labels, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE).astype(np.uint16),
    )


def photograph(rng: np.random.Generator, scene: NDArray[np.float32], scenery: Scenery) -> NDArray[np.uint8]:
    """Return the picture, uint8 `[H, W, 3]`, BGR.

    Args:
        rng: Draws noise and colour cast.
        scene: Linear light, float32 `[H, W, 3]`.
        scenery: Lens and processing.
    """
    scale = max(scene.shape[:2]) / 640
    camera = Camera(exposure=1.0, blur_px=scenery.blur_px * scale, vignette=scenery.vignette, noise=scenery.noise)
    picture = take_picture(camera, np.minimum(scene, np.float32(_BRIGHTEST)), scene.shape[:2], rng).astype(np.float32)
    if scenery.sharpening > 0:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.1 * scale)
        picture += np.float32(scenery.sharpening) * (picture - soft)
    cast = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    middle = np.float32(rng.uniform(100, 150))
    picture = ((picture - middle) * np.float32(scenery.contrast) + middle) * cast
    return np.asarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
