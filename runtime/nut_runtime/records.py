"""The record of a part: the one JSON object that every output is told."""

from collections.abc import Mapping, Sequence
from typing import Any

from nut_runtime.locate.tray import COUNTS, Nut
from nut_runtime.parts import JudgedPart, Part, View
from nut_runtime.regions import Box
from nut_runtime.verdict import Label, Reason, Verdict

__all__ = ["RECORD_SCHEMA", "answer_of", "part_record"]

RECORD_SCHEMA = 2
"""2 since records have an id, a label where there is no verdict, and views."""


def part_record(
    part: Part,
    views: Sequence[View],
    label: Label,
    reason: Reason | None,
    *,
    run: str,
    station: str,
    bundle: str,
    milliseconds: float,
    picture: str | None = None,
) -> dict[str, Any]:
    """Return a part's record, schema 2 (docs/runtime.md).

    Scores, boxes and times are those of one view: the one with the highest score, or of a part without a verdict the
    first view that has none. A part with several views has all of them under `views`. One that is a tray has its parts
    under `nuts`, and how many came to what under `counts`.

    Args:
        part: The part.
        views: Its views, judged; at least one.
        label: The verdict on it.
        reason: Why there is none.
        run: Names this run of the station; with the sequence number it makes the record's id.
        station: The station's name.
        bundle: Id of the model at the moment; a verdict tells of its own, which may have been exchanged since.
        milliseconds: From the trigger, or the capture, to the verdict.
        picture: Where its picture is saved to, if one is.
    """
    shown = _deciding(views, label)
    record: dict[str, Any] = {
        "schema": RECORD_SCHEMA,
        "id": f"{run}-{part.sequence}",
        "timestamp": shown.frame.timestamp.isoformat(timespec="milliseconds"),
        "sequence": part.sequence,
        "station": station,
        "source": shown.frame.source,
        "trigger": part.trigger.name,
        "bundle": bundle if shown.verdict is None else shown.verdict.bundle_id,
        "label": str(label),
        "reason": None if reason is None else str(reason),
        "error": shown.error,
        **_scores(shown),
        "ms": _milliseconds(shown) | {"total": round(milliseconds, 3)},
        "picture": picture,
        "skipped": part.skipped,
        "warnings": sorted({warning for view in views for warning in view.warnings}),
    }
    if len(views) > 1:
        record["views"] = [
            {
                "camera": view.frame.camera,
                "label": str(view.label),
                "reason": None if view.reason is None else str(view.reason),
                "error": view.error,
                **_scores(view),
                "ms": _milliseconds(view),
            }
            for view in views
        ]
    trays = [(view, view.tray) for view in views if view.tray is not None]
    if trays:
        record["counts"] = {name: sum(tray.counts[name] for _, tray in trays) for name in COUNTS}
        record["nuts"] = [
            _nut(nut, f"{record['id']}/{place}" if len(views) > 1 else record["id"], view)
            for place, view in enumerate(views, 1)
            for nut in (view.tray.nuts if view.tray is not None else ())
        ]
    return record


def answer_of(part: JudgedPart) -> Mapping[str, Any]:
    """Return what is answered to who triggered a part: its record, where every journal has it.

    Where one could not keep it, the answer is `no-verdict`: nobody is told that a part is good without a trace of it.
    """
    if part.is_kept:
        return part.record
    error = "the record could not be kept; see the station's health"
    return {**part.record, "label": str(Label.NO_VERDICT), "reason": str(Reason.NOT_KEPT), "error": error}


def _deciding(views: Sequence[View], label: Label) -> View:
    """Return the view that the part's record shows: of those that decided the verdict, the most suspect one."""
    judged = [view for view in views if view.verdict is not None]
    if label is Label.NO_VERDICT or not judged:
        return next((view for view in views if view.label is Label.NO_VERDICT), views[0])
    return max(judged, key=lambda view: 0.0 if view.verdict is None else view.verdict.pred_score)


def _nut(nut: Nut, tray_id: str, view: View) -> dict[str, Any]:
    """Return the record of one part of a tray."""
    one = nut.instance
    return {
        "id": f"{tray_id}/{one.number}",
        "number": one.number,
        "camera": view.frame.camera,
        "label": str(nut.label),
        "reason": None if one.is_complete else str(Reason.INCOMPLETE),
        "flaw": None if one.flaw is None else str(one.flaw),
        **_scores_of(nut.verdict, nut.boxes),
        "centre": [round(one.centre[0], 1), round(one.centre[1], 1)],
        "box": [one.x, one.y, one.width, one.height],
        "angle_deg": round(one.angle_deg, 1),
        "area_px": one.area_px,
    }


def _scores(view: View) -> dict[str, Any]:
    return _scores_of(view.verdict, () if view.verdict is None else view.verdict.boxes)


def _scores_of(verdict: Verdict | None, boxes: Sequence[Box]) -> dict[str, Any]:
    if verdict is None:
        return {"pred_score": None, "raw_score": None, "rejudged": False, "masked": False, "boxes": []}
    return {
        "pred_score": round(verdict.pred_score, 6),
        "raw_score": round(verdict.raw_score, 6),
        "rejudged": verdict.is_rejudged,
        "masked": verdict.is_masked,
        "boxes": [box.to_json() for box in boxes],
    }


def _milliseconds(view: View) -> dict[str, float]:
    stages = {"capture": view.frame.capture_ms, "wait": view.wait_ms}
    if view.verdict is not None:
        stages |= dict(view.verdict.milliseconds)
    return {stage: round(value, 3) for stage, value in stages.items()}
