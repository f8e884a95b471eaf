"""What the page shows, kept in memory that does not grow."""

import math
import threading
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nut_runtime.parts import JudgedPart, View
from nut_runtime.serve.album import Album
from nut_runtime.serve.shown import Kind, shown_jpeg
from nut_runtime.verdict import Label

__all__ = ["LATENCY_BOUNDS_S", "SCORE_BOUNDS", "Distribution", "LiveState"]

_POINTS_KEPT = 2_000
_MOST_CAMERAS = 64
_RECENT_PARTS = 200
_MOST_POINTS_TOLD = 200
_LONGEST_TEXT = 300

LATENCY_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of the latency histogram's buckets, in seconds."""
SCORE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
"""Upper ends of the score histogram's buckets."""

_LABELS = tuple(Label)


@dataclass(slots=True)
class Distribution:
    """A histogram that only grows in its numbers.

    Attributes:
        bounds: Upper ends of the buckets, rising; one more bucket takes what is above.
        counts: How many fell in each, one longer than `bounds`.
        total: Their sum.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> "Distribution":
        """Return the same, that does not change."""
        return Distribution(self.bounds, list(self.counts), self.total)


@dataclass(slots=True)
class _Look:
    """The newest view of a camera, and its JPEGs as far as somebody asked for them."""

    number: int
    view: View
    jpegs: dict[Kind, bytes | None] = field(default_factory=dict)


class LiveState:
    """The listener behind the page: newest view of each camera, scores, times, counts and the last rejects.

    `hear` keeps references and numbers only; a picture is encoded when somebody looks at it, and once for all who do.
    What it holds is bounded: one frame a camera, 2,000 points, 24 rejects as small JPEGs.

    Args:
        station: The station's name.
        cameras: Names of its cameras, in the order to show them in; others are added as they come.
        review_from: Asked for the score from which a part is REVIEW, which the model may bring; None never is.
    """

    name = "page"

    def __init__(
        self,
        *,
        station: str = "nut",
        cameras: Sequence[str] = (),
        review_from: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.station = station
        self._review_from = review_from
        self.album = Album()
        self._lock = threading.Lock()
        self._heard = 0
        self._looks: OrderedDict[str, _Look | None] = OrderedDict((name, None) for name in cameras)
        self._part: dict[str, Any] | None = None
        self._points: deque[tuple[int, int, float | None, float, int]] = deque(maxlen=_POINTS_KEPT)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._latency = Distribution(LATENCY_BOUNDS_S)
        self._scores = Distribution(SCORE_BOUNDS)
        self._wake: Callable[[], None] | None = None

    @property
    def heard(self) -> int:
        """How many parts were heard of; the number of the newest one."""
        return self._heard

    def on_change(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` after each part, and when a reject's pictures are made; it must take no time."""
        self._wake = wake
        self.album.on_change(wake)

    def hear(self, part: JudgedPart) -> None:
        """Take one part."""
        score = _finite(part.record.get("pred_score"))
        milliseconds = _finite(part.milliseconds) or 0.0
        at_ms = int(part.views[0].frame.timestamp.timestamp() * 1000)
        facts = _part_facts(part, score, milliseconds, at_ms)
        with self._lock:
            number = self._heard + 1
            facts["n"] = number
            for name, view in zip(_names(part.views), part.views, strict=True):
                self._looks[name] = _Look(number, view)
            while len(self._looks) > _MOST_CAMERAS:
                self._looks.popitem(last=False)
            self._part = facts
            self._points.append((number, at_ms, score, round(milliseconds, 3), _LABELS.index(part.label)))
            self._counts[str(part.label), str(part.reason or "")] += 1
            self._latency.add(milliseconds / 1000)
            if score is not None:
                self._scores.add(score)
            self._heard = number
        if part.label in {Label.DEFECT, Label.REVIEW}:
            index = _worst(part.views, part.label)
            self.album.add(facts["id"], facts | {"camera": _names(part.views)[index]}, part.views[index])
        wake = self._wake
        if wake is not None:
            wake()

    def close(self) -> None:
        """Finish; safe to call twice."""
        self.album.close()

    def snapshot(self) -> dict[str, Any]:
        """Return everything but the pictures, plain types; points are `[n, ms since 1970, score, latency ms, label]`.

        The label is an index into `labels`.
        """
        with self._lock:
            points = list(self._points)
        return {
            "station": self.station,
            "labels": [str(label) for label in _LABELS],
            "threshold": 0.5,
            "review_from": self._review_from(),
            **self.news(self._heard),
            "points": points,
        }

    def news(self, after: int) -> dict[str, Any]:
        """Return what changed: the newest part, at most 200 points after a number, counts and rates."""
        with self._lock:
            points: list[tuple[int, int, float | None, float, int]] = []
            for point in reversed(self._points):
                if point[0] <= after or len(points) == _MOST_POINTS_TOLD:
                    break
                points.append(point)
            recent = [point[4] for point, _ in zip(reversed(self._points), range(_RECENT_PARTS), strict=False)]
            counts = self._label_counts()
            return {
                "n": self._heard,
                "part": self._part,
                "cameras": [_camera_facts(name, look) for name, look in self._looks.items()],
                "points": points[::-1],
                "counts": counts,
                "reasons": {reason: n for (_, reason), n in sorted(self._counts.items()) if reason},
                "reject_rate": _rate(counts[str(Label.DEFECT)], sum(counts.values()) - counts[str(Label.NO_VERDICT)]),
                "recent_reject_rate": _rate(
                    recent.count(_LABELS.index(Label.DEFECT)),
                    len(recent) - recent.count(_LABELS.index(Label.NO_VERDICT)),
                ),
                "recent_parts": len(recent),
                "album": self.album.version,
            }

    def tally(self) -> tuple[dict[tuple[str, str], int], Distribution, Distribution]:
        """Return counts by label and reason, seconds from trigger to verdict, and scores, all since the start."""
        with self._lock:
            return dict(self._counts), self._latency.copy(), self._scores.copy()

    def picture(self, camera: str, kind: Kind) -> bytes | None:
        """Return the newest view of a camera as JPEG; None where the camera is unknown or gave no picture.

        Takes some milliseconds the first time.

        Raises:
            InputError: If it cannot be drawn.
        """
        with self._lock:
            look = self._looks.get(camera)
        if look is None:
            return None
        if kind not in look.jpegs:
            look.jpegs[kind] = shown_jpeg(look.view, kind)
        return look.jpegs[kind]

    def _label_counts(self) -> dict[str, int]:
        counts = {str(label): 0 for label in _LABELS}
        for (label, _), number in self._counts.items():
            counts[label] += number
        return counts


