"""What is said of one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nut_runtime.regions import Box

__all__ = ["Label", "Reason", "Verdict"]


class Label(StrEnum):
    """The four verdicts."""

    GOOD = "good"
    DEFECT = "defect"
    REVIEW = "review"
    """Not defective, but so close that a person should look."""
    NO_VERDICT = "no-verdict"
    """Nothing can be said; a `Reason` tells why. Never said by a model."""


class Reason(StrEnum):
    """Why a view or a part has no verdict."""

    NO_FRAME = "no-frame"
    """The camera is away, or gave nothing in time."""
    STALE = "stale"
    """The only frame there is was taken before the trigger."""
    FROZEN = "frozen"
    """The camera gives the same picture again and again."""
    DARK = "dark"
    BLURRED = "blurred"
    WASHED_OUT = "washed-out"
    """So much light that what it shows can hardly be seen."""
    NOTHING_FOUND = "nothing-found"
    """A tray in which no part was found that can be judged."""
    INCOMPLETE = "incomplete"
    """A part in a tray that is cut, covered or no single part; its `flaw` says which."""
    BROKEN = "broken"
    """A picture that cannot be read, or of a size or kind that the bundle does not take."""
    DROPPED = "dropped"
    """The line is faster than the engine, and this part had waited longest."""
    FAILED = "failed"
    """The engine failed on it."""
    NOT_KEPT = "not-kept"
    """An answer only: the record could not be kept, so nobody is told that the part is good. The record waits."""


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
        is_masked: Whether its peak lay in an ignored area, so that the rest of the map decided.
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
    is_masked: bool = False

    @property
    def is_defective(self) -> bool:
        """Whether the part is to be rejected."""
        return self.label is Label.DEFECT
