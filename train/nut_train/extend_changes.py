"""What growing a run changed: thresholds, figures and verdicts, and what is to be known of it in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nut_dataset.findings import counted
from nut_runtime.errors import InputError
from nut_runtime.scoring import Scale, is_defective, normalise
from nut_train.compare import Comparison, compare, open_side
from nut_train.crossfit import GoodScore
from nut_train.extend_pictures import BasePictures, NewPictures
from nut_train.run import Run

__all__ = ["changes_of", "compare_with_base", "notes_of", "picture_rows"]

_FOREIGN = 5  # times the rows of a known picture: close-ups among cut-outs took over 20 (docs/growing.md)


def picture_rows(
    run: Run,
    record: Mapping[str, Any],
    new: NewPictures,
    step: int,
    before: Sequence[GoodScore],
    after: Sequence[GoodScore],
) -> list[dict[str, Any]]:
    """Return a row for each new picture: what the run said of it, and what the grown one says.

    Args:
        run: The base.
        record: The grown run's, calibrated.
        new: The pictures.
        step: Which growing it is, from 1.
        before: Scores by the base.
        after: Scores by the grown run, of the same pictures.
    """
    point = Run(folder=run.folder, record=dict(record)).point
    earlier = {score.path: score.raw_score for score in before}

    def is_rejected(raw_score: float, scale: Scale) -> bool:
        return bool(is_defective(normalise(np.float32(raw_score), scale)))

    return [
        {
            "name": new.name(score.path, step),
            "sha256": new.digests[score.path],
            "role": "bank" if score.path in new.bank else "held_out",
            "before": earlier[score.path],
            "after": score.raw_score,
            "was_rejected": is_rejected(earlier[score.path], run.point.image),
            "is_rejected": is_rejected(score.raw_score, point.image),
        }
        for score in after
    ]


def compare_with_base(run: Run, folder: Path) -> tuple[Comparison | None, str]:
    """Compare a grown run with its base on the test pictures that both judged.

    Returns:
        The comparison, or None and why there is none.
    """
    try:
        return compare(open_side(run.folder), open_side(folder)), ""
    except InputError as error:
        return None, str(error).replace(str(folder), "the grown run")


def changes_of(run: Run, record: Mapping[str, Any], comparison: Comparison | None, reason: str) -> dict[str, Any]:
    """Return what changed as plain types, for `run.json` and the report."""
    points = [source["calibration"]["point"] for source in (run.record, record)]
    named = {"image": ("image", "threshold"), "pixel": ("pixel", "threshold")}
    found: dict[str, Any] = {
        "thresholds": {name: [point[part][key] for point in points] for name, (part, key) in named.items()}
        | {"review": [point.get("review_from") for point in points]},
        "bank_rows": [run.record["bank"]["rows"], record["bank"]["rows"]],
        "not_compared": reason,
    }
    if comparison is None:
        return found
    return found | {
        "good": comparison.good,
        "defective": comparison.defective,
        "p_value": comparison.p_value,
        "figures": [
            {
                "name": one.name,
                "before": one.a,
                "after": one.b,
                "interval": None if one.interval is None else {"low": one.interval.low, "high": one.interval.high},
                "is_better": one.is_better,
            }
            for one in comparison.differences
        ],
        "verdicts": [
            {
                "path": one.path,
                "kind": one.kind,
                "is_now_rejected": one.is_now_rejected,
                "is_mended": one.is_mended,
                "before": one.a_score,
                "after": one.b_score,
            }
            for one in comparison.changes
        ],
    }


def notes_of(
    base: BasePictures,
    new: NewPictures,
    rows: Sequence[Mapping[str, Any]],
    *,
    density: float,
    is_crossfit: bool,
    is_full: bool,
) -> list[str]:
    """Return what is to be known of a growing, a sentence each.

    Args:
        base: The base's pictures.
        new: The new ones.
        rows: From `picture_rows`.
        density: How many times as many rows of a new picture joined as the run has of each of its own.
        is_crossfit: Whether the base is cross-fitted.
        is_full: Whether the bank ended at the size that was allowed.
    """
    held, added = len(base.held_out) - len(new.moved), len(new.held_out)
    notes = []
    if is_crossfit:
        notes.append(
            "the cross-fitted scores are those of before: with more rows in the bank hardly a part scores higher, so "
            "no more good parts like those are rejected than was stated"
        )
    elif added:
        notes.append(
            f"calibrated with {counted(held, 'picture')} that the run held out and {added} new: what holds is about "
            "parts that come mixed like these"
        )
    else:
        notes.append(
            f"calibrated with the {counted(held, 'picture')} that the run held out, judged anew: what holds is about "
            "parts like those, of which the new pictures say nothing"
        )
    if new.moved:
        notes.append(
            f"{counted(len(new.moved), 'held-out picture')} moved into the bank ({_some(new.moved)}); if chosen "
            "because the score was high, the threshold is now lower than fresh parts like it allow"
        )
    if new.leaked:
        names = _some([path.relative_to(base.dataset.root).as_posix() for path in new.leaked])
        notes.append(
            f"{counted(len(new.leaked), 'test picture')} left out of the evaluation, being new pictures: {names}"
        )
    if base.is_changed:
        notes.append(f"{base.dataset.root} is not as it was at the training; its training pictures are")
    if density > _FOREIGN:
        notes.append(
            f"the new pictures needed {density:.0f} times as many rows each as the run's own, so they show something "
            "else and others like them may still be rejected; with many of them, train again on all"
        )
    rejected = [row["name"] for row in rows if row["role"] == "bank" and row["is_rejected"]]
    if rejected:
        ending = "; allow a larger bank" if is_full else ""
        notes.append(f"{counted(len(rejected), 'new picture')} still rejected ({_some(rejected)}){ending}")
    return notes


def _some(names: Sequence[str]) -> str:
    """Return the first few names."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004 - as many as are shown
