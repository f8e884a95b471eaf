"""The model once more, with the input and outputs that another tool insists on (`nut export --compat`).

A variant is cut from the OpenVINO IR that the proof is about: another input in front of it, or an output less. All
between stays as it is, the antialiased resize and the memory bank included, so a variant decides as the bundle does.

| variant | input | for |
|---|---|---|
| `anomalib` | `input`, float32 `[1, 3, H, W]`, RGB, 0..1 | anomalib's `OpenVINOInferencer` |
| `model-api` | `image`, uint8 `[1, H, W, 3]`, BGR | OpenVINO Model API's `AnomalyDetection` |

Both take pictures of any size and have four outputs: both tools refuse a fifth, so `raw_score` is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nut_runtime.contract import INPUT
from nut_runtime.engines.import_openvino import import_openvino, new_core
from nut_runtime.selftest import RAW_SCORE

__all__ = ["COMPAT", "COMPAT_FOLDER", "write_compat"]

COMPAT_FOLDER = "compat"
_MODEL_INFO = "model_info"


def write_compat(model: Path, names: Iterable[str]) -> dict[str, Path]:
    """Write variants of a bundle's model to `compat/NAME/model.xml` beside it.

    Args:
        model: The bundle's `model.xml`.
        names: Which of `COMPAT`; one that is named twice is written once.

    Returns:
        The variants' files, by name.
    """
    openvino = import_openvino()
    written = {}
    for name in dict.fromkeys(names):
        variant = new_core().read_model(str(model))
        COMPAT[name](variant)
        variant.validate_nodes_and_infer_types()
        path = model.parent / COMPAT_FOLDER / name / model.name
        path.parent.mkdir(parents=True)
        openvino.save_model(variant, str(path), compress_to_fp16=False)
        written[name] = path
    return written


def _drop_raw_score(model: Any) -> None:
    model.remove_result(model.output(RAW_SCORE).node)


def _for_anomalib(model: Any) -> None:
    """Put a float RGB picture before the frame; one with 8 bits a channel becomes that very frame again."""
    openvino = import_openvino()
    from openvino import opset13 as ops

    _drop_raw_score(model)
    frame = model.input(INPUT)
    one, height, width, channels = frame.partial_shape
    picture = ops.parameter(openvino.PartialShape([one, channels, height, width]), np.float32, name="input")
    picture.output(0).set_names({"input"})
    levels = ops.round(ops.multiply(picture, np.float32(255)), "half_to_even")
    levels = ops.convert(ops.clamp(levels, 0.0, 255.0), np.uint8)
    rows = ops.transpose(levels, np.array([0, 2, 3, 1]))  # (1, H, W, 3)
    bgr = ops.gather(rows, np.array([2, 1, 0]), np.int64(3))
    for reader in frame.get_target_inputs():
        reader.replace_source_output(bgr.output(0))
    model.add_parameters([picture])
    model.remove_parameter(frame.node)


def _for_model_api(model: Any) -> None:
    """Say that the picture is to be handed over untouched, as it came from `cv2.imread`."""
    _drop_raw_score(model)
    model.set_rt_info("True", [_MODEL_INFO, "embedded_processing"])


COMPAT: Mapping[str, Callable[[Any], None]] = {"anomalib": _for_anomalib, "model-api": _for_model_api}
"""What makes each variant of the main model, in place."""
