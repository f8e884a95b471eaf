"""The library's front door: a bundle and a frame give a verdict."""

import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines import load_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import EngineError, InputError
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

    Raises:
        BundleError: If the bundle is not usable, or `verify_key` does not vouch for it.
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
    ) -> None:
        if isinstance(bundle, Bundle) and verify_key is not None:
            raise InputError(f"{bundle.folder} is open already; give verify_key to open_bundle instead")
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle, verify_key=verify_key)
        self.engine = load_engine(self.bundle, engine, threads=threads, streams=streams, cache=cache)

    def warm_up(self, height: int | None = None, width: int | None = None) -> float:
        """Judge a grey frame of this size, so that the first real one does not pay for set-up; return its ms.

        A cascade judges it with both of its models: the first part near the threshold is a real one too.

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
        check_frame(frame, frame_px=manifest.frame_px)
        started = time.perf_counter()
        self.engine.infer(frame)
        if isinstance(self.engine, CascadeEngine):
            self.engine.exact.infer(frame)
        return (time.perf_counter() - started) * 1e3

    def inspect(self, frame: NDArray[np.uint8]) -> Verdict:
        """Judge one frame.

        The verdict comes from `raw_score` and the manifest's operating point, so that the manifest can move the
        threshold without a new export.

        Args:
            frame: uint8 `[H, W, 3]`, BGR, of any size unless the bundle was exported for one; nothing is to be done
                to it beforehand.

        Raises:
            PictureError: If the frame is of another type or shape, or not of the bundle's frame size.
            EngineError: If the engine fails, or gives a score that is no number.
        """
        manifest = self.bundle.manifest
        frame = check_frame(frame, frame_px=manifest.frame_px)
        started = time.perf_counter()
        result = self.engine.infer(frame)
        inferred = time.perf_counter()
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
        decided = time.perf_counter()
        return Verdict(
            label=label_with_review(float(score), is_defective=rejected, review_from=manifest.point.review_score),
            pred_score=float(score),
            raw_score=result.raw_score,
            anomaly_map=anomaly_map,
            pred_mask=pred_mask,
            boxes=boxes,
            bundle_id=manifest.bundle_id,
            milliseconds={"infer": (inferred - started) * 1e3, "decide": (decided - inferred) * 1e3},
            is_rejudged=result.is_rejudged,
        )
