"""One frame to one view: judged, or not and why."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import EngineError, InputError, NutError, PictureError
from nut_runtime.health import Health
from nut_runtime.inspector import Inspector
from nut_runtime.locate.tray import TrayInspector
from nut_runtime.parts import View
from nut_runtime.review import effective_review, label_with_review
from nut_runtime.sources.base import Frame
from nut_runtime.verdict import Label, Reason, Verdict

__all__ = ["Judge"]

_log = logging.getLogger("nut_runtime")


class Judge:
    """Judges frames from several threads; with a model that has a locator, the parts of trays.

    Args:
        model: Gives the inspector to judge with; asked for each frame, so that it can be exchanged between two.
        review_from: Normalised score from which a part that is not defective is for review; None takes the bundle's,
            `nut_runtime.review.NEVER` none.
        masks: By camera, what to leave out of a verdict: a function of the verdict and its frame.
        saw: Told the height and width of each judged frame, so that a model that replaces this one is ready for them.
        health: Told when the engine fails.
    """

    def __init__(
        self,
        model: Callable[[], Inspector],
        *,
        saw: Callable[[int, int], None] = lambda _height, _width: None,
        review_from: float | None = None,
        masks: Mapping[str, Callable[[Verdict, Frame], Verdict]] | None = None,
        health: Health | None = None,
    ) -> None:
        self._model, self._review_from, self._masks = model, review_from, dict(masks or {})
        self._saw, self._health = saw, health or Health()
        self._warming = threading.Lock()
        self._warmed: Inspector | None = None
        self._is_ill = False

    def look(self, frame: Frame) -> View:
        """Judge one frame; a view without a verdict says why."""
        inspector = self._model()
        if frame.picture is not None and self._warmed is not inspector:
            self._warm_up(inspector, frame)
        wait_ms = max(0.0, (time.monotonic() - frame.taken_at) * 1e3)
        if frame.picture is None or frame.reason is not None:
            return _unjudged(frame, frame.reason or Reason.BROKEN, str(frame.error or frame.reason), wait_ms)
        try:
            if inspector.locator is not None:
                tray = TrayInspector(inspector, review_from=self._review_from).inspect(frame.picture)
                view = View(
                    frame=frame,
                    label=tray.label,
                    verdict=tray.verdict,
                    reason=tray.reason,
                    error=tray.error,
                    wait_ms=wait_ms,
                    tray=tray,
                )
            else:
                view = self._part(inspector, frame, frame.picture, wait_ms)
        except InputError as error:  # a picture or a mask of the wrong size
            return _unjudged(frame, Reason.BROKEN, str(error), wait_ms)
        except Exception as error:  # noqa: BLE001 - a station outlives its engine, whatever it raises
            if not isinstance(error, NutError):
                _log.exception("a defect while judging %s", frame.source)
            message = str(error) or type(error).__name__
            self._is_ill = True
            self._health.report("engine", is_well=False, message=message)
            return _unjudged(frame, Reason.FAILED, message, wait_ms)
        self._saw(frame.picture.shape[0], frame.picture.shape[1])
        if self._is_ill:
            self._is_ill = False
            self._health.report("engine", is_well=True)
        return view

    def _part(self, inspector: Inspector, frame: Frame, picture: NDArray[np.uint8], wait_ms: float) -> View:
        """Judge a frame of one part."""
        verdict = inspector.inspect(picture)
        if frame.camera in self._masks:
            verdict = self._masks[frame.camera](verdict, frame)
        # Once more, since the station may ask for another review than the bundle, and a mask changes the score.
        review_from = effective_review(self._review_from, inspector.bundle.manifest.point.review_score)
        label = label_with_review(verdict.pred_score, is_defective=verdict.is_defective, review_from=review_from)
        verdict = replace(verdict, label=label)
        return View(frame=frame, label=verdict.label, verdict=verdict, wait_ms=wait_ms)

    def _warm_up(self, inspector: Inspector, frame: Frame) -> None:
        """Let the engine prepare for the first frame's very size, once a model."""
        with self._warming:
            if self._warmed is inspector or frame.picture is None:
                return
            with suppress(PictureError, EngineError):  # `inspect` is told the same, and says so
                inspector.warm_up(*frame.picture.shape[:2])
            self._warmed = inspector


def _unjudged(frame: Frame, reason: Reason, error: str, wait_ms: float) -> View:
    return View(frame=frame, label=Label.NO_VERDICT, reason=reason, error=error, wait_ms=wait_ms)
