"""A tray of parts: found, cut out, judged one by one, and one verdict on all of them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock, Thread

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import BundleError
from nut_runtime.inspector import Inspector
from nut_runtime.locate.cutout import cut_out
from nut_runtime.locate.finding import find_instances, usual_area_px
from nut_runtime.locate.in_place import boxes_in_frame, maps_in_frame
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.usable import parts_sharpness, view_fault
from nut_runtime.pictures import check_frame
from nut_runtime.regions import Box
from nut_runtime.review import effective_review, label_with_review
from nut_runtime.verdict import Label, Reason, Verdict

__all__ = ["COUNTS", "Nut", "Tray", "TrayInspector"]

COUNTS = ("found", "judged", "good", "defect", "review", "incomplete")
"""What is counted of a tray."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nut:
    """One part of a tray.

    Attributes:
        instance: What was found.
        label: What it comes to; `no-verdict` where it is incomplete.
        verdict: What the model said of its cut-out; None where it is incomplete.
        boxes: Defective regions in pixels of the frame, the worst first.
    """

    instance: Instance
    label: Label
    verdict: Verdict | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tray:
    """What is said of one frame of a tray.

    Attributes:
        label: Defect if any part is, review if any is for review, otherwise good; `no-verdict` where the view cannot be
            used, or no part was found that can be judged.
        reason: Why there is none.
        error: The same in words.
        nuts: All parts that were found, in reading order.
        verdict: The tray's: score of its worst part, boxes and map of all of them in place; None without a verdict.
    """

    label: Label
    reason: Reason | None = None
    error: str = ""
    nuts: tuple[Nut, ...] = ()
    verdict: Verdict | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """How many parts came to what, by the names in `COUNTS`: `found` = `judged` + `incomplete`."""
        labels = Counter(nut.label for nut in self.nuts)
        return {
            "found": len(self.nuts),
            "judged": len(self.nuts) - labels[Label.NO_VERDICT],
            "good": labels[Label.GOOD],
            "defect": labels[Label.DEFECT],
            "review": labels[Label.REVIEW],
            "incomplete": labels[Label.NO_VERDICT],
        }


