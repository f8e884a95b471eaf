"""The library's front door: a bundle and a frame give a verdict.

Of a bundle with a locator, `nut_runtime.locate.tray.TrayInspector` judges frames of trays with this.
"""

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.batching import deal_out, is_worth_filling
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines import BatchEngine, EngineResult, load_batch_engine, load_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import EngineError, InputError, PictureError
from nut_runtime.locate.locator import Locator
from nut_runtime.pictures import check_frame
from nut_runtime.regions import defect_boxes
from nut_runtime.review import label_with_review
from nut_runtime.scoring import is_defective, normalise, rescale
from nut_runtime.verdict import Verdict

__all__ = ["Inspector"]


class Inspector:
    """Judges frames with a bundle.

    Args:
        bundle: A bundle folder, or one that is open already.
        engine: `openvino` or `onnxruntime`; None takes whichever is installed.
        threads: Threads to compute with; None leaves it to the engine.
        streams: Frames that may be judged at the same time, from threads of their own.
        cache: Folder for what OpenVINO compiled, as in `load_engine`.
        verify_key: As in `open_bundle`, for a bundle folder.
        locate: Whether frames show trays whose parts are to be found; None does where the bundle has a locator.

    Raises:
        BundleError: If the bundle is not usable, `verify_key` does not vouch for it, or it has no locator and is to
            have one.
        InputError: If `verify_key` cannot be used, or comes with a bundle that was opened without it.
        EngineError: If no engine is installed or it does not load the model.

    Example:
        >>> inspector = Inspector("bundle")  # doctest: +SKIP
        >>> inspector.inspect(frame).label  # doctest: +SKIP
        <Label.GOOD: 'good'>
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        engine: str | None = None,
        threads: int | None = None,
        streams: int = 1,
        cache: Path | None = None,
        verify_key: str | Path | None = None,
        locate: bool | None = None,
    ) -> None:
        if isinstance(bundle, Bundle) and verify_key is not None:
            raise InputError(f"{bundle.folder} is open already; give verify_key to open_bundle instead")
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle, verify_key=verify_key)
        if locate:
            self.bundle.locator_entry()  # says that there is none, before anything takes time
        self.engine = load_engine(self.bundle, engine, threads=threads, streams=streams, cache=cache)
        self._batch: BatchEngine | None = None
        self._batch_lock = threading.Lock()
        self._threads, self.streams, self._cache = threads, streams, cache
        self.locator: Locator | None = None
        if locate or (locate is None and self.bundle.manifest.locator is not None):
            self.locator = Locator(self.bundle, engine=self.engine.name, threads=threads, streams=streams, cache=cache)

    def warm_up(self, height: int | None = None, width: int | None = None) -> float:
        """Judge a grey frame of this size, so that the first real one does not pay for set-up; return its ms.

        A cascade judges it with both of its models: the first part near the threshold is a real one too. With a locator
        a frame of this size is searched, and cut-outs are judged, as many at once as the bundle can.

        Args:
            height: In pixels; None takes the bundle's frame height, or else the model's input height.
            width: In pixels; None takes the same of the width.

        Raises:
            PictureError: If the bundle takes frames of another size only.
            EngineError: If the engine fails.
        """
        manifest = self.bundle.manifest
        usual = manifest.frame_px or (manifest.input_height_px, manifest.input_width_px)
        frame = np.full((height or usual[0], width or usual[1], 3), 127, np.uint8)
        started = time.perf_counter()
        if self.locator is not None:
            self.locator.locate(check_frame(frame))
            frame = np.full((*self._cutout_px(self.locator), 3), 127, np.uint8)
        check_frame(frame, frame_px=manifest.frame_px)
        self.engine.infer(frame)
        if isinstance(self.engine, CascadeEngine):
            self.engine.exact.infer(frame)
        if self.locator is not None and self.has_batch:  # the parts of the first tray come in batches
            self.inspect_batch([frame] * (manifest.batch.size if manifest.batch is not None else 1))
        return (time.perf_counter() - started) * 1e3

    def inspect(self, frame: NDArray[np.uint8]) -> Verdict:
        """Judge one frame; with a locator, one cut-out.

        The verdict comes from `raw_score` and the manifest's operating point, so that the manifest can move the
        threshold without a new export.

        Args:
            frame: uint8 `[H, W, 3]`, BGR, of any size unless the bundle was exported for one; nothing is to be done
                to it beforehand.

        Raises:
            PictureError: If the frame is of another type or shape, or not of the bundle's frame size, or with a locator
                not of a cut-out's.
            EngineError: If the engine fails, or gives a score that is no number.
        """
        frame = self._checked(frame)
        started = time.perf_counter()
        result = self.engine.infer(frame)
        return self._decide(frame, result, (time.perf_counter() - started) * 1e3)

    def inspect_batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[Verdict]:
        """Judge frames, as many at once as the bundle was exported for with `--batch`.

        The verdicts are those of `inspect`, frame by frame. Frames of one size are judged together, in their order; a
        last batch that is not full is filled up with its last frame, or judged one by one where less than half of it
        is there. What `milliseconds` calls `infer` is the time of the whole batch. The first call loads the model for
        batches, a second one in memory.

        Args:
            frames: As in `inspect`, of one size or of several.

        Raises:
            BundleError: If the bundle was exported without `--batch`, or not for this engine.
            PictureError: If a frame is not to be judged; then none is.
            EngineError: If the engine fails, or gives a score that is no number.
        """
        engine = self._batch_engine()
        batch = self.bundle.manifest.batch
        size = 1 if batch is None else batch.size
        checked = [self._checked(frame) for frame in frames]
        verdicts: dict[int, Verdict] = {}
        for places in deal_out([frame.shape for frame in checked], size):
            together = [checked[place] for place in places]
            if not is_worth_filling(len(places), size):
                verdicts |= {place: self.inspect(frame) for place, frame in zip(places, together, strict=True)}
                continue
            started = time.perf_counter()
            spare = [together[-1]] * (size - len(places))
            results = engine.infer_batch(np.stack([*together, *spare]))[: len(places)]
            if isinstance(self.engine, CascadeEngine):
                results = [self.engine.settle(*pair) for pair in zip(results, together, strict=True)]
            took_ms = (time.perf_counter() - started) * 1e3
            for place, frame, result in zip(places, together, results, strict=True):
                verdicts[place] = self._decide(frame, result, took_ms)
        return [verdicts[place] for place in range(len(checked))]

    def _batch_engine(self) -> BatchEngine:
        """Return the model for batches, loaded at the first call."""
        with self._batch_lock:
            if self._batch is None:
                self._batch = load_batch_engine(
                    self.bundle, self.engine.name, threads=self._threads, streams=self.streams, cache=self._cache
                )
            return self._batch

    def _decide(self, frame: NDArray[np.uint8], result: EngineResult, infer_ms: float) -> Verdict:
        """Return the verdict at the manifest's operating point."""
        manifest = self.bundle.manifest
        started = time.perf_counter()
        if not math.isfinite(result.raw_score):  # compared with a threshold, NaN would pass as good
            raise EngineError(f"{self.engine.name} gave the score {result.raw_score}; run nut-runtime doctor")
        score = normalise(np.float32(result.raw_score), manifest.point.image)
        rejected = bool(is_defective(score))
        anomaly_map, pred_mask = result.anomaly_map, result.pred_mask
        if manifest.point.pixel != manifest.model_point.pixel:
            anomaly_map = rescale(anomaly_map, manifest.model_point.pixel, manifest.point.pixel)
            pred_mask = is_defective(anomaly_map)
        size = (frame.shape[0], frame.shape[1])
        boxes = defect_boxes(anomaly_map, pred_mask, size) if rejected else ()
        return Verdict(
            label=label_with_review(float(score), is_defective=rejected, review_from=manifest.point.review_score),
            pred_score=float(score),
            raw_score=result.raw_score,
            anomaly_map=anomaly_map,
            pred_mask=pred_mask,
            boxes=boxes,
            bundle_id=manifest.bundle_id,
            milliseconds={"infer": infer_ms, "decide": (time.perf_counter() - started) * 1e3},
            is_rejudged=result.is_rejudged,
        )

    @property
    def has_batch(self) -> bool:
        """Whether `inspect_batch` has a model to judge several frames at once with."""
        batch = self.bundle.manifest.batch
        return batch is not None and self.engine.name in batch.models

    def _checked(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame that can be judged.

        Raises:
            PictureError: If it cannot.
        """
        frame = check_frame(frame, frame_px=self.bundle.manifest.frame_px)
        if self.locator is not None and frame.shape[:2] != self._cutout_px(self.locator):
            side = self.locator.entry.cutout.size_px
            raise PictureError(
                f"a frame of {frame.shape[1]}x{frame.shape[0]} px is no cut-out of {side}x{side}; judge frames of "
                "trays with TrayInspector, or do without the locator (locate=False)"
            )
        return frame

    @staticmethod
    def _cutout_px(locator: Locator) -> tuple[int, int]:
        return locator.entry.cutout.size_px, locator.entry.cutout.size_px
