"""The graph as files, with the manifest's facts inside each."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from nut_runtime.engines.import_openvino import import_openvino, new_core
from nut_runtime.scoring import OperatingPoint

__all__ = ["ONNX_FILE", "OPENVINO_FILE", "model_info", "write_model"]

ONNX_FILE = "model.onnx"
OPENVINO_FILE = "model.xml"


def model_info(point: OperatingPoint, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what the model file says of itself, with the keys that OpenVINO Model API reads for anomaly models.

    Args:
        point: Thresholds and ranges.
        facts: The manifest's facts about the model, kept as JSON under `nut_manifest`.
    """
    return {
        "model_type": "AnomalyDetection",
        "task": "segmentation",
        "labels": "Normal Anomaly",
        "image_threshold": repr(point.image.threshold),
        "pixel_threshold": repr(point.pixel.threshold),
        "normalization_scale": repr(point.image.maximum - point.image.minimum),
        "nut_manifest": json.dumps(facts, sort_keys=True),
    }


def write_model(
    engine: str, model: onnx.ModelProto, folder: Path, info: Mapping[str, str], *, stem: str = "model"
) -> str:
    """Write the graph in the format of an engine; as OpenVINO IR in float32 where it is not in int8.

    Args:
        engine: `onnxruntime` or `openvino`.
        model: The deployment graph; `info` is added to its metadata.
        folder: An existing folder.
        info: From `model_info`.
        stem: Name of the file without its ending.

    Returns:
        The name of the file.
    """
    del model.metadata_props[:]
    for key, value in info.items():
        model.metadata_props.add(key=f"model_info {key}", value=value)
    if engine == "onnxruntime":
        file = f"{stem}.onnx"
        onnx.save(model, str(folder / file))
        return file
    openvino = import_openvino()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source = Path(place) / f"{stem}.onnx"
        onnx.save(model, str(source))
        # read_model, not convert_model: the latter folds constants, and the file may hold the bank twice
        converted = new_core().read_model(str(source))
        for key, value in info.items():
            converted.set_rt_info(value, ["model_info", key])
        # compress_to_fp16 is on by default and would move every score
        file = f"{stem}.xml"
        openvino.save_model(converted, str(folder / file), compress_to_fp16=False)
        del converted  # it maps the source
    return file
