"""A calibration in words: what holds, what does not, and how many pictures would be needed."""

from collections.abc import Mapping
from typing import Any

from nut_train.promise import CONFIDENCE, pictures_needed

__all__ = ["percent", "promise_words", "warnings_of"]


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
    if promised["bound"] is None:
        above = promised["above"]
        lines = [
            f"the calibration pictures did not put the threshold, so no rate is promised: {above} of {count} lie above"
        ]
    elif is_crossfit:
        aim, bound = percent(promised["mean_rate"]), percent(promised["bound"])
        aimed = f"aimed at {aim} of good parts like these from {count} cross-fitted pictures"
        lines = [
            f"{aimed}; proven (cross-validation+, full bank, no weighing) is at most {bound}",
            "with a coreset or weighed scores the proof is not exact; hold pictures out for one that is",
        ]
    else:
        bound = percent(promised["bound"])
        kept = f"at most {bound} of good parts like these are rejected"
        lines = [f"{kept}, on average over calibrations with {count} pictures (split conformal)"]
    if promised["confident_rate"] is not None:
        lines.append(
            f"this very calibration: at most {percent(promised['confident_rate'])} with {CONFIDENCE:.0%} confidence"
        )
    return lines


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
    if calibration.get("rule") == "quantile" and calibration["promise"]["bound"] > rate:
        bound = percent(calibration["promise"]["bound"])
        lines.append(f"a plain quantile promises no more than {bound} where {percent(rate)} was asked for")
    if calibration.get("review_rate") is not None and calibration["point"].get("review_from") is None:
        lines.append(
            f"no part is for review: {count} pictures do not tell a rate of {percent(calibration['review_rate'])} from "
            f"that of the rejects"
        )
    return lines
