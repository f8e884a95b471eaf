"""Found parts against true ones: which is which, and how many are right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_runtime.locate.instance import Instance

__all__ = ["IOUS", "LEAST_VISIBLE", "Matches", "match_instances"]

IOUS = (0.5, 0.75)
"""Overlaps, intersection over union, from which a found part is a true one."""
LEAST_VISIBLE = 0.1
"""Share of the picture's median part under which a true one is not asked for: too little of it is to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """How the parts found in a picture compare with the true ones.

    Attributes:
        true: Parts that are there and to be found.
        found: Parts that were found, without those that are true but not asked for.
        right: Found parts that are true ones, for each of `IOUS`.
    """

    true: int
    found: int
    right: tuple[int, ...]

    def f1(self, place: int) -> float:
        """Return the harmonic mean of precision and recall at `IOUS[place]`; 1 where nothing is there nor found."""
        total = self.true + self.found
        return 2 * self.right[place] / total if total else 1.0


def match_instances(found: Sequence[Instance], truth: NDArray[np.uint16]) -> Matches:
    """Compare what was found with the true labels.

    Masks of one side do not overlap, so at most one partner has an overlap of more than a half, and no assignment
    needs to be searched for.

    Args:
        found: From `find_instances`, for this picture.
        truth: Labels, uint16 `[H, W]`, 0 background.
    """
    drawn = np.zeros(truth.shape, np.int64)
    for number, one in enumerate(found, 1):
        box = drawn[one.y : one.y + one.height, one.x : one.x + one.width]
        box[one.mask] = number
    labels, marks = np.unique(truth, return_inverse=True)
    marks = marks.reshape(truth.shape)
    if labels[0] != 0:  # no background at all
        labels, marks = np.concatenate([[0], labels]), marks + 1
    wide = len(found) + 1
    joint = np.bincount((marks * wide + drawn).ravel(), minlength=len(labels) * wide).reshape(len(labels), wide)
    areas = joint.sum(axis=1)[1:]
    overlap = joint[1:, 1:]
    union = areas[:, None] + joint.sum(axis=0)[None, 1:] - overlap
    ious = overlap / np.maximum(union, 1)
    asked = areas >= LEAST_VISIBLE * np.median(areas) if areas.size else np.zeros(0, bool)
    excused = int((ious[~asked] > IOUS[0]).any(axis=0).sum()) if found else 0
    return Matches(
        true=int(asked.sum()),
        found=len(found) - excused,
        right=tuple(int((ious[asked] > least).sum()) for least in IOUS),
    )
