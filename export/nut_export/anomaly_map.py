"""anomalib's anomaly map: patch distances, enlarged by the nearest value, then blurred.

Enlarging and blurring are both linear and separable, so together they are one matrix a side, made at export.
"""

import numpy as np
from numpy.typing import NDArray

from nut_export.builder import GraphBuilder

__all__ = ["SIGMA", "add_anomaly_map", "spread_matrix"]

SIGMA = 4.0  # anomalib's AnomalyMapGenerator
_REACH = int(4.0 * SIGMA + 0.5)  # half of its kernel, 33 px wide


def spread_matrix(patches: int, pixels: int) -> NDArray[np.float32]:
    """Return the matrix that enlarges `patches` values to `pixels` and blurs them.

    Args:
        patches: Patches along a side.
        pixels: Pixels along that side, above 16 (the blur is mirrored at the border).

    Returns:
        Float32 `[pixels, patches]`; each row sums to 1.
    """
    places = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-(places.astype(np.float64) ** 2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    nearest = np.arange(pixels) * patches // pixels  # torch's "nearest": floor(i * patches / pixels)
    matrix = np.zeros((pixels, patches))
    for pixel in range(pixels):
        sources = np.abs(pixel + places)  # mirrored without repeating the border pixel
        sources = np.where(sources >= pixels, 2 * (pixels - 1) - sources, sources)
        np.add.at(matrix[pixel], nearest[sources], kernel)
    return matrix.astype(np.float32)


def add_anomaly_map(
    graph: GraphBuilder, distances: str, *, grid: tuple[int, int], size: tuple[int, int], name: str, pictures: int = 1
) -> str:
    """Add the map.

    Args:
        graph: Takes the nodes.
        distances: Patch distances, float32 (N * P,), picture after picture, each row by row.
        grid: Rows and columns of patches, P = rows x columns.
        size: Height and width of the map in pixels.
        name: Name of the map, float32 `[N, 1, height, width]`.
        pictures: N.
    """
    graph.scope = "map"
    square = graph.op("Reshape", distances, graph.constant([*grid] if pictures == 1 else [pictures, *grid]))
    down = graph.constant(spread_matrix(grid[0], size[0]), name="map/rows")
    across = graph.constant(np.ascontiguousarray(spread_matrix(grid[1], size[1]).T), name="map/columns")
    spread = graph.op("MatMul", graph.op("MatMul", down, square), across)
    return graph.op("Reshape", spread, graph.constant([pictures, 1, *size]), name=name)
