"""What was measured of each candidate, which of them are worth a look, and which one is proposed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nut_benchmarks.planner.config import size_text

__all__ = ["Accuracy", "Candidate", "Proposal", "Row", "Speed", "auroc_error", "front_of", "pareto_front", "propose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One choice of everything.

    Attributes:
        backbone: Name of the timm model.
        weights: Its weights file; None takes what `nut train` finds.
        image_height_px: Height of the model's input.
        image_width_px: Width of the model's input.
        coreset_ratio: What to give `nut train` for this bank, with all pictures there are.
        bank_rows: Vectors in the bank; 0 where the training failed.
        bank_width: Length of one.
        precision: `fp32`, `int8` or `cascade`.
        engine: The engine it runs in.
    """

    backbone: str
    weights: str | None
    image_height_px: int
    image_width_px: int
    coreset_ratio: float
    bank_rows: int
    bank_width: int
    precision: str
    engine: str

    @property
    def size(self) -> str:
        """Height and width as `nut train --image-size` takes them."""
        return size_text((self.image_height_px, self.image_width_px))

    def describe(self) -> str:
        """Say in words which one it is."""
        return (
            f"{self.backbone} at {self.size} px, {100 * self.coreset_ratio:.3g}% bank ({self.bank_rows} rows), "
            f"{self.precision} in {self.engine}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one candidate takes.

    Attributes:
        p50_ms: Median time of one part, all threads on it.
        p95_ms: 95th percentile of it.
        streams: Parts judged at the same time in the faster way to serve all cameras; 1 is one after the other.
        all_ms: 95th percentile of the time until the parts of all cameras are judged, in that way.
        ways: The same by number of streams, as far as measured.
        rejudged: Share of good parts that a cascade judges twice; None for others.
        twice_ms: 95th percentile of a part that it judges twice; None where none was seen.
        load_s: From the start of the process to a loaded model.
        peak_mb: Peak memory of the process, in MB of 10^6 bytes.
    """

    p50_ms: float
    p95_ms: float
    streams: int
    all_ms: float
    ways: Mapping[int, float]
    rejudged: float | None
    twice_ms: float | None
    load_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How well it tells good from defective; None where the pictures for it are missing.

    Attributes:
        good: Good test pictures.
        defective: Defective ones.
        image_auroc: Area under the ROC curve of the scores that the engine gave.
        pixel_auroc: The same of the map's pixels, of the trained model; int8 is not held against it.
        recall: Share of defective test pictures rejected.
        good_rejected: Share of good test pictures rejected.
    """

    good: int
    defective: int
    image_auroc: float | None
    pixel_auroc: float | None
    recall: float | None
    good_rejected: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate and what came of it.

    Attributes:
        candidate: Which one.
        speed: What it takes; None where it was not measured.
        accuracy: How well it does; None where it was not measured.
        reason: Why it was not measured; None where it was.
        is_ruled_out: Whether it was left out because fp32 showed that it is not worth its time; not a failure.
    """

    candidate: Candidate
    speed: Speed | None = None
    accuracy: Accuracy | None = None
    reason: str | None = None
    is_ruled_out: bool = False

    @property
    def all_ms(self) -> float:
        """Time until all cameras' parts are judged; infinite where it was not measured."""
        return math.inf if self.speed is None else self.speed.all_ms

    @property
    def accuracy_rank(self) -> tuple[float, float] | None:
        """Image AUROC, and recall for equals: the more the better; None without an AUROC."""
        if self.accuracy is None or self.accuracy.image_auroc is None:
            return None
        return self.accuracy.image_auroc, self.accuracy.recall or 0.0

    @property
    def auroc(self) -> float | None:
        """Image AUROC, where there is one."""
        return None if self.accuracy is None else self.accuracy.image_auroc

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Which candidate to take.

    Attributes:
        row: The proposed one; where none meets the target, the one that comes nearest.
        is_met: Whether it meets the target.
        best: The most accurate of all that were measured; None without an accuracy.
    """

    row: Row
    is_met: bool
    best: Row | None

    @property
    def cost(self) -> tuple[float, float] | None:
        """Image AUROC and recall that the proposal gives away against the most accurate; None without an accuracy."""
        if self.best is None or self.best.accuracy_rank is None or self.row.accuracy_rank is None:
            return None
        (best_auroc, best_recall), (auroc, recall) = self.best.accuracy_rank, self.row.accuracy_rank
        return best_auroc - auroc, best_recall - recall


def pareto_front(points: Sequence[tuple[float, tuple[float, ...]]]) -> list[int]:
    """Return the places of the points that no other one beats, the fastest first.

    A point is beaten by one that is no slower and no worse, and better in one of the two.

    Args:
        points: Time, the less the better, and accuracy, the more the better: its first figure, of equals the next.

    Example:
        >>> pareto_front([(5.0, (0.9,)), (9.0, (0.97,)), (12.0, (0.95,))])
        [0, 1]
    """
    return sorted(
        (
            place
            for place, (time, accuracy) in enumerate(points)
            if not any(
                other[0] <= time and other[1] >= accuracy and other != (time, accuracy)  # better in one, then
                for other in points
            )
        ),
        key=lambda place: points[place],
    )


def front_of(rows: Sequence[Row]) -> list[Row]:
    """Return the rows on the Pareto front of time for all cameras and accuracy; empty without an AUROC."""
    known = [(row, row.accuracy_rank) for row in rows if row.speed is not None]
    ranked = [(row, (row.all_ms, rank)) for row, rank in known if rank is not None]
    return [ranked[place][0] for place in pareto_front([point for _, point in ranked])]


def propose(rows: Sequence[Row], target_ms: float) -> Proposal | None:
    """Choose a candidate.

    Of those whose time for all cameras (95th percentile) is within the target, the one with the highest image AUROC,
    of equals the one that finds most defects at its threshold, of equals the fastest. Without an AUROC nothing tells
    which one finds defects, so it is the one that looks closest: the largest image, of equals the largest bank, of
    equals the fastest. Where none is within the target, it is the fastest.

    Args:
        rows: All candidates.
        target_ms: The target.

    Returns:
        The proposal; None where nothing was measured.
    """
    measured = [row for row in rows if row.speed is not None]
    if not measured:
        return None
    ranked = [row for row in measured if row.auroc is not None]
    best = min(ranked, key=_by_accuracy) if ranked else None
    fitting = [row for row in measured if row.all_ms <= target_ms]
    if not fitting:
        return Proposal(row=min(measured, key=lambda row: row.all_ms), is_met=False, best=best)
    chosen = min(fitting, key=_by_detail if best is None else _by_accuracy)
    return Proposal(row=chosen, is_met=True, best=best)


def _by_accuracy(row: Row) -> tuple[float, float, float]:
    auroc, recall = row.accuracy_rank or (-math.inf, 0.0)
    return -auroc, -recall, row.all_ms


def _by_detail(row: Row) -> tuple[int, int, float]:
    candidate = row.candidate
    return (-candidate.image_height_px * candidate.image_width_px, -candidate.bank_rows, row.all_ms)


def auroc_error(auroc: float, *, good: int, defective: int) -> float:
    """Return the standard error of an AUROC (Hanley and McNeil 1982, "The meaning and use of the area under a ROC").

    Args:
        auroc: The area, 0..1.
        good: Good pictures it was measured with, at least one.
        defective: Defective ones, at least one.

    Example:
        >>> round(auroc_error(0.95, good=25, defective=6), 2)
        0.06
    """
    defects_alike = auroc / (2 - auroc)
    goods_alike = 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc)
    variance += (defective - 1) * (defects_alike - auroc**2) + (good - 1) * (goods_alike - auroc**2)
    return math.sqrt(max(variance, 0.0) / (good * defective))
