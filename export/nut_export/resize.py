"""The antialiased bilinear resize of torch, as two small matrix products that every engine computes alike.

`Resize(antialias=True)` weighs input pixels with a triangle whose half-width grows with the scale, normalised
to sum 1 (torch `UpSampleKernel.cpp`, `_compute_indices_weights_aa`; the same filter as Pillow's BILINEAR).
ONNX `Resize(antialias=1)` says the same, but OpenVINO's CPU plugin ignores the attribute; matrix products are
not open to interpretation. Against torch they differ by 2e-7 on a 0..1 scale.
"""

import numpy as np
from numpy.typing import NDArray

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
) -> str:
    """Add resize, channel order and normalisation.

    The height is contracted first, on the frame as it lies in memory (`[H, W*3]`): one product, no transposed
    float copy of the full frame.

    Args:
        graph: Takes the nodes.
        image: A uint8 tensor `[1, H, W, 3]`, BGR, of any H and W.
        size: Height and width of the result in pixels.
        mean: Per-channel mean in RGB order on a 0..1 scale.
        std: Per-channel standard deviation.
        name: Name of the result, float32 `[1, 3, height, width]`, RGB.
    """
    graph.scope = "resize"
    height, width = size
    shape = graph.op("Shape", image)
    rows = graph.op("Gather", shape, graph.constant(np.int64(1)), axis=0)
    columns = graph.op("Gather", shape, graph.constant(np.int64(2)), axis=0)
    row_weights = _weights(graph, rows, height)  # (height, H)
    column_weights = _weights(graph, columns, width)  # (width, W)

    pixels = graph.op("Cast", image, to=1)
    flat_shape = graph.op("Concat", graph.op("Unsqueeze", rows, graph.constant([0])), graph.constant([-1]), axis=0)
    flat = graph.op("Reshape", pixels, flat_shape)  # (H, W * 3)
    lower = graph.op("MatMul", row_weights, flat)  # (height, W * 3)
    lower = graph.op("Reshape", lower, graph.constant([height, -1, 3]))
    planes = graph.op("Transpose", lower, perm=[2, 0, 1])  # (3, height, W), BGR
    small = graph.op("MatMul", planes, graph.op("Transpose", column_weights, perm=[1, 0]))  # (3, height, width)
    rgb = graph.op("Gather", small, graph.constant([2, 1, 0]), axis=0)

    # (value / 255 - mean) / std, as one multiplication and one addition
    factor = np.array([1 / (255 * one) for one in std], np.float32).reshape(3, 1, 1)
    offset = np.array([-middle / one for middle, one in zip(mean, std, strict=True)], np.float32).reshape(3, 1, 1)
    scaled = graph.op(
        "Add",
        graph.op("Mul", rgb, graph.constant(factor, name="resize/factor")),
        graph.constant(offset, name="resize/offset"),
    )
    return graph.op("Unsqueeze", scaled, graph.constant([0]), name=name)


def _weights(graph: GraphBuilder, size_in: str, size_out: int) -> str:
    """Add `triangle_weights` for an input side that is known only when a frame comes: `[size_out, size_in]`."""
    places = graph.op("Range", graph.constant(np.int64(0)), size_in, graph.constant(np.int64(1)))  # 0 .. size_in - 1
    places = graph.op("Unsqueeze", graph.op("Cast", places, to=1), graph.constant([0]))  # (1, size_in)
    scale = graph.op("Div", graph.op("Cast", size_in, to=1), graph.constant(np.float32(size_out)))
    one = graph.constant(np.float32(1))
    inverse = graph.op("Div", one, graph.op("Max", scale, one))
    halves = np.arange(size_out, dtype=np.float32)[:, None] + np.float32(0.5)
    centres = graph.op("Mul", graph.constant(halves, name=f"resize/halves_{size_out}"), scale)  # (size_out, 1)
    offsets = graph.op("Add", graph.op("Sub", places, centres), graph.constant(np.float32(0.5)))
    slope = graph.op("Sub", one, graph.op("Abs", graph.op("Mul", offsets, inverse)))
    weights = graph.op("Max", slope, graph.constant(np.float32(0)))
    total = graph.op("ReduceSum", weights, graph.constant([1]), keepdims=1)
    return graph.op("Div", weights, total)
