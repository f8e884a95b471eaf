"""A variant for another tool, fed as that tool feeds it, so that the proof can hold it against the reference."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_export.compat import COMPAT_FOLDER
from nut_runtime.contract import OUTPUTS, STAGES
from nut_runtime.engines.base import EngineResult, to_result
from nut_runtime.engines.import_openvino import import_openvino, new_core
from nut_runtime.selftest import RAW_SCORE

__all__ = ["CompatEngine"]


def _as_anomalib(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what anomalib's `read_image` and `OpenVINOInferencer.pre_process` make of a picture."""
    rgb = (frame[..., ::-1] / 255.0).astype(np.float32)
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])


def _as_model_api(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what Model API's `ImageModel` hands over when the model says that it prepares pictures itself."""
    return np.ascontiguousarray(frame)[None]


_FEEDS: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    "anomalib": _as_anomalib,
    "model-api": _as_model_api,
}


class CompatEngine:
    """A variant in OpenVINO on the CPU, in float32; an `nut_runtime.engines.base.Engine`.

    `raw_score`, which the tools do not see, is read from inside the graph.

    Args:
        path: The variant's `model.xml`.
        variant: One of `nut_export.compat.COMPAT`.
    """

    def __init__(self, path: Path, variant: str) -> None:
        openvino = import_openvino()
        self.name = f"{COMPAT_FOLDER}/{variant}"
        self.version = str(openvino.__version__)
        self.precision = "f32"
        self._feed = _FEEDS[variant]
        core = new_core()
        model = core.read_model(str(path))
        model.add_outputs([RAW_SCORE, *STAGES])
        self._model = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": self.precision})

    def infer(self, frame: NDArray[np.uint8]) -> EngineResult:
        """Judge one frame, uint8 `[H, W, 3]`, BGR."""
        outputs = self._model(self._feed(frame))
        return to_result({name: outputs[name] for name in OUTPUTS})

    def stages(self, frame: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the tensors inside the graph."""
        outputs = self._model(self._feed(frame))
        return {name: np.array(outputs[name]) for name in STAGES}
