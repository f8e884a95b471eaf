"""How sure the figures of an evaluation are, and the same for each kind of defect."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nut_train.statistics.bootstrap import LEVEL, RESAMPLES, Interval, bootstrap, exact_rate, perfect_ranking
from nut_train.statistics.scored import Scored

__all__ = ["Confidence", "KindFigures", "confidence", "sure_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """One kind of defect, against all good pictures.

    Attributes:
        kind: Its name.
        pictures: Defective pictures of this kind.
        found: How many were rejected.
        median_score: Their median raw score.
        figures: `recall`, `auroc`, `pixel.auroc`, `pixel.pro`: what can be measured.
        intervals: The intervals of these.
    """

    kind: str
    pictures: int
    found: int
    median_score: float
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Intervals of all figures.

    Attributes:
        intervals: By name as in `Scored.figures`, without those of single kinds.
        kinds: One a kind of defect.
        recall_at_rate: The largest recall while at most the stated rate of these very good pictures is rejected.
        seed: Of the resampling.
    """

    intervals: Mapping[str, Interval]
    kinds: tuple[KindFigures, ...]
    recall_at_rate: float | None
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"level": LEVEL, "resamples": RESAMPLES, **asdict(self), "kinds": [asdict(kind) for kind in self.kinds]}


def sure_of(scored: Scored, *, seed: int) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return every figure of a test set and its interval.

    The bootstrap gives the intervals, but for rates at the threshold, which the test pictures did not choose, and for
    a perfect AUROC; those are exact.

    Args:
        scored: What was judged, N >= 1.
        seed: Of the resampling.
    """
    once = np.ones((1, len(scored.kinds)))
    values = {name: float(found[0]) for name, found in (scored.figures(once) | scored.kind_figures(once)).items()}
    intervals = bootstrap(scored.figures, scored.strata, seed=seed)
    intervals |= bootstrap(scored.kind_figures, scored.kind_strata, seed=seed)
    good = int((~scored.defective).sum())
    sides = {"false_reject_rate": ~scored.defective, "recall": scored.defective}
    for kind in scored.defect_kinds:
        sides[f"{kind}/recall"] = np.array(scored.kinds) == kind
    for name, members in sides.items():
        exact = exact_rate(int(scored.rejected[members].sum()), int(members.sum()))
        if exact is not None:
            intervals[name] = exact
            values[name] = float(scored.rejected[members].mean())
    ranked = {"auroc": scored.defective} | {f"{kind}/auroc": sides[f"{kind}/recall"] for kind in scored.defect_kinds}
    for name, members in ranked.items():
        if values.get(name) == 1.0 and (perfect := perfect_ranking(good, int(members.sum()))) is not None:
            intervals[name] = perfect
    return values, intervals


def confidence(scored: Scored, *, seed: int = 0) -> Confidence:
    """Return how sure the figures of a test set are.

    Args:
        scored: What was judged, N >= 1.
        seed: Of the resampling.
    """
    values, intervals = sure_of(scored, seed=seed)
    kinds = []
    for kind in scored.defect_kinds:
        members = np.array(scored.kinds) == kind
        prefix = f"{kind}/"
        kinds.append(
            KindFigures(
                kind=kind,
                pictures=int(members.sum()),
                found=int(scored.rejected[members].sum()),
                median_score=float(np.median(scored.scores[members])),
                figures={name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)},
                intervals={
                    name.removeprefix(prefix): found for name, found in intervals.items() if name.startswith(prefix)
                },
            )
        )
    return Confidence(
        intervals={name: found for name, found in intervals.items() if "/" not in name},
        kinds=tuple(kinds),
        recall_at_rate=values.get("recall_at_rate"),
        seed=seed,
    )
