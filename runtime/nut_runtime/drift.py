"""Notices that a view is not any more what the model was calibrated on: lamp, lens, camera or parts have changed.

Each part is compared with the good ones of the calibration: how many of those were darker, sharper, scored less. Over
the last parts of a camera these ranks make a count whose distribution is known while nothing has changed
(`nut_runtime.rank_limits`), so the rate of false warnings is stated and not found by trying (docs/drift.md).
"""

import itertools
import logging
import math
import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nut_runtime.health import Health
from nut_runtime.manifest import Manifest
from nut_runtime.rank_limits import count_limit, pair_limit
from nut_runtime.verdict import Verdict
from nut_runtime.view_calibration import Sample, ViewCalibration, view_figures

__all__ = ["FALSE_WARNINGS", "WARNINGS", "WINDOWS", "DriftWatch"]

_log = logging.getLogger("nut_runtime")

WINDOWS = (32, 128)
"""Parts that are looked at together: few, to notice a large change soon, and many, to notice a small one at all."""

FALSE_WARNINGS = 1e-6
"""Probability at most that a warning begins at a part though nothing has changed, per camera."""

_ENDS_AT = 1e-3  # a warning ends when its count is none of the 0.1% that are most extreme without a change

DARKER = "view darker than when calibrated"
BRIGHTER = "view brighter than when calibrated"
BLURRED = "view blurred"
NOISIER = "view sharper or noisier than when calibrated"
RISEN = "scores have risen"
REJECTED = "more parts rejected than usual: camera moved or parts changed"

WARNINGS = (DARKER, BRIGHTER, BLURRED, NOISIER, RISEN, REJECTED)
_EACH = FALSE_WARNINGS / (len(WARNINGS) * len(WINDOWS))  # that any of so many comes is at most their sum


@dataclass(slots=True)
class _Seen:
    """What was seen of one camera."""

    brightness: deque[float] = field(default_factory=lambda: deque(maxlen=max(WINDOWS)))
    sharpness: deque[float] = field(default_factory=lambda: deque(maxlen=max(WINDOWS)))
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=max(WINDOWS)))  # NaN: a part that was rejected
    warnings: tuple[str, ...] = ()
    looked_at: float = -math.inf
    is_reported: bool = False


