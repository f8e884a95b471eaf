"""The antialiased resize for a size that follows from the frame's own: the locator keeps the frame's proportions.

The weights are those of `nut_export.resize.triangle_weights`, as one matrix a side, computed in the graph. The judge's
blocks (`nut_export.banded`) need to know how many outputs there are; a locator's frame is small and comes once for
many parts, so that the zeros in the matrices cost little.
"""

import numpy as np

from nut_export.builder import GraphBuilder
from nut_runtime.locate.network_size import STRIDE_PX

__all__ = ["add_locator_pixels", "add_network_side"]


def add_locator_pixels(
    graph: GraphBuilder,
    image: str,
    *,
    long_side_px: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: str,
) -> str:
    """Add resize, channel order and normalisation.

    Args:
        graph: Takes the nodes.
        image: A uint8 tensor `[1, H, W, 3]`, BGR, of any H and W.
        long_side_px: What the longer side is brought to, a multiple of 32.
        mean: Per-channel mean in RGB order on a 0..1 scale.
        std: Per-channel standard deviation.
        name: Name of the result, float32 `[1, 3, h, w]`, RGB, of the size that `network_size` says.
    """
    graph.scope = "resize"
    # A sum of one number hides from OpenVINO that a side is at least 0 (see nut_export.banded).
    height, width = (
        graph.op("ReduceSum", graph.op("Shape", image, start=axis, end=axis + 1), graph.constant([0]), keepdims=1)
        for axis in (1, 2)
    )
    longest = graph.op("Max", height, width)
    small_height = add_network_side(graph, height, longest, long_side_px)
    small_width = add_network_side(graph, width, longest, long_side_px)
    rows = _weights(graph, height, small_height)  # (h, H)
    columns = _weights(graph, width, small_width)  # (w, W)

    flat = graph.op("Reshape", graph.op("Squeeze", image, graph.constant([0])), graph.constant([0, -1]))  # (H, W * 3)
    lower = graph.op("MatMul", rows, graph.op("Cast", flat, to=1))  # (h, W * 3)
    shape = graph.op("Concat", small_height, graph.constant([-1, 3]), axis=0)
    planes = graph.op("Transpose", graph.op("Reshape", lower, shape), perm=[2, 0, 1])  # (3, h, W), BGR
    bgr = graph.op("MatMul", planes, graph.op("Transpose", columns, perm=[1, 0]))  # (3, h, w)
    rgb = graph.op("Gather", bgr, graph.constant([2, 1, 0]), axis=0)

    # (value / 255 - mean) / std, as one multiplication and one addition
    factor = np.array([1 / (255 * one) for one in std], np.float32).reshape(3, 1, 1)
    offset = np.array([-middle / one for middle, one in zip(mean, std, strict=True)], np.float32).reshape(3, 1, 1)
    scaled = graph.op(
        "Add",
        graph.op("Mul", rgb, graph.constant(factor, name="resize/factor")),
        graph.constant(offset, name="resize/offset"),
    )
    return graph.op("Unsqueeze", scaled, graph.constant([0]), name=name)


def add_network_side(graph: GraphBuilder, side: str, longest: str, long_side_px: int) -> str:
    """Add `nut_runtime.locate.network_size.network_size` for one side, in whole numbers: int64 `[1]`.

    Args:
        graph: Takes the nodes.
        side: The side's pixels, int64 `[1]`.
        longest: Those of the longer side, int64 `[1]`.
        long_side_px: What the longer side is brought to.
    """
    stride = graph.constant([STRIDE_PX])
    above = graph.op(
        "Add",
        graph.op("Mul", side, graph.constant([2 * long_side_px])),
        graph.op("Mul", longest, stride),
    )
    steps = graph.op("Div", above, graph.op("Mul", longest, graph.constant([2 * STRIDE_PX])))
    return graph.op("Mul", graph.op("Max", steps, graph.constant([1])), stride)


def _weights(graph: GraphBuilder, size_in: str, size_out: str) -> str:
    """Add the triangle's weights, float32 `[size_out, size_in]`, step by step as torch computes them."""
    one, half = graph.constant(np.float32(1)), graph.constant(np.float32(0.5))
    scale = graph.op("Div", graph.op("Cast", size_in, to=1), graph.op("Cast", size_out, to=1))
    inverse = graph.op("Div", one, graph.op("Max", scale, one))
    outputs, inputs = (_places(graph, size) for size in (size_out, size_in))
    centres = graph.op("Mul", graph.op("Add", outputs, half), scale)
    rows = graph.op("Unsqueeze", centres, graph.constant([1]))
    offsets = graph.op("Add", graph.op("Sub", graph.op("Unsqueeze", inputs, graph.constant([0])), rows), half)
    slope = graph.op("Sub", one, graph.op("Abs", graph.op("Mul", offsets, inverse)))
    weights = graph.op("Max", slope, graph.constant(np.float32(0)))
    return graph.op("Div", weights, graph.op("ReduceSum", weights, graph.constant([1]), keepdims=1))


def _places(graph: GraphBuilder, size: str) -> str:
    """Add 0, 1, 2 ... below a size, float32."""
    zero, one = graph.constant(np.int64(0)), graph.constant(np.int64(1))
    return graph.op("Cast", graph.op("Range", zero, graph.op("Squeeze", size), one), to=1)
