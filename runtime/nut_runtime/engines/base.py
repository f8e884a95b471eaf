"""What an engine does: a frame in, the model's five outputs out."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import EngineError

__all__ = ["PRECISIONS", "BatchEngine", "Engine", "EngineResult", "ModelEngine", "check_precision", "to_result"]

PRECISIONS = ("fp32", "int8", "cascade")
"""Precisions that this version can pin. In all of them what is not int8 in the file is computed in float32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineResult:
    """The outputs of one frame, as the model gives them.

    Attributes:
        raw_score: Distance of the part.
        pred_score: Normalised with the threshold that is fixed into the file.
        pred_label: Verdict at that threshold.
        anomaly_map: Normalised likewise, float32 `[h, w]`.
        pred_mask: Defective pixels, bool `[h, w]`.
        is_rejudged: Whether a cascade's exact model had to decide.
    """

    raw_score: float
    pred_score: float
    pred_label: bool
    anomaly_map: NDArray[np.float32]
    pred_mask: NDArray[np.bool_]
    is_rejudged: bool = False


class BatchEngine(Protocol):
    """A loaded model for several frames at once. As many threads at a time as it was loaded with streams."""

    def infer_batch(self, frames: NDArray[np.uint8]) -> list[EngineResult]:
        """Judge frames of one size, uint8 `[N, H, W, 3]`, BGR, exactly as many as the model takes.

        Raises:
            EngineError: If the engine fails.
        """


class Engine(Protocol):
    """A loaded model. As many threads at a time as it was loaded with streams."""

    @property
    def name(self) -> str:
        """Name of the engine, as on the command line."""

    @property
    def version(self) -> str:
        """Version of the engine's package."""

    @property
    def precision(self) -> str:
        """Precision that the engine says it computes with."""

    def infer(self, frame: NDArray[np.uint8]) -> EngineResult:
        """Judge one frame, uint8 `[H, W, 3]`, BGR.

        Raises:
            EngineError: If the engine fails.
        """

    def stages(self, frame: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the tensors `contract.STAGES` of one frame, from a second load of the model that exposes them.

        Raises:
            EngineError: If the engine fails.
        """


class ModelEngine(Engine, BatchEngine, Protocol):
    """A loaded model file, whichever of the two it is: that for one frame takes a batch of one."""


def check_precision(precision: str) -> None:
    """Refuse a bundle whose precision this version does not know.

    Raises:
        EngineError: If it does not.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"precision {precision!r} of the bundle is unknown; update nut-runtime")


def to_result(outputs: dict[str, NDArray[Any]], place: int = 0) -> EngineResult:
    """Return the five outputs, by name, of one of the frames as an `EngineResult`."""
    return EngineResult(
        raw_score=float(outputs["raw_score"][place]),
        pred_score=float(outputs["pred_score"][place]),
        pred_label=bool(outputs["pred_label"][place]),
        anomaly_map=np.asarray(outputs["anomaly_map"][place, 0], np.float32),
        pred_mask=np.asarray(outputs["pred_mask"][place, 0], np.bool_),
    )
