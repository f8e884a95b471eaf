"""Where a bundle's thresholds were before, and who moved them; stored in its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from nut_runtime.scoring import OperatingPoint

__all__ = ["PointMove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointMove:
    """One change of an operating point.

    Attributes:
        when: ISO 8601, UTC.
        bundle_id: What the bundle was called before.
        before: The operating point until then.
        after: That from then on.
        by: What it rests on: the rule, the rate and the calibration pictures, or the value that was asked for.
        reason: Why, in the words of whoever moved it.
    """

    when: str
    bundle_id: str
    before: OperatingPoint
    after: OperatingPoint
    by: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "when": self.when,
            "bundle_id": self.bundle_id,
            "from": self.before.to_json(),
            "to": self.after.to_json(),
            "by": dict(self.by),
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read plain types.

        Raises:
            KeyError: If something is missing.
            InputError: If an operating point is none.
        """
        return cls(
            when=str(data["when"]),
            bundle_id=str(data["bundle_id"]),
            before=OperatingPoint.from_json(data["from"]),
            after=OperatingPoint.from_json(data["to"]),
            by=dict(data["by"]),
            reason=str(data["reason"]),
        )