class DriftWatch:
    """Watches the views of a station's cameras. Several threads may use it.

    Args:
        calibration: What views were like when the model was calibrated; None, of a bundle from before it was stored,
            gives no warnings, which is logged once.
        threshold: Raw score from which parts are rejected: those below are compared with each other.
        usual_rejects: Share of the parts that may be rejected without a warning.
        every_s: Look at no more than one frame in so long. A camera that runs freely shows the same part many times,
            and what is seen many times would count as often.
        health: Told how each view is, as `view NAME`.
    """

    def __init__(
        self,
        calibration: ViewCalibration | None,
        *,
        threshold: float = math.inf,
        usual_rejects: float = 0.1,
        every_s: float = 0.0,
        health: Health | None = None,
    ) -> None:
        self._usual_rejects, self._every_s, self._health = usual_rejects, every_s, health
        self._cameras: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        empty = Sample(count=0, values=())
        self.is_watching = calibration is not None
        if calibration is None:
            calibration = ViewCalibration(brightness=empty, sharpness=empty, raw_score=empty)
            _log.warning("drift of the views is not watched: the bundle does not say what they were like; export again")
        self._brightness, self._sharpness = calibration.brightness.values, calibration.sharpness.values
        self._scores = tuple(score for score in calibration.raw_score.values if score < threshold)
        for values in (self._brightness, self._sharpness, self._scores):  # worked out now, not while a part waits
            for window, rate in itertools.product(WINDOWS, (_EACH, _ENDS_AT)):
                pair_limit(len(values), window, rate)

    @classmethod
    def of(cls, manifest: Manifest, *, every_s: float = 0.0, health: Health | None = None) -> Self:
        """Return a watch for a bundle.

        Args:
            manifest: The bundle's.
            every_s: As in the class.
            health: As in the class.
        """
        return cls(manifest.calibration, threshold=manifest.point.image.threshold, every_s=every_s, health=health)

    def look(self, camera: str, picture: NDArray[np.uint8] | None, verdict: Verdict | None) -> tuple[str, ...]:
        """Take one view into account and return what is not as it was, for this camera.

        Takes well under a millisecond for 640x480.

        Args:
            camera: The camera's name.
            picture: What was judged, uint8 `[H, W, 3]`, BGR: of a region of interest that region. None where there was
                no picture.
            verdict: What the model said of it; None where it said nothing, as for a frame that was too dark.

        Returns:
            Some of `WARNINGS`; empty while all is as it was.
        """
        if not self.is_watching or picture is None:
            return self.warnings(camera)
        now = time.monotonic()
        with self._lock:
            seen = self._cameras.setdefault(camera, _Seen())
            if now - seen.looked_at < self._every_s:
                return seen.warnings
            seen.looked_at = now
        brightness, sharpness = view_figures(picture)
        raw_score = None if verdict is None else verdict.raw_score
        return self.note(camera, brightness, sharpness, raw_score, is_rejected=bool(verdict and verdict.is_defective))

    def note(
        self, camera: str, brightness: float, sharpness: float, raw_score: float | None, *, is_rejected: bool
    ) -> tuple[str, ...]:
        """As `look`, for a view whose figures are known already.

        Args:
            camera: The camera's name.
            brightness: From `view_figures`.
            sharpness: From `view_figures`.
            raw_score: The model's; None without a verdict.
            is_rejected: Whether the part is defective.
        """
        with self._lock:
            seen = self._cameras.setdefault(camera, _Seen())
            seen.brightness.append(_rank(brightness, self._brightness))
            seen.sharpness.append(_rank(sharpness, self._sharpness))
            if raw_score is not None:
                seen.scores.append(math.nan if is_rejected else _rank(raw_score, self._scores))
            before = seen.warnings
            seen.warnings = tuple(self._current(seen))
            is_news = seen.warnings != before or not seen.is_reported
            seen.is_reported = True
            warnings = seen.warnings
            if is_news and self._health is not None:  # under the lock, so that the last report is of the last state
                component = f"view {camera}".strip()
                self._health.report(component, is_well=not warnings, message=", ".join(warnings))
        return warnings

    def warnings(self, camera: str) -> tuple[str, ...]:
        """Return what is not as it was, without a new look."""
        with self._lock:
            seen = self._cameras.get(camera)
            return () if seen is None else seen.warnings

    def shares(self, camera: str) -> Mapping[str, float]:
        """Return where the views of late lie among those of the calibration, for a chart.

        Returns:
            For `brightness`, `sharpness` and `raw_score` the share of pairs in which the new view has the larger value:
            near 0.5 while nothing has changed; for `rejected` the share of parts. Only what enough parts were seen for.
        """
        with self._lock:
            seen = self._cameras.get(camera)
            if seen is None or len(seen.brightness) < WINDOWS[0]:
                return {}
            shares = {}
            pairs = (
                ("brightness", seen.brightness, self._brightness),
                ("sharpness", seen.sharpness, self._sharpness),
                ("raw_score", seen.scores, self._scores),
            )
            for name, ranks, values in pairs:
                known = [rank for rank in _last(ranks, WINDOWS[0]) if not math.isnan(rank)]
                if known and values:
                    shares[name] = sum(known) / (len(known) * len(values))
            if len(seen.scores) >= WINDOWS[0]:
                shares["rejected"] = sum(map(math.isnan, _last(seen.scores, WINDOWS[0]))) / WINDOWS[0]
            return shares

    def _current(self, seen: _Seen) -> Iterator[str]:
        """Yield the warnings that begin or go on."""
        brightness, sharpness = list(_pairs(seen.brightness)), list(_pairs(seen.sharpness))
        for warning, found in (
            (DARKER, _excesses(brightness, len(self._brightness), is_smaller=True)),
            (BRIGHTER, _excesses(brightness, len(self._brightness))),
            (BLURRED, _excesses(sharpness, len(self._sharpness), is_smaller=True)),
            (NOISIER, _excesses(sharpness, len(self._sharpness))),
            (RISEN, _excesses(list(_pairs(seen.scores)), len(self._scores))),
            (REJECTED, list(self._excess_rejects(seen.scores))),
        ):
            begins = any(begins for begins, _ in found)
            # Where nothing can be said, such as of scores while every part is rejected, a warning stays as it was.
            goes_on = warning in seen.warnings and (not found or any(remains for _, remains in found))
            if begins or goes_on:
                yield warning

    def _excess_rejects(self, scores: deque[float]) -> Iterator[tuple[bool, bool]]:
        """Yield, by window, whether so many rejected parts begin a warning, and whether they let one go on."""
        for window in WINDOWS:
            if len(scores) >= window:
                rejected = sum(map(math.isnan, _last(scores, window)))
                yield (
                    rejected >= count_limit(window, self._usual_rejects, _EACH),
                    rejected >= count_limit(window, self._usual_rejects, _ENDS_AT),
                )


def _rank(value: float, calibrated: Sequence[float]) -> float:
    """Return how many calibrated values lie below, those that are equal counting half."""
    return (bisect_left(calibrated, value) + bisect_right(calibrated, value)) / 2


def _last(ranks: deque[float], window: int) -> Iterator[float]:
    return itertools.islice(ranks, max(len(ranks) - window, 0), None)


def _pairs(ranks: deque[float]) -> Iterator[tuple[float, int]]:
    """Yield, by window, the pairs in which the new value is the larger one, and the number of new values."""
    for window in WINDOWS:
        if len(ranks) < window:
            return
        known = [rank for rank in _last(ranks, window) if rank == rank]  # noqa: PLR0124 (not NaN, and quick)
        if len(known) >= window // 2:
            yield sum(known), len(known)


def _excesses(
    found: Sequence[tuple[float, int]], calibrated: int, *, is_smaller: bool = False
) -> list[tuple[bool, bool]]:
    """Return, by window, whether its pairs begin a warning, and whether they let one go on."""
    excesses = []
    for larger, known in found:
        pairs = calibrated * known - larger if is_smaller else larger
        excesses.append(
            (pairs >= pair_limit(calibrated, known, _EACH), pairs >= pair_limit(calibrated, known, _ENDS_AT))
        )
    return excesses
