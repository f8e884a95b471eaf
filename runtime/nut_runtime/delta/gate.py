"""What a bundle must show on this device before it replaces another: its own self-test, and the old verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle
from nut_runtime.engines import available_engines, choose_engine, load_engine
from nut_runtime.engines.base import Engine
from nut_runtime.errors import BundleError, EngineError, ParityError
from nut_runtime.locate.locator import Locator
from nut_runtime.manifest import Manifest
from nut_runtime.review import label_with_review
from nut_runtime.scoring import is_defective, normalise
from nut_runtime.selftest import CENTRES_TOLERANCE_PX, farthest_centre, run_selftest
from nut_runtime.verdict import Label

__all__ = ["ChangedVerdict", "Gated", "check_alike", "gate"]

_WORDS = {Label.GOOD: "accepted", Label.REVIEW: "for review", Label.DEFECT: "rejected"}
_NAMED = 4  # changed verdicts that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedVerdict:
    """A golden frame of the old bundle that the new one judges differently.

    Attributes:
        engine: What judged it.
        picture: The frame, as a file of the old bundle.
        was: What the old bundle says of it, in words.
        now: What the new one says, in words.
    """

    engine: str
    picture: str
    was: str
    now: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.picture} was {self.was}, now {self.now} ({self.engine})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """What a new bundle has shown.

    Attributes:
        engines: Names of those that judged with it.
        own_frames: Its golden frames, judged as the reference did, in each.
        good: Golden frames of the old bundle that were accepted.
        review: Those that were for review.
        defective: Those that were rejected.
        trays: Golden trays of the old bundle's locator.
        changed: Those of the old frames and trays whose verdict changed; empty unless that was allowed.
    """

    engines: tuple[str, ...]
    own_frames: int
    good: int
    review: int
    defective: int
    trays: int
    changed: tuple[ChangedVerdict, ...] = ()


def check_alike(old: Manifest, new: Manifest) -> None:
    """Refuse a bundle that is no next version of another, but for another kind of frame.

    Raises:
        BundleError: If one judges the parts of trays and the other whole frames, or they take other frames.
    """
    if (old.locator is None) != (new.locator is None):
        kinds = ("whole frames", "the parts of trays")
        raise BundleError(
            f"{old.bundle_id} judges {kinds[old.locator is not None]} and {new.bundle_id} "
            f"{kinds[new.locator is not None]}; replace the bundle as a whole"
        )
    if new.frame_px not in (None, old.frame_px):
        takes = "any frame" if old.frame_px is None else f"frames of {old.frame_px[1]}x{old.frame_px[0]} px"
        raise BundleError(
            f"{old.bundle_id} takes {takes} and {new.bundle_id} only frames of {new.frame_px[1]}x{new.frame_px[0]} px; "
            "replace the bundle as a whole"
        )


def gate(
    old: Bundle,
    new: Bundle,
    *,
    engine: str | None = None,
    threads: int | None = None,
    allows_changes: bool = False,
) -> Gated:
    """Judge with a new bundle on this device, before it takes the place of an old one.

    In each engine: its golden frames must pass the self-test, and each golden frame of the old bundle, good or
    defective, must get the verdict that the old bundle gives it at its own operating point: good, for review, or
    defective. Of bundles with locators, the parts of the old one's golden trays must be found where they were.

    Args:
        old: The bundle that is there.
        new: The one that is to take its place.
        engine: Judges with this one; None with each that is installed and has a model.
        threads: Threads to compute with; None leaves it to the engine.
        allows_changes: Return changed verdicts instead of refusing. The self-test must pass all the same.

    Raises:
        BundleError: If the new one is for other frames, or has no golden frames or no model for an engine here.
        EngineError: If an engine is not installed or fails, or does not judge as the new bundle's reference did.
        ParityError: If a verdict changed; the message names it.
    """
    check_alike(old.manifest, new.manifest)
    engines = _engines(new, engine)
    changed: list[ChangedVerdict] = []
    for name in engines:
        judge = load_engine(new, name, threads=threads)
        locator = None if new.manifest.locator is None else Locator(new, engine=name, threads=threads)
        drift = run_selftest(new, judge, locator).first_drift
        if drift is not None:
            raise EngineError(
                f"{new.manifest.bundle_id} does not judge here as its reference did: {drift.stage} is off by "
                f"{drift.deviation:.1e} (tolerance {drift.tolerance:.1e}) in {name}; keep {old.manifest.bundle_id}"
            )
        changed += _changed_frames(old, new, judge)
        changed += [] if locator is None else _changed_trays(old, locator)
    if changed and not allows_changes:
        listed = "; ".join(map(str, changed[:_NAMED]))
        more = f"; and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise ParityError(
            f"{new.manifest.bundle_id} changes verdicts on golden frames of {old.manifest.bundle_id}: {listed}{more}; "
            "keep the old one, or give --force if that is what the new one is for"
        )
    verdicts = [_verdict(frame.raw_score, old) for frame in old.manifest.golden]
    return Gated(
        engines=tuple(engines),
        own_frames=len(new.manifest.golden),
        good=verdicts.count(_WORDS[Label.GOOD]),
        review=verdicts.count(_WORDS[Label.REVIEW]),
        defective=verdicts.count(_WORDS[Label.DEFECT]),
        trays=0 if old.manifest.locator is None else len(old.manifest.locator.golden),
        changed=tuple(changed),
    )


def _engines(bundle: Bundle, engine: str | None) -> Sequence[str]:
    """Return the engines to judge with; never none."""
    if engine is not None:
        return [choose_engine(engine)]
    choose_engine(None)  # says what to install where there is none
    names = [name for name in available_engines() if name in bundle.manifest.models]
    if not names:
        bundle.model_path(choose_engine(None))  # says which models there are
    return names


def _changed_frames(old: Bundle, new: Bundle, judge: Engine) -> list[ChangedVerdict]:
    changed = []
    for golden in old.manifest.golden:
        was = _verdict(golden.raw_score, old)
        now = _verdict(judge.infer(old.golden_frame(golden)).raw_score, new)
        if was != now:
            changed.append(ChangedVerdict(engine=judge.name, picture=golden.picture, was=was, now=now))
    return changed


def _verdict(raw_score: float, bundle: Bundle) -> str:
    """Return the verdict at a bundle's operating point, in words."""
    if not math.isfinite(raw_score):
        return "not judged"
    point = bundle.manifest.point
    score = normalise(np.float32(raw_score), point.image)
    label = label_with_review(float(score), is_defective=bool(is_defective(score)), review_from=point.review_score)
    return _WORDS[label]


def _changed_trays(old: Bundle, locator: Locator) -> list[ChangedVerdict]:
    changed = []
    for tray in old.locator_entry().golden:
        frame: NDArray[np.uint8] = old.golden_frame(tray)
        centres = [one.centre for one in locator.find(frame)]
        off = farthest_centre(centres, tray.centres)
        if not off <= CENTRES_TOLERANCE_PX:
            was = f"{len(tray.centres)} parts"
            now = f"{len(centres)}" if off == float("inf") else f"one of them {off:.1f} px away"
            changed.append(ChangedVerdict(engine=locator.name, picture=tray.picture, was=was, now=now))
    return changed
