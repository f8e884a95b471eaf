"""A fast model first, and the exact one where it is close: exact verdicts at nearly the speed of the fast one."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.engines.base import Engine, EngineResult

__all__ = ["CascadeEngine"]


class CascadeEngine:
    """Judges with the fast model, and once more with the exact one where the score is near a threshold.

    The verdict is the exact model's as long as the two differ by less than the guard band, which the export measured
    (`nut_export.guard`).

    Args:
        fast: The fast model.
        exact: The exact one.
        threshold: The raw threshold that decides.
        guard: Half width of the band around it.
        review_from: The raw score from which a part is for review, with a band of its own; None where none is.
    """

    def __init__(
        self, fast: Engine, exact: Engine, *, threshold: float, guard: float, review_from: float | None = None
    ) -> None:
        self.fast, self.exact = fast, exact
        self.name, self.version = exact.name, exact.version
        self.precision = f"{exact.precision}, near the threshold by the exact model"
        self._thresholds = (threshold,) if review_from is None else (threshold, review_from)
        self._guard = guard

    def infer(self, frame: NDArray[np.uint8]) -> EngineResult:
        """Judge one frame; `is_rejudged` says whether the exact model decided."""
        return self.settle(self.fast.infer(frame), frame)

    def settle(self, result: EngineResult, frame: NDArray[np.uint8]) -> EngineResult:
        """Return what the fast model said of a frame, or what the exact one says where that is too near to tell."""
        # A score that is no finite number tells nothing of how far it is from a threshold.
        if math.isfinite(result.raw_score) and all(
            abs(result.raw_score - threshold) > self._guard for threshold in self._thresholds
        ):
            return result
        return replace(self.exact.infer(frame), is_rejudged=True)

    def stages(self, frame: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the tensors inside the exact model."""
        return self.exact.stages(frame)
