"""A side of a resize in blocks: sixteen outputs at a time, from the few inputs that they weigh.

The triangle filter reaches `2 * scale` inputs, so a dense product with 256 outputs multiplies by zero 127 times out of
128. A block of outputs needs one window of inputs; all windows of a side are equally long (clamped at its end), so
that one tensor holds all weights, and a block's pixels are converted and multiplied while they are in the cache.

What depends on the frame's size is computed in the graph. Where the size is fixed at export, both engines fold that
into constants when they load the model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_export.builder import GraphBuilder

__all__ = ["BLOCK", "Block", "add_blocks"]

# Eight outputs compute less but convert more inputs twice, 32 the other way round; both were slower (docs/performance).
BLOCK = 16


@dataclass(frozen=True, slots=True)
class Block:
    """Some outputs of a side, as names of tensors.

    Attributes:
        start: The first input they weigh, int64 `[1]`.
        end: One past the last, int64 `[1]`.
        weights: float32 `[outputs, end - start]`; each row sums to 1.
    """

    start: str
    end: str
    weights: str


def add_blocks(graph: GraphBuilder, size_in: str, size_out: int) -> list[Block]:
    """Add the weights of `nut_export.resize.triangle_weights`, in blocks, for a side known only when a frame comes.

    Positions are float32 as in torch; whole numbers up to 2^24 are exact.

    Args:
        graph: Takes the nodes.
        size_in: The side's pixels before, int64 `[1]`.
        size_out: Its pixels after.

    Returns:
        The blocks, from the first output to the last.
    """
    one = graph.constant(np.float32(1))
    outputs = np.arange(size_out, dtype=np.float32)[:, None] + np.float32(0.5)
    firsts = outputs[np.arange(size_out) // BLOCK * BLOCK]  # the first output of each one's block
    # A sum of one number hides from OpenVINO that a side is at least 0. From that it would bound every value below,
    # over and over, while it loads: 1.2 s in place of 0.15.
    length = graph.op("Cast", graph.op("ReduceSum", size_in, graph.constant([0]), keepdims=1), to=1)
    scale = graph.op("Div", length, graph.constant(np.float32(size_out)))
    support = graph.op("Max", scale, one)

    # From `support` below the first centre to `support` above the last, and a pixel at each end for the rounding.
    reach = graph.op("Mul", scale, graph.constant(np.float32(min(BLOCK, size_out) - 1)))
    reach = graph.op("Ceil", graph.op("Add", reach, graph.op("Add", support, support)))
    window = graph.op("Min", graph.op("Add", reach, graph.constant(np.float32(2))), length)
    below = graph.op("Sub", graph.op("Mul", graph.constant(firsts, name=f"resize/firsts_{size_out}"), scale), support)
    starts = graph.op("Min", graph.op("Floor", below), graph.op("Sub", length, window))
    starts = graph.op("Max", starts, graph.constant(np.float32(0)))  # (size_out, 1)

    weights = _weights(graph, starts, window, scale, support, outputs)
    sizes = [min(BLOCK, size_out - first) for first in range(0, size_out, BLOCK)]
    begins = graph.op("Gather", graph.op("Cast", starts, to=7), graph.constant(list(range(0, size_out, BLOCK))), axis=0)
    ends = graph.op("Add", begins, graph.op("Cast", window, to=7))
    each = [1] * len(sizes)
    parts = [graph.split(graph.op("Reshape", bound, graph.constant([-1])), each) for bound in (begins, ends)]
    return [Block(*block) for block in zip(*parts, graph.split(weights, sizes), strict=True)]


def _weights(
    graph: GraphBuilder, starts: str, window: str, scale: str, support: str, outputs: NDArray[np.float32]
) -> str:
    """Add the triangle's height at each input of each output's window, normalised: `[size_out, window]`."""
    one = graph.constant(np.float32(1))
    steps = graph.op(
        "Range",
        graph.constant(np.int64(0)),
        graph.op("Squeeze", graph.op("Cast", window, to=7)),
        graph.constant(np.int64(1)),
    )
    places = graph.op("Add", starts, graph.op("Cast", steps, to=1))
    centres = graph.op("Mul", graph.constant(outputs, name=f"resize/halves_{len(outputs)}"), scale)
    offsets = graph.op("Add", graph.op("Sub", places, centres), graph.constant(np.float32(0.5)))
    inverse = graph.op("Div", one, support)
    slope = graph.op("Sub", one, graph.op("Abs", graph.op("Mul", offsets, inverse)))
    weights = graph.op("Max", slope, graph.constant(np.float32(0)))
    return graph.op("Div", weights, graph.op("ReduceSum", weights, graph.constant([1]), keepdims=1))
