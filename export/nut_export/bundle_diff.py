"""What changed between two bundles, for the person who approves an update."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from nut_export.bundle_facts import SECTIONS, Fact, Value, bundle_facts
from nut_export.verdict_diff import VerdictDiff
from nut_runtime.bundle import Bundle

__all__ = ["BundleDiff", "Difference", "diff_bundles"]

DIFF_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A fact that differs.

    Attributes:
        key: Where it stands in the manifest, such as `provenance.bank.rows`.
        section: One of `bundle_facts.SECTIONS`.
        label: What it is, in words.
        a: What the old bundle says; None where it does not.
        b: What the new one says.
    """

    key: str
    section: str
    label: str
    a: Value
    b: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDiff:
    """What changed from one bundle to another.

    Attributes:
        a: The old bundle's folder.
        b: The new one's.
        differences: The facts that differ, section by section.
        same: The facts that both state and that are equal.
        verdicts: What they say of the same pictures; None where none were given.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    same: tuple[Fact, ...]
    verdicts: VerdictDiff | None = None

    @property
    def is_different(self) -> bool:
        """Whether verdicts flipped or, where no pictures were given, whether any fact differs."""
        return bool(self.differences) if self.verdicts is None else bool(self.verdicts.flips)

    def with_verdicts(self, verdicts: VerdictDiff) -> Self:
        """Return the same with verdicts."""
        return replace(self, verdicts=verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return plain types, the schema number first."""
        return {
            "schema": DIFF_SCHEMA,
            "a": self.a,
            "b": self.b,
            "is_different": self.is_different,
            "differences": [asdict(difference) for difference in self.differences],
            "same": [fact.key for fact in self.same],
            "verdicts": None if self.verdicts is None else self.verdicts.to_json(),
        }


def diff_bundles(a: Bundle, b: Bundle) -> BundleDiff:
    """Compare what two bundles say of themselves.

    Args:
        a: The old bundle.
        b: The new one.
    """
    old, new = bundle_facts(a), bundle_facts(b)
    differences, same = [], []
    for key in [*old, *(key for key in new if key not in old)]:
        first, second = old.get(key), new.get(key)
        fact = first or new[key]
        values = (None if first is None else first.value, None if second is None else second.value)
        if _repeats_the_operating_point(key, old, new):
            continue
        if values[0] != values[1]:
            differences.append(
                Difference(key=key, section=fact.section, label=fact.label, a=values[0], b=values[1]),
            )
        elif fact.value is not None:
            same.append(fact)
    differences.sort(key=lambda difference: SECTIONS.index(difference.section))
    same.sort(key=lambda fact: SECTIONS.index(fact.section))
    return BundleDiff(a=str(a.folder), b=str(b.folder), differences=tuple(differences), same=tuple(same))


def _repeats_the_operating_point(key: str, old: Mapping[str, Fact], new: Mapping[str, Fact]) -> bool:
    """Return whether a threshold in the model files is the manifest's in both bundles, so that it says nothing new."""
    start, _, rest = key.partition(".")
    twin = f"operating_point.{rest}"
    return start == "model_point" and all(
        key in facts and twin in facts and facts[key].value == facts[twin].value for facts in (old, new)
    )
