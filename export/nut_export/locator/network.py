"""The locator's network, exported by torch for inputs of any size."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from nut_export.torch_module import export_module
from nut_runtime.locate.network_size import STRIDE_PX
from nut_train.locator.network import LocatorNetwork

__all__ = ["export_network"]

_TRACED_PX = (3 * STRIDE_PX, 5 * STRIDE_PX)  # sides that are neither equal nor powers of two, so that none is special


class _Mapped(nn.Module):
    """Normalised pixels to the distance map itself."""

    def __init__(self, network: LocatorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return maps `[1, 1, h / 2, w / 2]`, 0 to 1, of pixels `[1, 3, h, w]`."""
        return torch.sigmoid(self.network(pixels))


def export_network(network: LocatorNetwork, *, source: str, target: str) -> onnx.ModelProto:
    """Export the network as ONNX.

    Args:
        network: Trained, in evaluation mode.
        source: Name of the input, float32 `[1, 3, h, w]`, h and w multiples of 32.
        target: Name of the output, float32 `[1, 1, h / 2, w / 2]`.

    Returns:
        The model, its inner names prefixed with `network/`.
    """
    height, width = (torch.export.Dim(name, min=1, max=256) for name in ("rows", "columns"))
    model = export_module(
        _Mapped(network),
        torch.zeros(1, 3, *_TRACED_PX),
        source=source,
        target=target,
        prefix="network/",
        dynamic_shapes=({2: STRIDE_PX * height, 3: STRIDE_PX * width},),
    )
    _double_by_scale(model)
    return model


def _double_by_scale(model: onnx.ModelProto) -> None:
    """Let each Resize say that it doubles, in place of computing its size from another layer's shape.

    In a U-Net the two are the same, and a factor is what engines and the quantisation see through.
    """
    graph = model.graph
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "network/double")
    graph.initializer.append(scales)
    for node in graph.node:
        if node.op_type == "Resize":
            source = node.input[0]
            del node.input[:]
            node.input.extend([source, "", scales.name])
    wanted, kept = {output.name for output in graph.output}, []
    for node in reversed(graph.node):  # the nodes are in order, so whoever reads an output comes after its maker
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    del graph.value_info[:]  # some are of nodes that are gone