def _names(views: Sequence[View]) -> list[str]:
    """Return what each view is called: its camera, or where it has none, such as a file, its place."""
    return [view.frame.camera or f"view {place}" for place, view in enumerate(views, 1)]


def _worst(views: Sequence[View], label: Label) -> int:
    """Return the place of the view to show for a part: with the part's own label, and the highest score."""
    scores = [
        (view.label is label, -1.0 if view.verdict is None else view.verdict.pred_score, -place)
        for place, view in enumerate(views)
    ]
    return scores.index(max(scores))


def _part_facts(part: JudgedPart, score: float | None, milliseconds: float, at_ms: int) -> dict[str, Any]:
    record = part.record
    return {
        "id": _text(record.get("id", part.sequence)),
        "sequence": part.sequence,
        "at": at_ms,
        "label": str(part.label),
        "reason": None if part.reason is None else str(part.reason),
        "error": _text(record.get("error")),
        "score": score,
        "raw": _finite(record.get("raw_score")),
        "latency_ms": round(milliseconds, 3),
        "trigger": _text(part.trigger.name),
        "source": _text(record.get("source")),
        "bundle": _text(record.get("bundle")),
        "rejudged": bool(record.get("rejudged", False)),
        "nuts": record.get("counts"),
        "warnings": [_text(warning) for warning in record.get("warnings", ())][:_MOST_CAMERAS],
    }


def _camera_facts(name: str, look: _Look | None) -> dict[str, Any]:
    if look is None:
        return {"name": name, "n": 0, "label": None}
    view = look.view
    return {
        "name": name,
        "n": look.number,
        "label": str(view.label),
        "reason": None if view.reason is None else str(view.reason),
        "error": _text(view.error),
        "score": None if view.verdict is None else _finite(view.verdict.pred_score),
        "warnings": [_text(warning) for warning in view.warnings],
        "has_picture": view.frame.picture is not None,
        "size": None if view.frame.picture is None else [view.frame.picture.shape[1], view.frame.picture.shape[0]],
    }


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _finite(value: Any) -> float | None:
    """Return a number that JSON knows, else None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Any) -> str:
    """Return a text of bounded length: a path or an error may be long, and 2,000 of them are remembered nowhere."""
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
