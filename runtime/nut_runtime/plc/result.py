"""What the PLC is told of one part."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nut_runtime.plc.registers import NO_SCORE, REASON_CODES
from nut_runtime.verdict import Label

__all__ = ["Outcome", "Result", "error", "result_of"]

_SCORE_UNIT = 10_000


class Outcome(StrEnum):
    """The five results, of which a part has exactly one; named as its counter's register."""

    OK = "OK"
    NG = "NG"
    REVIEW = "Review"
    NO_VERDICT = "NoVerdict"
    ERROR = "Error"


_OUTCOMES: Mapping[str, Outcome] = {
    Label.GOOD: Outcome.OK,
    Label.DEFECT: Outcome.NG,
    Label.REVIEW: Outcome.REVIEW,
    Label.NO_VERDICT: Outcome.NO_VERDICT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one part, as numbers.

    Attributes:
        outcome: Which of the five.
        reason: Code of why there is no verdict, 0 where there is one.
        sequence: The record's number; 0 where there is no record.
        score: Score x 10000, or 65535.
    """

    outcome: Outcome
    reason: int = 0
    sequence: int = 0
    score: int = NO_SCORE


def error(reason: str) -> Result:
    """Return the result of a part that was not answered, `timeout` or `stopped`."""
    return Result(outcome=Outcome.ERROR, reason=REASON_CODES[reason])


def result_of(record: Mapping[str, Any]) -> Result:
    """Return what a record says; one whose label is none of the four is a part without a verdict, never a good one.

    Args:
        record: A part's record (docs/runtime.md).
    """
    outcome = _OUTCOMES.get(str(record.get("label")), Outcome.NO_VERDICT)
    reason = 0
    if outcome is Outcome.NO_VERDICT:
        reason = REASON_CODES.get(str(record.get("reason")), REASON_CODES["other"])
    score = record.get("pred_score")
    if score is None or not math.isfinite(score):
        number = NO_SCORE
    else:
        number = min(max(round(score * _SCORE_UNIT), 0), _SCORE_UNIT)
    return Result(outcome=outcome, reason=reason, sequence=record.get("sequence") or 0, score=number)
