"""The antialiased bilinear resize of torch, as small matrix products that every engine computes alike.

`Resize(antialias=True)` weighs input pixels with a triangle whose half-width grows with the scale, normalised
to sum 1 (torch `UpSampleKernel.cpp`, `_compute_indices_weights_aa`; the same filter as Pillow's BILINEAR).
ONNX `Resize(antialias=1)` says the same, but OpenVINO's CPU plugin ignores the attribute; matrix products are
not open to interpretation. Against torch they differ by 2e-7 on a 0..1 scale.
"""

import numpy as np
from numpy.typing import NDArray

from nut_export.banded import Block, add_blocks
from nut_export.builder import GraphBuilder

__all__ = ["add_preprocessing", "triangle_weights"]


def triangle_weights(size_in: int, size_out: int) -> NDArray[np.float32]:
    """Return the weights that bring `size_in` pixels to `size_out`.

    Computed in float32 step by step as torch does, so that rounding agrees too.

    Args:
        size_in: Pixels of a side before, at least 1.
        size_out: Pixels of that side after, at least 1.

    Returns:
        Weights, float32 `[size_out, size_in]`; each row sums to 1.

    Example:
        >>> triangle_weights(4, 2)
        array([[0.42857143, 0.42857143, 0.14285715, 0.        ],
               [0.        , 0.14285715, 0.42857143, 0.42857143]], dtype=float32)
    """
    scale = np.float32(size_in) / np.float32(size_out)
    inverse = np.float32(1) / np.maximum(scale, np.float32(1))
    centres = (np.arange(size_out, dtype=np.float32)[:, None] + np.float32(0.5)) * scale
    offsets = np.arange(size_in, dtype=np.float32)[None, :] - centres + np.float32(0.5)
    weights = np.maximum(np.float32(1) - np.abs(offsets * inverse), np.float32(0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def add_preprocessing(
    graph: GraphBuilder,
    image: str,
    *,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: str,
    pictures: int = 1,
) -> list[str]:
    """Add resize, channel order and normalisation.

    The height is contracted first, on the frame as it lies in memory (`[H, W*3]`), block by block: there is never a
    float copy of the full frame. What is left is small enough to be brought into planes for the width.

    Args:
        graph: Takes the nodes.
        image: A uint8 tensor `[N, H, W, 3]`, BGR, of any H and W.
        size: Height and width of the result in pixels.
        mean: Per-channel mean in RGB order on a 0..1 scale.
        std: Per-channel standard deviation.
        name: Name of the result, float32 `[1, 3, height, width]`, RGB; of several pictures with `_` and a number after.
        pictures: N.

    Returns:
        The names of the results, one a picture.
    """
    graph.scope = "resize"
    height, width = size
    rows = add_blocks(graph, graph.op("Shape", image, start=1, end=2), height)
    columns = add_blocks(graph, graph.op("Shape", image, start=2, end=3), width)
    frames = graph.cut(image, pictures, 1)
    names = [name] if pictures == 1 else [f"{name}_{number}" for number in range(pictures)]
    for frame, one in zip(frames, names, strict=True):
        rgb = _resized(graph, frame, rows, columns, size)
        # (value / 255 - mean) / std, as one multiplication and one addition
        factor = np.array([1 / (255 * width) for width in std], np.float32).reshape(3, 1, 1)
        offset = np.array([-middle / width for middle, width in zip(mean, std, strict=True)], np.float32)
        scaled = graph.op(
            "Add",
            graph.op("Mul", rgb, graph.constant(factor, name="resize/factor")),
            graph.constant(offset.reshape(3, 1, 1), name="resize/offset"),
        )
        graph.op("Unsqueeze", scaled, graph.constant([0]), name=one)
    return names


def _resized(graph: GraphBuilder, image: str, rows: list[Block], columns: list[Block], size: tuple[int, int]) -> str:
    """Add the resize of one picture, uint8 `[1, H, W, 3]`, BGR, to float32 `[3, height, width]`, RGB."""
    height, width = size
    flat = graph.op("Reshape", graph.op("Squeeze", image, graph.constant([0])), graph.constant([0, -1]))  # (H, W * 3)
    lower = [
        graph.op("MatMul", block.weights, graph.op("Cast", _window(graph, flat, block, axis=0), to=1)) for block in rows
    ]
    pixels = graph.op("Reshape", graph.op("Concat", *lower, axis=0), graph.constant([1, height, -1, 3]))
    planes = graph.op("Transpose", pixels, perm=[0, 3, 1, 2])  # (1, 3, height, W), BGR
    planes = graph.op("Reshape", planes, graph.constant([3 * height, -1]))
    small = [
        graph.op("MatMul", _window(graph, planes, block, axis=1), graph.op("Transpose", block.weights, perm=[1, 0]))
        for block in columns
    ]
    bgr = graph.op("Reshape", graph.op("Concat", *small, axis=1), graph.constant([3, height, width]))
    return graph.op("Gather", bgr, graph.constant([2, 1, 0]), axis=0)


def _window(graph: GraphBuilder, source: str, block: Block, *, axis: int) -> str:
    return graph.op("Slice", source, block.start, block.end, graph.constant([axis]))
