"""Smooth random fields: the grain, mottling and waviness of every surface."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["clouds", "grain"]


def grain(rng: np.random.Generator, shape: tuple[int, int], *, sigma_px: float) -> NDArray[np.float32]:
    """Return fine noise of zero mean and about unit deviation.

    Args:
        rng: Source of the values.
        shape: Rows and columns.
        sigma_px: How far neighbours hang together; 0 leaves the pixels independent.

    Returns:
        The field, shape `shape`, float32.
    """
    field = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px <= 0:
        return field
    # A Gaussian of sigma s keeps 1 / (2 s sqrt(pi)) of white noise's deviation; give it back.
    blurred = cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred * np.float32(2 * sigma_px * math.sqrt(math.pi)))


def clouds(rng: np.random.Generator, shape: tuple[int, int], *, cell_px: float) -> NDArray[np.float32]:
    """Return smooth noise of about unit deviation with one hill or hollow every `cell_px` pixels.

    Args:
        rng: Source of the values; as many are drawn as there are cells.
        shape: Rows and columns.
        cell_px: Distance between the random values, above 0.

    Returns:
        The field, shape `shape`, float32.
    """
    rows, columns = shape
    small = rng.standard_normal((math.ceil(rows / cell_px) + 3, math.ceil(columns / cell_px) + 3), dtype=np.float32)
    return np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC))
