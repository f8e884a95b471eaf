"""A calibration in words: what holds, what does not, and how many pictures would be needed."""

from collections.abc import Mapping
from typing import Any

from nut_train.promise import CONFIDENCE, pictures_needed

__all__ = ["percent", "promise_words", "review_words", "warnings_of"]


def percent(rate: float) -> str:
    """Return a share as a percentage with three digits at least.

    Example:
        >>> percent(0.01), percent(0.0025), percent(0.12345)
        ('1%', '0.25%', '12.3%')
    """
    return f"{100 * rate:.3g}%"


def promise_words(calibration: Mapping[str, Any]) -> list[str]:
    """Return what may be said to whoever signs for a line, a sentence each.

    Args:
        calibration: As `Calibration.to_json` gives it.
    """
    promised, count = calibration["promise"], calibration["held_out"]
    is_crossfit = calibration["method"] == "crossfit"
    if calibration["rule"] in {"f1", "value"}:
        above = promised["above"]
        lines = [
            f"the calibration pictures did not put the threshold, so no rate is promised: {above} of {count} lie above"
        ]
    elif is_crossfit:
        lines = [
            _share_words(promised, f"of good parts like these from {count} cross-fitted pictures", is_crossfit=True)
        ]
        if promised["bound"] is None:
            lines.append("each fold whitens patches in its own way; hold pictures out for a rate that is proven")
        else:
            lines.append("with a coreset or weighed scores the proof is not exact; hold pictures out for one that is")
    else:
        kept = _share_words(promised, "of good parts like these are rejected", is_crossfit=False)
        lines = [f"{kept}, on average over calibrations with {count} pictures (split conformal)"]
    if promised["confident_rate"] is not None:
        lines.append(
            f"this very calibration: at most {percent(promised['confident_rate'])} with {CONFIDENCE:.0%} confidence"
        )
    return lines


def review_words(calibration: Mapping[str, Any]) -> str:
    """Return what may be said of the good parts that are for review or rejected.

    Args:
        calibration: As `run.json` has it, with a review threshold.
    """
    of_what = "of good parts for review or rejected"
    promised = calibration.get("review_promise")
    if promised is None:  # a record from before it was worked out
        return f"aimed at {percent(calibration['review_rate'])} {of_what}"
    return _share_words(promised, of_what, is_crossfit=calibration["method"] == "crossfit")


def _share_words(promised: Mapping[str, Any], of_what: str, *, is_crossfit: bool) -> str:
    """Return what is promised of a threshold, as far as it is proven."""
    aimed, bound = f"aimed at {percent(promised['mean_rate'])} {of_what}", promised["bound"]
    if bound is None:
        return f"{aimed}; none is proven"
    if is_crossfit:
        return f"{aimed}; proven (cross-validation+, full bank, no weighing, no whitening) is at most {percent(bound)}"
    return f"at most {percent(bound)} {of_what}"


def warnings_of(calibration: Mapping[str, Any]) -> list[str]:
    """Return what a user should be warned of, a line each.

    Args:
        calibration: As `run.json` has it, of this version or from before there were rules.
    """
    count, rate = calibration["held_out"], calibration["false_reject_rate"]
    is_crossfit = calibration.get("method", "holdout") == "crossfit"
    kind = "cross-fitted" if is_crossfit else "held-out"
    lines = []
    if not calibration["is_supported"]:
        other = "" if is_crossfit else ", or use every good picture with --calibration crossfit"
        lines.append(
            f"{count} {kind} pictures can speak for no less than {percent(calibration['smallest_rate'])}; "
            f"{percent(rate)} needs {pictures_needed(rate)} of them: add good pictures{other}"
        )
    if calibration.get("rule") == "f1":
        lines.append(
            "the threshold has seen the test defects: F1, recall and false rejects on them are no measurement any more"
        )
    if (
        calibration.get("rule") == "quantile"
        and (bound := calibration["promise"]["bound"]) is not None
        and bound > rate
    ):
        lines.append(f"a plain quantile promises no more than {percent(bound)} where {percent(rate)} was asked for")
    if (review := _review_warning(calibration, kind)) is not None:
        lines.append(review)
    return lines


def _review_warning(calibration: Mapping[str, Any], kind: str) -> str | None:
    """Return what a user should be warned of about the review."""
    count, rate = calibration["held_out"], calibration.get("review_rate")
    if rate is None:
        return None
    if calibration["point"].get("review_from") is None:
        return f"no part is for review: {count} pictures do not tell a rate of {percent(rate)} from that of the rejects"
    if rate < calibration["smallest_rate"]:
        return (
            f"{count} {kind} pictures can speak for no less than {percent(calibration['smallest_rate'])} for review or "
            f"rejected; {percent(rate)} needs {pictures_needed(rate)} of them: add good pictures"
        )
    bound = (calibration.get("review_promise") or {}).get("bound")
    if calibration.get("rule") == "quantile" and bound is not None and bound > rate:
        return (
            f"a plain quantile promises no more than {percent(bound)} for review or rejected where {percent(rate)} was "
            "asked for"
        )
    return None
