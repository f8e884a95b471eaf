"""What a run came to."""

from collections import Counter, deque
from collections.abc import MutableSequence
from dataclasses import dataclass, field

import numpy as np

from nut_runtime.parts import JudgedPart
from nut_runtime.verdict import Label, Reason

__all__ = ["Summary"]

_LATENCIES_KEPT, _FAILURES_KEPT = 100_000, 1_000


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        parts: Parts with a verdict.
        rejects: Those judged defective.
        reviews: Those that a person should look at.
        rejudged: Those that a cascade judged twice.
        nuts: Of trays, how many parts in them came to what, by the names of a record's `counts`.
        without_verdict: Parts without one, by reason.
        failures: What went wrong with the first thousand of them and with the sources, in words.
        failed: How many that were.
        latencies_ms: Time to judge, of the last hundred thousand parts: a station runs for months.
        seconds: How long the run took.
        is_stopped: Whether it was told to stop before its source ended.
        unkept: Records that some journal could not keep until the end.
    """

    parts: int = 0
    rejects: int = 0
    reviews: int = 0
    rejudged: int = 0
    nuts: Counter[str] = field(default_factory=Counter)
    without_verdict: Counter[Reason] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    latencies_ms: MutableSequence[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))
    seconds: float = 0.0
    is_stopped: bool = False
    unkept: int = 0

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies; NaN where nothing was judged."""
        return float(np.percentile(list(self.latencies_ms), percent)) if self.latencies_ms else float("nan")

    def add(self, part: JudgedPart) -> None:
        """Count one part."""
        self.nuts.update(part.record.get("counts", {}))
        if part.label is Label.NO_VERDICT:
            self.without_verdict[part.reason or Reason.FAILED] += 1
            self.fail(part.record["error"])
            return
        self.parts += 1
        self.rejects += part.label is Label.DEFECT
        self.reviews += part.label is Label.REVIEW
        verdicts = [view.verdict for view in part.views if view.verdict is not None]
        self.rejudged += any(verdict.is_rejudged for verdict in verdicts)
        self.latencies_ms.append(sum(sum(verdict.milliseconds.values()) for verdict in verdicts))

    def fail(self, message: str) -> None:
        """Count something that went wrong."""
        self.failed += 1
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(message)
