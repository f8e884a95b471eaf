"""The deployment graph: a raw frame in, a verdict out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from nut_export.anomaly_map import add_anomaly_map
from nut_export.builder import GraphBuilder
from nut_export.features import export_features
from nut_export.resize import add_preprocessing
from nut_export.search import add_image_score, add_nearest, prepare_bank
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING, STAGE_PIXELS
from nut_runtime.scoring import OperatingPoint, Scale
from nut_train.backbone import Backbone

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Deployment", "build_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The graph and what is worth knowing of it.

    Attributes:
        model: The ONNX model.
        grid: Rows and columns of patches.
    """

    model: onnx.ModelProto
    grid: tuple[int, int]


def build_graph(
    model: "Patchcore",
    backbone: Backbone,
    *,
    size: tuple[int, int],
    point: OperatingPoint,
    frame_px: tuple[int, int] | None = None,
) -> Deployment:
    """Build the deployment graph of DESIGN.md around a trained model's weights and memory bank.

    Args:
        model: The trained model.
        backbone: Its normalisation.
        size: Height and width of the model's input.
        point: Thresholds and ranges, fixed into the graph; the runtime decides from `raw_score` and the
            manifest, other tools from `pred_score`.
        frame_px: Height and width of the only frames to be taken; None takes any.
    """
    bank = prepare_bank(model.model.memory_bank.detach().cpu().numpy().astype(np.float32), model.model.num_neighbors)
    graph = GraphBuilder()
    add_preprocessing(graph, "image", size=size, mean=backbone.mean, std=backbone.std, name=STAGE_PIXELS)
    features, grid = export_features(model.model, size=size, source=STAGE_PIXELS, target=STAGE_EMBEDDING)
    graph.inline(features)
    centred, by_chunk = add_nearest(graph, STAGE_EMBEDDING, bank, name=STAGE_DISTANCES)
    add_image_score(graph, STAGE_DISTANCES, centred, by_chunk, bank, name="raw_score")
    raw_map = add_anomaly_map(graph, STAGE_DISTANCES, grid=grid, size=size, name="map/raw")
    graph.scope = "decide"
    _add_decision(graph, "raw_score", point.image, score="pred_score", label="pred_label")
    _add_decision(graph, raw_map, point.pixel, score="anomaly_map", label="pred_mask")
    built = graph.model(
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *(frame_px or ("height", "width")), 3])],
        [
            helper.make_tensor_value_info("pred_score", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("raw_score", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("pred_label", TensorProto.BOOL, [1]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, [1, 1, *size]),
            helper.make_tensor_value_info("pred_mask", TensorProto.BOOL, [1, 1, *size]),
        ],
        name="patchcore",
    )
    return Deployment(model=built, grid=grid)


def _add_decision(graph: GraphBuilder, raw: str, scale: Scale, *, score: str, label: str) -> None:
    """Add `nut_runtime.scoring.normalise` and `is_defective`, operation by operation."""
    shifted = graph.op("Sub", raw, graph.constant(np.float32(scale.threshold)))
    width = np.float32(scale.maximum) - np.float32(scale.minimum)
    half = graph.constant(np.float32(0.5))
    moved = graph.op("Add", graph.op("Div", shifted, graph.constant(width)), half)
    graph.op("Clip", moved, graph.constant(np.float32(0)), graph.constant(np.float32(1)), name=score)
    graph.op("Greater", score, half, name=label)
