"""The graph as files, with the manifest's facts inside each."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from nut_runtime.engines.import_openvino import import_openvino
from nut_runtime.scoring import OperatingPoint

__all__ = ["ONNX_FILE", "OPENVINO_FILE", "model_info", "write_models"]

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


def write_models(models: Mapping[str, onnx.ModelProto], folder: Path, info: Mapping[str, str]) -> dict[str, str]:
    """Write the graph as ONNX, and as OpenVINO IR in float32 where it is not in int8.

    Args:
        models: The deployment graph for each engine, one and the same or each its own; `info` is added to its metadata.
        folder: An existing folder.
        info: From `model_info`.

    Returns:
        The model file of each engine, by engine name.
    """
    for model in models.values():
        del model.metadata_props[:]
        for key, value in info.items():
            model.metadata_props.add(key=f"model_info {key}", value=value)
    onnx.save(models["onnxruntime"], str(folder / ONNX_FILE))
    if models["openvino"] is models["onnxruntime"]:
        _write_ir(folder / ONNX_FILE, folder / OPENVINO_FILE, info)
    else:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            source = Path(place) / ONNX_FILE
            onnx.save(models["openvino"], str(source))
            _write_ir(source, folder / OPENVINO_FILE, info)
    return {"onnxruntime": ONNX_FILE, "openvino": OPENVINO_FILE}


def _write_ir(source: Path, target: Path, info: Mapping[str, str]) -> None:
    openvino = import_openvino()
    # read_model, not convert_model: the latter folds constants, and the file may hold the bank twice
    converted = openvino.Core().read_model(str(source))
    for key, value in info.items():
        converted.set_rt_info(value, ["model_info", key])
    # compress_to_fp16 is on by default and would move every score
    openvino.save_model(converted, str(target), compress_to_fp16=False)
