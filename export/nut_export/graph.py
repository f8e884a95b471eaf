"""The deployment graph: a raw frame in, a verdict out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from nut_export.anomaly_map import add_anomaly_map
from nut_export.builder import GraphBuilder
from nut_export.coarse import CoarseBank, add_candidates_search
from nut_export.features import export_features
from nut_export.resize import add_preprocessing
from nut_export.search import SearchBank, add_image_score, add_nearest, prepare_bank
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING, STAGE_PIXELS
from nut_runtime.scoring import OperatingPoint, Scale
from nut_train.backbone import Backbone

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Parts", "assemble", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """What a graph is put together from; slow to make, so made once for all graphs of a bundle.

    Attributes:
        features: Backbone and patch embedding, from `STAGE_PIXELS` to `STAGE_EMBEDDING`.
        grid: Rows and columns of patches.
        bank: The memory bank.
        backbone: Its normalisation.
        size: Height and width of the model's input.
        point: Thresholds and ranges, fixed into the graph; the runtime decides from `raw_score` and the manifest,
            other tools from `pred_score`.
        frame_px: Height and width of the only frames to be taken; None takes any.
    """

    features: onnx.ModelProto
    grid: tuple[int, int]
    bank: SearchBank
    backbone: Backbone
    size: tuple[int, int]
    point: OperatingPoint
    frame_px: tuple[int, int] | None = None


def prepare(
    model: "Patchcore",
    backbone: Backbone,
    *,
    size: tuple[int, int],
    point: OperatingPoint,
    frame_px: tuple[int, int] | None = None,
    centred_on: int | None = None,
) -> Parts:
    """Take a trained model apart.

    Args:
        model: The trained model.
        backbone: Its normalisation.
        size: Height and width of the model's input.
        point: Thresholds and ranges.
        frame_px: Height and width of the only frames to be taken; None takes any.
        centred_on: As for `prepare_bank`.
    """
    rows = model.model.memory_bank.detach().cpu().numpy().astype(np.float32)
    bank = prepare_bank(rows, model.model.num_neighbors, centred_on=centred_on)
    features, grid = export_features(model.model, size=size, source=STAGE_PIXELS, target=STAGE_EMBEDDING)
    return Parts(features=features, grid=grid, bank=bank, backbone=backbone, size=size, point=point, frame_px=frame_px)


def assemble(
    parts: Parts,
    *,
    engine: str = "onnxruntime",
    features: onnx.ModelProto | None = None,
    coarse: CoarseBank | None = None,
    pictures: int = 1,
) -> onnx.ModelProto:
    """Put the deployment graph of DESIGN.md together: exact, in float32, unless something faster is given.

    Several pictures at once have a pre-processing and a backbone each, which share their constants; their patches are
    searched together, and each has its own score and map.

    Args:
        parts: From `prepare`.
        engine: The engine the file is for; the exact graph is the same for all.
        features: A quantised feature extractor in place of the float one.
        coarse: The bank as the fast search holds it, in place of the exact search.
        pictures: Frames of one size that the graph takes, exactly.
    """
    graph = GraphBuilder()
    size = parts.size
    patches = parts.grid[0] * parts.grid[1]
    mean, std = parts.backbone.mean, parts.backbone.std
    pixels = add_preprocessing(graph, "image", size=size, mean=mean, std=std, name=STAGE_PIXELS, pictures=pictures)
    if pictures == 1:
        graph.inline(features or parts.features)
    else:
        embeddings = [f"{STAGE_EMBEDDING}_{number}" for number in range(pictures)]
        graph.inline_copies(features or parts.features, pixels, embeddings)
        graph.join(embeddings, name=STAGE_EMBEDDING)
    if coarse is None:
        bank = parts.bank
        nearest = add_nearest(graph, STAGE_EMBEDDING, bank, name=STAGE_DISTANCES)
    else:
        bank = coarse.grouped.bank
        nearest = add_candidates_search(
            graph, STAGE_EMBEDDING, coarse, patches=patches, engine=engine, name=STAGE_DISTANCES, pictures=pictures
        )
    add_image_score(graph, STAGE_DISTANCES, nearest, bank, name="raw_score", pictures=pictures, patches=patches)
    raw_map = add_anomaly_map(graph, STAGE_DISTANCES, grid=parts.grid, size=size, name="map/raw", pictures=pictures)
    graph.scope = "decide"
    _add_decision(graph, "raw_score", parts.point.image, score="pred_score", label="pred_label")
    _add_decision(graph, raw_map, parts.point.pixel, score="anomaly_map", label="pred_mask")
    frames = [pictures, *(parts.frame_px or ("height", "width")), 3]
    return graph.model(
        [helper.make_tensor_value_info("image", TensorProto.UINT8, frames)],
        [
            helper.make_tensor_value_info("pred_score", TensorProto.FLOAT, [pictures]),
            helper.make_tensor_value_info("raw_score", TensorProto.FLOAT, [pictures]),
            helper.make_tensor_value_info("pred_label", TensorProto.BOOL, [pictures]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, [pictures, 1, *size]),
            helper.make_tensor_value_info("pred_mask", TensorProto.BOOL, [pictures, 1, *size]),
        ],
        name="patchcore",
    )


def _add_decision(graph: GraphBuilder, raw: str, scale: Scale, *, score: str, label: str) -> None:
    """Add `nut_runtime.scoring.normalise` and `is_defective`, operation by operation."""
    shifted = graph.op("Sub", raw, graph.constant(np.float32(scale.threshold)))
    width = np.float32(scale.maximum) - np.float32(scale.minimum)
    half = graph.constant(np.float32(0.5))
    moved = graph.op("Add", graph.op("Div", shifted, graph.constant(width)), half)
    graph.op("Clip", moved, graph.constant(np.float32(0)), graph.constant(np.float32(1)), name=score)
    graph.op("Greater", score, half, name=label)
