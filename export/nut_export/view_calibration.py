"""What the views of good parts are like, for the bundle: the runtime notices by it when they change."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress
from nut_export.frame_size import bring_to
from nut_export.proof_pictures import ProofPictures
from nut_runtime.engines.base import Engine
from nut_runtime.pictures import read_picture
from nut_runtime.view_calibration import MAX_VALUES, Sample, ViewCalibration, view_figures
from nut_train.run import Run

__all__ = ["calibrate_views"]


def calibrate_views(
    run: Run, pictures: ProofPictures, engine: Engine, frame_px: tuple[int, int] | None, progress: Progress
) -> ViewCalibration:
    """Measure the good training pictures, and judge those that the memory bank has not seen.

    Test pictures take no part, so that they can tell how well changes are noticed.

    Args:
        run: Knows which pictures it held out. Where it held none out, those of pictures in the bank would be too low:
            the run's own scores by models without them take their place, or, of another tool's checkpoint, none.
        pictures: Of the export.
        engine: Judges as the device will.
        frame_px: Height and width that pictures are brought to, as the frames of the camera have it; None for none.
        progress: Told of each picture.

    Raises:
        PictureError: If a picture cannot be read.
        EngineError: If the engine fails.
    """
    good = run.good_scores
    paths = evenly(pictures.good, MAX_VALUES)
    unseen = evenly(pictures.held_out, MAX_VALUES)
    figures = [view_figures(frame) for frame in _frames(paths, frame_px, progress, "measuring the views")]
    scores = [engine.infer(frame).raw_score for frame in _frames(unseen, frame_px, progress, "scoring the views")]
    return ViewCalibration(
        brightness=Sample.of(brightness for brightness, _ in figures),
        sharpness=Sample.of(sharpness for _, sharpness in figures),
        # With every picture in the bank, fresh parts score as those that a model without them judged.
        raw_score=Sample.of(scores if scores or good is None else good.raw_score),
        good=good,
    )


def _frames(
    paths: Sequence[Path], frame_px: tuple[int, int] | None, progress: Progress, what: str
) -> Iterable[NDArray[np.uint8]]:
    """Yield pictures as frames of the camera's size."""
    for done, path in enumerate(paths, start=1):
        frame = read_picture(path)
        yield frame if frame_px is None else bring_to(frame, frame_px)
        progress(what, done, len(paths))
