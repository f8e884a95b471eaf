"""Models for several frames at once, proved against those for one frame: same scores, whoever shares the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_export.fast import FastModel
from nut_export.frame_size import bring_to, input_text
from nut_export.graph import Parts, assemble
from nut_export.writers import model_info, write_model
from nut_runtime.batch_models import LEAST_BATCH, BatchModels
from nut_runtime.bundle import Bundle
from nut_runtime.contract import INPUT, OUTPUTS
from nut_runtime.engines import BatchEngine, Engine, EngineResult, load_batch_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import InputError, ParityError
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import OperatingPoint, Scale, is_defective, normalise
from nut_train.predict import Prediction

__all__ = [
    "BATCH_FOLDER",
    "MOST_BATCH",
    "add_batch",
    "batch_failure",
    "check_batch",
    "check_batch_size",
    "prove_batch",
    "write_batch",
]

BATCH_FOLDER = "batch"
"""Where a bundle keeps its models for several frames, beside those for one."""

MOST_BATCH = 64
"""Frames at once, at most: each has its own copy of the backbone's nodes, which an engine prepares one by one."""

# Largest |d score|, on the scale on which the threshold is 0.5: a tenth of what fp32 may differ from anomalib. The
# arithmetic of a frame is the same in both files but for the search's products, which an engine may sum in another
# order for more rows; that moves a score by about 1e-6 (`parity.TOLERANCES`), and here mostly not by a bit.
_SCORE_TOLERANCE = 1e-4
# Largest mean |d anomaly_map| of a picture, on the same scale. The mean, since where a coarse search sums in another
# order it may take another candidate for single patches.
_MAP_TOLERANCE = 1e-3


def check_batch_size(size: int) -> None:
    """Refuse a number of frames that no batch has.

    Raises:
        InputError: If it is under 2 or over 64.
    """
    if not LEAST_BATCH <= size <= MOST_BATCH:
        raise InputError(f"batch {size}, expected {LEAST_BATCH} to {MOST_BATCH} frames")


def add_batch(
    bundle: Bundle,
    parts: Parts,
    fast: Mapping[str, FastModel],
    engines: Mapping[str, Engine],
    predictions: Sequence[Prediction],
    *,
    size: int | None,
    is_forced: bool = False,
    progress: Progress = no_progress,
) -> BatchModels | None:
    """Write the models for several frames into a bundle, and prove them; None where none are asked for.

    Args:
        bundle: The bundle with its models for one frame.
        parts: From `graph.prepare`.
        fast: The fast model of each engine that has one.
        engines: The bundle in each engine.
        predictions: The reference's, which name the pictures of the proof.
        size: Frames at once.
        is_forced: Keep them even where the proof fails.
        progress: Told of each step.

    Raises:
        ParityError: If frames together are judged otherwise than alone, and that is not forced.
    """
    if size is None:
        return None
    progress("building the graph for several frames", 0, 1)
    batch = write_batch(bundle.folder, parts, fast, size, bundle.manifest.provenance, list(engines))
    progress("building the graph for several frames", 1, 1)
    batch = prove_batch(bundle, batch, engines, predictions, progress)
    if not is_forced:
        check_batch(batch)
    return batch


def write_batch(
    folder: Path,
    parts: Parts,
    fast: Mapping[str, FastModel],
    size: int,
    facts: Mapping[str, Any],
    engines: Sequence[str],
) -> BatchModels:
    """Write the models for several frames below `BATCH_FOLDER`, not proved yet.

    Args:
        folder: The bundle's.
        parts: From `graph.prepare`.
        fast: The fast model of each engine that has one; the batch is judged with that, by the others with the exact.
        size: Frames at once.
        facts: The manifest's facts about the models for one frame.
        engines: The engines to write for.
    """
    (folder / BATCH_FOLDER).mkdir()
    info = model_info(
        parts.point,
        {
            **facts,
            "input": {INPUT: input_text(parts.frame_px, frames=size)},
            "outputs": {name: text.replace("[1", f"[{size}", 1) for name, text in OUTPUTS.items()},
        },
    )
    exact: onnx.ModelProto | None = None
    models = {}
    for engine in engines:
        chosen = fast.get(engine)
        if chosen is not None and not chosen.is_exact:
            features = None if chosen.features is None else chosen.features.model
            model = assemble(parts, engine=engine, features=features, coarse=chosen.coarse, pictures=size)
        else:
            model = exact = exact or assemble(parts, pictures=size)
        models[engine] = f"{BATCH_FOLDER}/{write_model(engine, model, folder / BATCH_FOLDER, info)}"
    return BatchModels(size=size, models=models)


