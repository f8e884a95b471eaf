"""The locator's deployment graph: raw frame in, distance map out."""

import onnx
from onnx import TensorProto, helper

from nut_export.builder import GraphBuilder
from nut_export.locator.resize import add_locator_pixels
from nut_train.backbone import Backbone

__all__ = ["DISTANCE_MAP", "LOCATOR_PIXELS", "assemble_locator"]

LOCATOR_PIXELS = "stage/pixels"
"""What the network sees of a frame, inside the graph."""
DISTANCE_MAP = "distance_map"


def assemble_locator(network: onnx.ModelProto, encoder: Backbone, *, long_side_px: int) -> onnx.ModelProto:
    """Put resize, normalisation and network together.

    Args:
        network: From `export_network`, float or quantised, from `LOCATOR_PIXELS` to `DISTANCE_MAP`.
        encoder: Its normalisation.
        long_side_px: What a frame's longer side is brought to.
    """
    graph = GraphBuilder()
    add_locator_pixels(
        graph, "image", long_side_px=long_side_px, mean=encoder.mean, std=encoder.std, name=LOCATOR_PIXELS
    )
    graph.inline(network)
    return graph.model(
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(DISTANCE_MAP, TensorProto.FLOAT, [1, 1, "map_height", "map_width"])],
        name="locator",
    )
