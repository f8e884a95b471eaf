"""Two evaluations side by side on the pictures that both judged: what changed, and whether it is more than chance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nut_dataset.layout import GOOD
from nut_runtime.errors import InputError
from nut_train.statistics.bootstrap import FEW, LEVEL, Interval, bootstrap, mcnemar
from nut_train.statistics.pixel_counts import PIXELS, PixelCounts
from nut_train.statistics.scored import Scored

__all__ = ["Change", "Comparison", "Difference", "Side", "compare", "open_side"]

_FIGURES = {
    "auroc": "image AUROC",
    "average_precision": "AUPR",
    "f1": "F1",
    "recall": "defects found",
    "false_reject_rate": "good rejected",
    "pixel.auroc": "pixel AUROC",
    "pixel.pro": "PRO",
}
# nut_train.train.EVALUATION and nut_train.run.RECORD; to import those takes seconds of torch
_RECORDS = ("evaluation.json", "run.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: a run folder or the folder of an evaluation.

    Attributes:
        folder: The folder.
        record: Its record.
        pictures: What was judged, by the SHA-256 of the picture's file; of equal files the first.
        scored: The same as arrays; `place` of a picture is its row.
    """

    folder: Path
    record: Mapping[str, Any]
    pictures: Mapping[str, Mapping[str, Any]]
    scored: Scored

    @property
    def root(self) -> Path:
        """Where its data set was."""
        return Path(self.record["dataset"]["path"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of both.

    Attributes:
        name: For people.
        a: Of the first, on the common pictures.
        b: Of the second.
        interval: Where `b - a` lies with 95% confidence; None where it is the same in every resample.
        is_better: Whether B is better beyond chance; False where it is worse, None where neither can be said.
    """

    name: str
    a: float
    b: float
    interval: Interval | None
    is_better: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A picture that the two judge differently.

    Attributes:
        path: Relative to B's data set.
        sha256: Of its file.
        kind: The truth.
        is_now_rejected: What B says.
        a_score: Normalised score of A, 0.5 is the threshold.
        b_score: Of B.
    """

    path: str
    sha256: str
    kind: str
    is_now_rejected: bool
    a_score: float
    b_score: float

    @property
    def is_mended(self) -> bool:
        """Whether B is right."""
        return self.is_now_rejected == (self.kind != GOOD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two evaluations on their common pictures.

    Attributes:
        a: The first.
        b: The second.
        good: Good pictures that both judged.
        defective: Defective ones.
        only_a: Pictures that only A judged.
        only_b: Pictures that only B judged.
        relabelled: Pictures left out because the two data sets file them under different kinds.
        differences: Each figure.
        changes: Pictures whose verdict changed, those that became wrong first.
        p_value: Of `mcnemar` over all changed verdicts.
    """

    a: Side
    b: Side
    good: int
    defective: int
    only_a: int
    only_b: int
    relabelled: int
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    p_value: float

    @property
    def is_small(self) -> bool:
        """Whether one class has so few pictures that the bootstrap's intervals are too narrow."""
        return min(self.good, self.defective) < FEW

    @property
    def mended(self) -> int:
        """How many changed verdicts are right now."""
        return sum(change.is_mended for change in self.changes)


def open_side(folder: Path) -> Side:
    """Read what was judged from a run folder or the folder of an evaluation.

    Raises:
        InputError: If it is neither, has no evaluation, or one that an older version made.
    """
    folder = Path(folder)
    path = next((folder / name for name in _RECORDS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder} is no run and no evaluation; give what nut train or nut evaluate wrote")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        evaluation = record["evaluation"]
        if evaluation is None:
            raise InputError(f"{folder} judged no test pictures, so there is nothing to compare")
        listed = evaluation["pictures"]
        pictures: dict[str, dict[str, Any]] = {}
        places = []
        for place, item in enumerate(listed):
            if "sha256" not in item:
                raise InputError(f"{folder} comes from an older version; compare what nut evaluate {folder} writes")
            if pictures.setdefault(item["sha256"], item) is item:
                places.append(place)
        scored = Scored(
            kinds=tuple(str(item["kind"]) for item in listed),
            scores=np.array([float(item["raw_score"]) for item in listed]),
            rejected=np.array([bool(item["pred_label"]) for item in listed]),
            pixels=PixelCounts.load(folder / PIXELS) if (folder / PIXELS).is_file() else None,
        ).chosen(places)
        _ = record["dataset"]["path"], [(item["path"], float(item["pred_score"])) for item in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a record of an evaluation: {error}") from error
    return Side(folder=folder, record=record, pictures=pictures, scored=scored)


def compare(a: Side, b: Side, *, seed: int = 0) -> Comparison:
    """Compare two evaluations on the pictures that both judged.

    Both are resampled together, picture by picture, so that what is hard for both cancels out; otherwise as in
    `nut_train.statistics.bootstrap`.

    Args:
        a: The first, for instance the run in use.
        b: The second.
        seed: Of the resampling.

    Raises:
        InputError: If no picture was judged by both.
    """
    shared = sorted(a.pictures.keys() & b.pictures.keys())  # by content: names and order do not matter
    common = [key for key in shared if a.pictures[key]["kind"] == b.pictures[key]["kind"]]
    if not common:
        reason = f"; the {len(shared)} they share are filed under other kinds" if shared else ""
        raise InputError(
            f"{a.folder} and {b.folder} have no test picture in common (by content){reason}; evaluate both on one data "
            "set with nut evaluate RUN DATASET"
        )
    one, other = _aligned(a, b, common)
    changes = [_change(a, b, key) for key in common]
    changed = sorted(
        (change for change in changes if change is not None), key=lambda change: (change.is_mended, change.path)
    )
    return Comparison(
        a=a,
        b=b,
        good=int((~one.defective).sum()),
        defective=int(one.defective.sum()),
        only_a=len(a.pictures) - len(shared),
        only_b=len(b.pictures) - len(shared),
        relabelled=len(shared) - len(common),
        differences=_differences(one, other, seed=seed),
        changes=tuple(changed),
        p_value=mcnemar(sum(change.is_mended for change in changed), sum(not change.is_mended for change in changed)),
    )


def _aligned(a: Side, b: Side, common: Sequence[str]) -> tuple[Scored, Scored]:
    """Return both on the common pictures, in the same order, with the maps that both have."""
    sides = []
    rows = []
    for side in (a, b):
        place_of = {key: place for place, key in enumerate(side.pictures)}
        sides.append([place_of[key] for key in common])
        rows.append(set() if side.scored.pixels is None else set(side.scored.pixels.places.tolist()))
    has_map = [left in rows[0] and right in rows[1] for left, right in zip(*sides, strict=True)]
    one, other = (side.scored.chosen(places, has_map=has_map) for side, places in zip((a, b), sides, strict=True))
    return one, other


def _differences(one: Scored, other: Scored, *, seed: int) -> tuple[Difference, ...]:
    """Return each figure that both have."""
    plain = np.ones((1, len(one.kinds)))
    before, after = one.figures(plain), other.figures(plain)
    names = [name for name in _FIGURES if name in before and name in after]

    def gaps(weights: Any) -> dict[str, Any]:
        left, right = one.figures(weights), other.figures(weights)
        return {name: right[name] - left[name] for name in names}

    intervals = bootstrap(gaps, one.strata, seed=seed)
    right = {name: side.rejected == side.defective for name, side in (("a", one), ("b", other))}
    tested = {"recall": one.defective, "false_reject_rate": ~one.defective, "f1": np.ones(len(one.kinds), bool)}
    found = []
    for name in names:
        interval = intervals.get(name)
        is_better = None
        if name in tested:  # a handful of changed verdicts is tested exactly; the bootstrap would be too sure of them
            members = tested[name]
            mended = int((members & right["b"] & ~right["a"]).sum())
            spoilt = int((members & right["a"] & ~right["b"]).sum())
            gain = float(after[name][0] - before[name][0]) * (-1 if name == "false_reject_rate" else 1)
            # More verdicts right and yet a lower F1: the test speaks of the verdicts, not of that figure.
            if mcnemar(mended, spoilt) <= 1 - LEVEL and gain * (mended - spoilt) > 0:
                is_better = mended > spoilt
        elif interval is not None and (interval.low > 0 or interval.high < 0):
            is_better = interval.low > 0
        found.append(
            Difference(
                name=_FIGURES[name],
                a=float(before[name][0]),
                b=float(after[name][0]),
                interval=interval,
                is_better=is_better,
            )
        )
    return tuple(found)


def _change(a: Side, b: Side, key: str) -> Change | None:
    """Return what changed on a picture, if the verdict did."""
    before, after = a.pictures[key], b.pictures[key]
    if bool(before["pred_label"]) == bool(after["pred_label"]):
        return None
    return Change(
        path=after["path"],
        sha256=key,
        kind=after["kind"],
        is_now_rejected=bool(after["pred_label"]),
        a_score=float(before["pred_score"]),
        b_score=float(after["pred_score"]),
    )
