"""The table under the nut: paper or plastic, light grey, unevenly lit."""

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.light import tinted
from nut_dataset.drawing.noise import clouds

__all__ = ["draw_table"]


def draw_table(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return an empty table in linear light.

    Args:
        rng: Draws brightness, colour, gradient and texture.
        shape: Rows and columns.

    Returns:
        The table, float32 `[H, W, 3]`, BGR, about 0.3 to 0.7.
    """
    rows, columns = shape
    brightness = rng.uniform(0.56, 0.70)
    slope = rng.uniform(-0.10, 0.10, 2).tolist()
    warm = rng.uniform(-0.03, 0.03)
    half = (rows + 1) // 2, (columns + 1) // 2  # the table has no sharp edges
    y = np.linspace(-1, 1, half[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, half[1], dtype=np.float32)[None]
    light = 1 + np.float32(slope[0]) * x + np.float32(slope[1]) * y
    light = light + 0.020 * clouds(rng, half, cell_px=half[1] / 5)
    light += 0.008 * clouds(rng, half, cell_px=half[1] / 30)
    light += 0.014 * clouds(rng, half, cell_px=2)
    light = cv2.resize(light, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return tinted(light, (brightness * (1 - warm), brightness, brightness * (1 + warm * 0.8)))