def prove_batch(
    bundle: Bundle,
    batch: BatchModels,
    engines: Mapping[str, Engine],
    predictions: Sequence[Prediction],
    progress: Progress = no_progress,
) -> BatchModels:
    """Hold each model for several frames against the one for one frame, on the pictures of the proof.

    Every picture is judged once in a batch and once alone. A batch is of pictures of about one size, brought to the
    size of its first, and goes round by one place from batch to batch. Besides, pictures from the lowest to the highest
    score are judged together so often that each has been in each place.

    Args:
        bundle: The bundle with its models for one frame.
        batch: From `write_batch`.
        engines: The former, loaded.
        predictions: The reference's, which name the pictures.
        progress: Told of each batch.

    Returns:
        `batch` with what was found.

    Raises:
        ParityError: If a score or map is no number.
    """
    trial = replace(bundle, manifest=replace(bundle.manifest, batch=batch))
    pictures = sorted((prediction.path for prediction in predictions), key=_by_size)
    rising = sorted(predictions, key=lambda prediction: prediction.raw_score)
    spread = _different(_at_one_size([one.path for one in evenly(rising, batch.size)]), batch.size)
    proof = {}
    for engine in batch.models:
        comparison = _Comparison(engines[engine], load_batch_engine(trial, engine), bundle.manifest.point)
        starts = range(0, len(pictures), batch.size)
        steps = len(starts) + batch.size
        for number, start in enumerate(starts):
            progress(f"comparing batches of {engine}", number, steps)
            frames = _at_one_size(pictures[start : start + batch.size])
            comparison.add(_turned(_different(frames, batch.size), number), counted=len(frames))
        for turn in range(batch.size):
            progress(f"comparing batches of {engine}", len(starts) + turn, steps)
            comparison.add(_turned(spread, turn), counted=0)
        progress(f"comparing batches of {engine}", steps, steps)
        proof[engine] = comparison.figures()
    return replace(batch, proof=proof)


def check_batch(batch: BatchModels) -> None:
    """Refuse models that judge frames together otherwise than alone.

    Raises:
        ParityError: If `batch_failure` finds a reason for one of them.
    """
    for engine, figures in batch.proof.items():
        reason = batch_failure(figures)
        if reason is not None:
            raise ParityError(
                f"{engine} judges {batch.size} frames together otherwise than each alone: {reason}; no bundle was "
                "written (leave --batch out, or --force writes it all the same)"
            )


def batch_failure(figures: Mapping[str, Any]) -> str | None:
    """Return why a model for several frames does not pass, or None.

    Args:
        figures: What `prove_batch` found for one engine.
    """
    if figures["flips"]:
        return f"{figures['flips']} verdicts flipped"
    if not figures["max_d_score"] <= _SCORE_TOLERANCE:
        return f"max |d score| {figures['max_d_score']:.2e} (tolerance {_SCORE_TOLERANCE:.0e})"
    if not figures["mean_d_map"] <= _MAP_TOLERANCE:
        return f"mean |d map| {figures['mean_d_map']:.2e} (tolerance {_MAP_TOLERANCE:.0e})"
    return None


class _Comparison:
    """Judges frames in a batch and alone, and keeps the largest differences."""

    def __init__(self, alone: Engine, together: BatchEngine, point: OperatingPoint) -> None:
        self._alone, self._together, self._scale = alone, together, point.image
        self._pictures = self._flips = 0
        self._d_scores: list[float] = []
        self._d_maps: list[float] = []

    def add(self, frames: Sequence[NDArray[np.uint8]], *, counted: int) -> None:
        """Compare a batch, of which so many frames are pictures that were in none before.

        Raises:
            ParityError: If a score or map is no number; no force writes such a bundle.
        """
        engine = self._alone
        single = engine.fast if isinstance(engine, CascadeEngine) else engine
        self._pictures += counted
        for frame, found in zip(frames, self._together.infer_batch(np.stack(frames)), strict=True):
            if not np.isfinite(found.raw_score) or not np.isfinite(found.anomaly_map).all():
                raise ParityError(
                    f"{engine.name} gives a score or map that is not a number for frames judged together; "
                    "no bundle was written"
                )
            expected = single.infer(frame)
            self._d_scores.append(abs(found.raw_score - expected.raw_score) / _range(self._scale))
            self._d_maps.append(float(np.abs(found.anomaly_map - expected.anomaly_map).mean()))
            if isinstance(engine, CascadeEngine):  # what is decided in the end
                found, expected = engine.settle(found, frame), engine.settle(expected, frame)  # noqa: PLW2901
            self._flips += self._verdict(found) != self._verdict(expected)

    def figures(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            "pictures": self._pictures,
            "max_d_score": float(np.max(self._d_scores)),
            "mean_d_map": float(np.max(self._d_maps)),
            "flips": self._flips,
        }

    def _verdict(self, result: EngineResult) -> bool:
        return bool(is_defective(normalise(np.float32(result.raw_score), self._scale)))


def _range(scale: Scale) -> float:
    return scale.maximum - scale.minimum


def _by_size(path: Path) -> tuple[int, int, str]:
    height, width = read_picture(path).shape[:2]
    return height, width, str(path)


def _at_one_size(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Read pictures, and bring them to the size of the first."""
    frames = [read_picture(path) for path in paths]
    return [bring_to(frame, (frames[0].shape[0], frames[0].shape[1])) for frame in frames]


def _different(frames: Sequence[NDArray[np.uint8]], size: int) -> list[NDArray[np.uint8]]:
    """Return so many frames, the missing ones as others moved sideways: what is beside a frame is never the same."""
    return [np.roll(frames[place % len(frames)], 3 * (place // len(frames)), axis=1) for place in range(size)]


def _turned(frames: Sequence[NDArray[np.uint8]], places: int) -> list[NDArray[np.uint8]]:
    """Return frames moved on by some places, the last ones to the front."""
    start = -places % len(frames)
    return [*frames[start:], *frames[:start]]