class TrayInspector:
    """Judges frames of trays. As many threads may use it as its inspector has streams.

    Args:
        inspector: Of a bundle with a locator.
        review_from: Normalised score from which a part that is not defective is for review; None takes the bundle's,
            `nut_runtime.review.NEVER` none.

    Raises:
        BundleError: If the bundle has no locator, or the inspector does without it.

    Example:
        >>> trays = TrayInspector(Inspector("bundle"))  # doctest: +SKIP
        >>> [(nut.instance.centre, nut.label) for nut in trays.inspect(frame).nuts]  # doctest: +SKIP
        [((70.2, 81.0), <Label.GOOD: 'good'>), ((201.5, 79.8), <Label.DEFECT: 'defect'>)]
    """

    def __init__(self, inspector: Inspector, *, review_from: float | None = None) -> None:
        if inspector.locator is None:
            raise BundleError(f"{inspector.bundle.folder} has no locator, or it is not to be used")
        self._inspector, self._locator = inspector, inspector.locator
        self._review_from = effective_review(review_from, inspector.bundle.manifest.point.review_score)

    def inspect(self, frame: NDArray[np.uint8]) -> Tray:
        """Find and judge the parts in a frame.

        Args:
            frame: uint8 `[H, W, 3]`, BGR, of any size.

        Raises:
            PictureError: If the frame is of another type or shape.
            EngineError: If the engine fails, or gives a score that is no number.
        """
        frame = check_frame(frame)
        entry = self._locator.entry
        started = time.perf_counter()
        reason, words = view_fault(frame, entry.usable)
        if reason is Reason.DARK:
            return _unusable(reason, words)
        frame_px = (frame.shape[0], frame.shape[1])
        instances = find_instances(self._locator.locate(frame), frame_px=frame_px, settings=entry.find)
        area_px = usual_area_px(instances, frame_px=frame_px, settings=entry.find)
        complete = [one for one in instances if one.is_complete]
        if reason is not None and parts_sharpness(frame, instances) < entry.usable.least_sharpness:
            return _unusable(reason, words)
        if not complete:
            return _without(instances)
        located = time.perf_counter()

        def judge(parts: Sequence[Instance]) -> Sequence[Verdict]:
            cuts = [cut_out(frame, one, entry.cutout, area_px=area_px) for one in parts]
            if self._inspector.has_batch:
                return self._inspector.inspect_batch(cuts)
            return [self._inspector.inspect(cut) for cut in cuts]

        batch = self._inspector.bundle.manifest.batch
        together = batch.size if batch is not None and self._inspector.has_batch else 1
        verdicts = _all_judged(judge, complete, together=together, threads=self._inspector.streams)
        judged = time.perf_counter()
        nuts = tuple(self._nut(one, verdicts.get(one.number), area_px, frame_px) for one in instances)
        verdict = self._verdict(nuts, frame_px, area_px)
        milliseconds = {
            "locate": (located - started) * 1e3,
            "infer": (judged - located) * 1e3,
            "decide": (time.perf_counter() - judged) * 1e3,
        }
        return Tray(label=verdict.label, nuts=nuts, verdict=replace(verdict, milliseconds=milliseconds))

    def _nut(self, one: Instance, verdict: Verdict | None, area_px: float, frame_px: tuple[int, int]) -> Nut:
        if verdict is None:
            return Nut(instance=one, label=Label.NO_VERDICT)
        label = label_with_review(verdict.pred_score, is_defective=verdict.is_defective, review_from=self._review_from)
        boxes = boxes_in_frame(verdict.boxes, one, self._locator.entry.cutout, area_px=area_px, frame_px=frame_px)
        return Nut(instance=one, label=label, verdict=replace(verdict, label=label), boxes=boxes)

    def _verdict(self, nuts: Sequence[Nut], frame_px: tuple[int, int], area_px: float) -> Verdict:
        """Return the verdict on the tray; at least one part has one."""
        judged = [(nut.instance, nut.verdict) for nut in nuts if nut.verdict is not None]
        worst = max((verdict for _, verdict in judged), key=lambda verdict: verdict.pred_score)
        labels = {nut.label for nut in nuts}
        anomaly_map, pred_mask = maps_in_frame(judged, self._locator.entry.cutout, area_px=area_px, frame_px=frame_px)
        return Verdict(
            label=next((label for label in (Label.DEFECT, Label.REVIEW) if label in labels), Label.GOOD),
            pred_score=worst.pred_score,
            raw_score=worst.raw_score,
            anomaly_map=anomaly_map,
            pred_mask=pred_mask,
            boxes=tuple(sorted((box for nut in nuts for box in nut.boxes), key=lambda box: -box.peak)),
            bundle_id=worst.bundle_id,
            is_rejudged=any(verdict.is_rejudged for _, verdict in judged),
        )


def _unusable(reason: Reason, words: str) -> Tray:
    """Return a tray of which nothing is said, since it cannot be seen."""
    return Tray(label=Label.NO_VERDICT, reason=reason, error=f"the view {words}")


def _without(instances: Sequence[Instance]) -> Tray:
    """Return a tray in which nothing can be judged."""
    nuts = tuple(Nut(instance=one, label=Label.NO_VERDICT) for one in instances)
    words = f"{len(nuts)} parts were found, none of them complete" if nuts else "no part was found"
    return Tray(label=Label.NO_VERDICT, reason=Reason.NOTHING_FOUND, error=f"{words} in the view", nuts=nuts)


def _all_judged(
    judge: Callable[[Sequence[Instance]], Sequence[Verdict]],
    instances: Sequence[Instance],
    *,
    together: int,
    threads: int,
) -> dict[int, Verdict]:
    """Return the verdict on each part by its number, by this thread and some that end with it.

    They are daemons, so that an engine that hangs does not keep the process from ending, as a pool's threads would.

    Args:
        judge: Judges some parts.
        instances: All parts.
        together: How many it is given at a time.
        threads: How many threads work.

    Raises:
        Exception: The first that `judge` raised; what is not begun yet is left.
    """
    verdicts: dict[int, Verdict] = {}
    failures: list[BaseException] = []
    lock = Lock()
    groups = [instances[place : place + together] for place in range(0, len(instances), together)]
    waiting = iter(groups)

    def take() -> None:
        while not failures:
            with lock:
                group = next(waiting, None)
            if group is None:
                return
            try:
                verdicts.update(zip((one.number for one in group), judge(group), strict=True))
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                failures.append(error)

    helpers = [Thread(target=take, name="judge parts", daemon=True) for _ in range(min(threads, len(groups)) - 1)]
    for helper in helpers:
        helper.start()
    take()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]
    return verdicts
