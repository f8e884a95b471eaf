"""What is said of one part, and the record that goes to whoever listens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.regions import Box

__all__ = ["RECORD_SCHEMA", "Label", "Verdict", "to_record"]

RECORD_SCHEMA = 1


class Label(StrEnum):
    """The two verdicts."""

    GOOD = "good"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """The verdict on one frame.

    Attributes:
        label: Good or defect.
        pred_score: 0..1, the threshold at 0.5.
        raw_score: Distance from what good parts look like, not clipped.
        anomaly_map: Normalised, float32 `[h, w]` of the model's input size, 0..1, threshold at 0.5.
        pred_mask: Defective pixels, bool `[h, w]`.
        boxes: Defective regions in pixels of the frame, the worst first; empty for a good part.
        bundle_id: The model that said it.
        milliseconds: How long each stage took, by name.
        is_rejudged: Whether the fast model of a cascade was too close to the threshold, and the exact one decided.
    """

    label: Label
    pred_score: float
    raw_score: float
    anomaly_map: NDArray[np.float32]
    pred_mask: NDArray[np.bool_]
    boxes: tuple[Box, ...]
    bundle_id: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    is_rejudged: bool = False

    @property
    def is_defective(self) -> bool:
        """Whether the part is to be rejected."""
        return self.label is Label.DEFECT


def to_record(
    verdict: Verdict, *, sequence: int, source: str, timestamp: datetime, picture: str | None = None
) -> dict[str, Any]:
    """Return the verdict as one JSON object, schema 1.

    Args:
        verdict: The verdict.
        sequence: Number of the part in this run, from 1.
        source: Which picture, video or camera it came from.
        timestamp: When the frame was taken, with its time zone.
        picture: Path of the saved picture, if one was saved.
    """
    return {
        "schema": RECORD_SCHEMA,
        "timestamp": timestamp.isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "source": source,
        "bundle": verdict.bundle_id,
        "label": str(verdict.label),
        "pred_score": round(verdict.pred_score, 6),
        "raw_score": round(verdict.raw_score, 6),
        "rejudged": verdict.is_rejudged,
        "ms": {stage: round(value, 3) for stage, value in verdict.milliseconds.items()},
        "boxes": [box.to_json() for box in verdict.boxes],
        "picture": picture,
    }
