"""Which verdicts two bundles disagree on, on the same pictures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nut_dataset.layout import GOOD, list_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.bundle import Bundle
from nut_runtime.engines import available_engines, choose_engine
from nut_runtime.errors import BundleError, InputError, PictureError
from nut_runtime.inspector import Inspector
from nut_runtime.sources import Frame, PictureSource, Source, open_files
from nut_runtime.verdict import Verdict

__all__ = ["Flip", "OnFlip", "Unjudged", "VerdictDiff", "compare_verdicts", "open_pictures"]

OnFlip = Callable[[Frame, Verdict, Verdict], None]
"""Told of each frame whose verdicts differ, with those of the old and of the new bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A picture that the two bundles judge differently.

    Attributes:
        source: The picture's path, or the video and the frame's number.
        a_score: The old bundle's score, 0..1, its threshold at 0.5.
        b_score: The new one's, on its own scale.
        is_now_defective: Whether the new one rejects it; if not, the old one did.
    """

    source: str
    a_score: float
    b_score: float
    is_now_defective: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unjudged:
    """A picture that could not be judged.

    Attributes:
        source: Which one.
        reason: Why, in words.
    """

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictDiff:
    """What two bundles say of the same pictures.

    Attributes:
        engine: What judged with both.
        engine_version: Version of its package.
        pictures: How many were judged, at least one.
        a_rejects: How many the old bundle rejects.
        b_rejects: How many the new one rejects.
        flips: Those that are judged differently, the largest difference of scores first.
        unjudged: Those that could not be read.
        max_d_score: Largest |d pred_score|.
        mean_d_score: Mean |d pred_score|.
    """

    engine: str
    engine_version: str
    pictures: int
    a_rejects: int
    b_rejects: int
    flips: tuple[Flip, ...]
    unjudged: tuple[Unjudged, ...]
    max_d_score: float
    mean_d_score: float

    @property
    def good_to_defect(self) -> int:
        """How many pictures only the new bundle rejects."""
        return sum(flip.is_now_defective for flip in self.flips)

    @property
    def defect_to_good(self) -> int:
        """How many pictures only the old bundle rejects."""
        return len(self.flips) - self.good_to_defect

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self) | {"good_to_defect": self.good_to_defect, "defect_to_good": self.defect_to_good}


def open_pictures(path: Path) -> Source:
    """Open what both bundles are to judge: a data set's pictures without its masks, or any folder, picture or video.

    Raises:
        InputError: If there is nothing to judge.
        SourceError: If a video does not open.
    """
    if (path / "train" / GOOD).is_dir() or (path / "test").is_dir():
        dataset = list_dataset(path)
        pictures = (*dataset.train_good, *dataset.test_good, *dataset.defective)
        if not pictures:
            raise InputError(f"{path} is a data set without pictures; give a folder that has some")
        return PictureSource(pictures)
    return open_files([path])


def compare_verdicts(
    a: Bundle,
    b: Bundle,
    source: Source,
    *,
    engine: str | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    on_flip: OnFlip | None = None,
) -> VerdictDiff:
    """Judge the same pictures with two bundles, each at its own threshold.

    Args:
        a: The old bundle.
        b: The new one.
        source: The pictures; closed at the end. One that cannot be read is told, and the next one follows.
        engine: Judges with both; None takes an installed one that both have a model for.
        threads: Threads to compute with; None leaves it to the engine.
        progress: Told of each picture, where their number is known.
        on_flip: Told of each picture that is judged differently.

    Raises:
        InputError: If no picture could be judged.
        BundleError: If there is no engine that both have a model for.
        EngineError: If the engine is not installed or fails.
        SourceError: If a video breaks off.
    """
    name = engine if engine is not None else _common_engine(a, b)
    old, new = (Inspector(bundle, engine=name, threads=threads) for bundle in (a, b))
    flips: list[Flip] = []
    unjudged: list[Unjudged] = []
    rejects = np.zeros(2, int)
    d_scores: list[float] = []
    try:
        for number, frame in enumerate(source, start=1):
            try:
                verdicts = _judge(frame, (old, new))
            except PictureError as error:
                unjudged.append(Unjudged(source=frame.source, reason=str(error)))
            else:
                first, second = verdicts
                rejects += [first.is_defective, second.is_defective]
                d_scores.append(abs(second.pred_score - first.pred_score))
                if first.is_defective != second.is_defective:
                    flips.append(_flip(frame, first, second))
                    if on_flip is not None:
                        on_flip(frame, first, second)
            if source.count is not None:
                progress("judging with both", number, source.count)
    finally:
        source.close()
    if not d_scores:
        first_reason = f" ({unjudged[0].reason})" if unjudged else ""
        raise InputError(f"none of {len(unjudged)} pictures could be judged{first_reason}; give others")
    return VerdictDiff(
        engine=old.engine.name,
        engine_version=old.engine.version,
        pictures=len(d_scores),
        a_rejects=int(rejects[0]),
        b_rejects=int(rejects[1]),
        flips=tuple(sorted(flips, key=lambda flip: -abs(flip.b_score - flip.a_score))),
        unjudged=tuple(unjudged),
        max_d_score=max(d_scores),
        mean_d_score=float(np.mean(d_scores)),
    )


def _judge(frame: Frame, inspectors: Sequence[Inspector]) -> list[Verdict]:
    """Judge one frame with each.

    Raises:
        PictureError: If there is no picture, or it is not one that can be judged.
    """
    if frame.picture is None:
        raise PictureError(str(frame.error))
    return [inspector.inspect(frame.picture) for inspector in inspectors]


def _flip(frame: Frame, first: Verdict, second: Verdict) -> Flip:
    return Flip(
        source=frame.source,
        a_score=first.pred_score,
        b_score=second.pred_score,
        is_now_defective=second.is_defective,
    )


def _common_engine(a: Bundle, b: Bundle) -> str:
    """Return the preferred installed engine that both bundles have a model for.

    Raises:
        BundleError: If there is none.
        EngineError: If no engine is installed.
    """
    choose_engine(None)  # says what to install
    for name in available_engines():
        if name in a.manifest.models and name in b.manifest.models:
            return name
    models = " and ".join(f"{bundle.folder} has {', '.join(bundle.manifest.models)}" for bundle in (a, b))
    raise BundleError(f"no installed engine can judge with both bundles: {models}; install the engine that both have")
