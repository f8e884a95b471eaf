"""The exported locator against the trained one: the maps, and the parts that are found in them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.progress import Progress, no_progress
from nut_runtime.errors import ParityError
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.locator import Locator
from nut_runtime.locate.settings import FindSettings
from nut_runtime.pictures import read_picture

__all__ = ["LocatorParity", "ReferenceTray", "check_locator", "measure_locator", "same_centres"]

# Rounding alone was seen to make 7e-6 (sums in another order, over the network's depth).
_EXACT_MAP = 1e-3
_EXACT_CENTRE_PX = 0.5
# In int8 a part's outline moves by parts of a pixel of the map. A part is another one only where it is nearer to
# another's centre, which is a whole part away.
_FAST_CENTRE_SHARE = 0.1  # of the frame's part: the square root of its area
_FAST_MISSED = 0.02  # of all parts, at most: those that were all but lost in float32, too


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceTray:
    """A picture with what torch made of it.

    Attributes:
        path: The picture.
        found_map: Its distance map, float32 `[h, w]`.
        instances: The parts in it.
    """

    path: Path
    found_map: NDArray[np.float32]
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorParity:
    """How an exported locator compares with the trained one.

    Attributes:
        engine: Name of the engine.
        precision: `fp32` or `int8`.
        pictures: How many were compared.
        sizes: Of how many sizes they are.
        max_d_map: Largest absolute difference of the maps.
        mean_d_map: Mean absolute difference of the maps.
        parts: Parts that torch's map has.
        missed: Those of them that are not found at their place.
        invented: Parts that are found where torch's map has none.
    """

    engine: str
    precision: str
    pictures: int
    sizes: int
    max_d_map: float
    mean_d_map: float
    parts: int
    missed: int
    invented: int

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @property
    def failure(self) -> str | None:
        """Why it does not hold, in words; None where it does."""
        if not math.isfinite(self.max_d_map):
            return "a map holds values that are no numbers, or is of another size"
        if self.precision == "fp32":
            if self.max_d_map > _EXACT_MAP:
                return f"maps differ by {self.max_d_map:.2g}, at most {_EXACT_MAP:g} is let pass"
            if self.missed or self.invented:
                return f"{self.missed} parts are missed and {self.invented} invented"
            return None
        if self.missed + self.invented > _FAST_MISSED * self.parts:
            return (
                f"{self.missed} parts are missed and {self.invented} invented of {self.parts}, "
                f"at most {100 * _FAST_MISSED:g}% are let pass"
            )
        return None


def measure_locator(
    locator: Locator,
    references: Sequence[ReferenceTray],
    settings: FindSettings,
    *,
    precision: str,
    progress: Progress = no_progress,
) -> LocatorParity:
    """Compare a locator in an engine with torch.

    Args:
        locator: The exported one.
        references: What torch made of pictures.
        settings: How parts are found.
        precision: What the engine's file is in.
        progress: Told of each picture.

    Raises:
        EngineError: If the engine fails.
    """
    largest, sums, values, missed, invented, parts = 0.0, 0.0, 0, 0, 0, 0
    sizes = set()
    for done, reference in enumerate(references, 1):
        frame = read_picture(reference.path)
        found_map = locator.locate(frame)
        if found_map.shape == reference.found_map.shape:
            difference = np.abs(found_map.astype(np.float64) - reference.found_map)
            largest = max(largest, float(difference.max()))
            sums, values = sums + float(difference.sum()), values + difference.size
        else:
            largest = math.inf
        frame_px = (frame.shape[0], frame.shape[1])
        found = find_instances(found_map, frame_px=frame_px, settings=settings)
        within = _EXACT_CENTRE_PX
        if precision != "fp32" and reference.instances:
            area = float(np.median([one.area_px for one in reference.instances]))
            within = max(1.0, _FAST_CENTRE_SHARE * math.sqrt(area))
        same = same_centres(found, reference.instances, within_px=within)
        parts += len(reference.instances)
        missed += len(reference.instances) - same
        invented += len(found) - same
        sizes.add(frame_px)
        progress(f"locating with {locator.name}", done, len(references))
    return LocatorParity(
        engine=locator.name,
        precision=precision,
        pictures=len(references),
        sizes=len(sizes),
        max_d_map=largest,
        mean_d_map=sums / max(values, 1),
        parts=parts,
        missed=missed,
        invented=invented,
    )


def same_centres(found: Sequence[Instance], expected: Sequence[Instance], *, within_px: float) -> int:
    """Return how many parts of one side have a partner on the other, each at most one, nearest pairs first.

    Args:
        found: Parts of one side.
        expected: Parts of the other.
        within_px: Largest distance of their centres.
    """
    if not found or not expected:
        return 0
    ours, theirs = (np.array([one.centre for one in side]) for side in (found, expected))
    distances = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    pairs = np.argwhere(distances <= within_px)
    taken: tuple[set[int], set[int]] = (set(), set())
    for one, other in pairs[np.argsort(distances[tuple(pairs.T)], kind="stable")].tolist():
        if one not in taken[0] and other not in taken[1]:
            taken[0].add(one)
            taken[1].add(other)
    return len(taken[0])


def check_locator(parities: Sequence[LocatorParity]) -> None:
    """Refuse a locator that does not find what the trained one finds.

    Raises:
        ParityError: If one does not hold; the message names the first.
    """
    for parity in parities:
        reason = parity.failure
        if reason is not None:
            raise ParityError(
                f"the exported locator does not find what the trained one finds in {parity.engine}: {reason}; "
                "take --locator-precision fp32, or --force to write it all the same"
            )
