"""Golden frames: a few pictures with the reference's tensors, against which a device tests itself."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_export.features import PatchEmbedding
from nut_export.parity import is_near_threshold
from nut_runtime.bundle import Bundle
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING, STAGE_PIXELS
from nut_runtime.engines.base import Engine
from nut_runtime.manifest import GoldenFrame
from nut_runtime.pictures import encode_png, read_picture
from nut_runtime.selftest import FAST_PREFIX, sample_stage, stage_deviations
from nut_train.predict import Prediction, picture_tensor

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["choose_golden", "reference_stages", "selftest_tolerances", "write_golden"]

_PATCHES_AT_ONCE = 128
# A device may sum in another order than this machine did: ten times the difference seen here is let pass, never less
# than 1e-4 and never more than 3e-3. bf16 (8 bits of mantissa) is off by 4e-3 and more, a missing antialias by 1e-1;
# a bundle that was forced past its proof cannot widen its own tolerance to hide that. An int8 model differs from the
# reference by its rounding, on every device alike: twice that is let pass, which saturated sums exceed by far.
_FACTOR, _FLOOR, _CEILING = 10.0, 1e-4, 3e-3
_INT8_FACTOR, _INT8_CEILING = 2.0, 0.5
_LARGEST_PIXELS = 4_000_000  # a golden frame is kept as PNG; larger ones would outweigh the model


def reference_stages(model: "Patchcore", frame: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return the tensors between anomalib's own steps for one frame.

    The steps are those of its prediction: the pre-processor's transform (antialiased), then the parts of
    `PatchcoreModel.forward` by anomalib's own methods.

    Args:
        model: The trained model.
        frame: uint8 `[H, W, 3]`, BGR.

    Returns:
        Float32 tensors by the names in `nut_runtime.contract`.
    """
    with torch.no_grad():
        pixels = model.pre_processor.transform(picture_tensor(frame)[None].to(model.device))
        embedding = PatchEmbedding(model.model)(pixels)
        # In float64: anomalib's own float32 distances of patches that are in the bank are off by 1e-3 of the largest,
        # by cancellation, and would let a device drift as far.
        bank = model.model.memory_bank.double()
        blocks = embedding.double().split(_PATCHES_AT_ONCE)
        distances = torch.cat([model.model.euclidean_dist(block, bank).amin(dim=1) for block in blocks])
    tensors = {STAGE_PIXELS: pixels, STAGE_EMBEDDING: embedding, STAGE_DISTANCES: distances}
    return {name: np.asarray(tensor.cpu().numpy(), np.float32) for name, tensor in tensors.items()}


def choose_golden(
    predictions: Sequence[Prediction], count: int = 3, *, avoids_threshold: bool = False
) -> list[Prediction]:
    """Choose frames that spread over the scores: the lowest, the highest, and those evenly between.

    Args:
        predictions: The reference's predictions, at least one.
        count: How many to choose, at most.
        avoids_threshold: Leave out those near the threshold, where an int8 model may flip a verdict and the self-test,
            which lets no verdict flip, would find drift on every device; unless all are.
    """
    far = [one for one in predictions if not (avoids_threshold and is_near_threshold(one.pred_score))]
    rising = sorted(far or predictions, key=lambda one: one.raw_score)
    small = [one for one in rising if _pixels(one.path) <= _LARGEST_PIXELS] or rising[:1]
    return evenly(small, count)


def write_golden(model: "Patchcore", predictions: Sequence[Prediction], folder: Path) -> tuple[GoldenFrame, ...]:
    """Write golden frames below `folder`/golden.

    Args:
        model: The trained model.
        predictions: The reference's predictions of the frames to keep.
        folder: The bundle's folder.
    """
    (folder / "golden").mkdir()
    written = []
    for number, prediction in enumerate(predictions):
        frame = read_picture(prediction.path)
        picture, stages = f"golden/{number:02}.png", f"golden/{number:02}.npz"
        (folder / picture).write_bytes(encode_png(frame))
        buffer = io.BytesIO()
        sampled = {name: sample_stage(tensor) for name, tensor in reference_stages(model, frame).items()}
        np.savez_compressed(buffer, allow_pickle=False, **sampled)
        (folder / stages).write_bytes(buffer.getvalue())
        written.append(
            GoldenFrame(
                picture=picture,
                stages=stages,
                raw_score=prediction.raw_score,
                pred_score=prediction.pred_score,
                is_defective=prediction.pred_label,
            )
        )
    return tuple(written)


def selftest_tolerances(bundle: Bundle, model: "Patchcore", engines: Sequence[Engine]) -> dict[str, float]:
    """Return what the self-test lets pass, from the differences seen on this machine.

    Of what is float32 by stage, the same for all engines. Of what is int8 by `ENGINE/STAGE`, since the engines differ
    in which layers they quantise.

    Args:
        bundle: The bundle with its golden frames.
        model: The trained model.
        engines: The bundle in each engine.
    """
    is_int8 = bundle.manifest.precision == "int8"
    exact: dict[str, float] = {}
    fast: dict[str, dict[str, float]] = {engine.name: {} for engine in engines}
    for golden in bundle.manifest.golden:
        frame = read_picture(bundle.folder / golden.picture)
        reference = {stage: sample_stage(tensor) for stage, tensor in reference_stages(model, frame).items()}
        for engine in engines:
            for stage, share in stage_deviations(engine, frame, reference, golden.raw_score).items():
                worst = fast[engine.name] if is_int8 or stage.startswith(FAST_PREFIX) else exact
                worst[stage] = max(worst.get(stage, 0.0), share)
    tolerances = {stage: min(max(_FACTOR * share, _FLOOR), _CEILING) for stage, share in exact.items()}
    for name, worst in fast.items():
        passes = {stage: min(max(_INT8_FACTOR * share, _FLOOR), _INT8_CEILING) for stage, share in worst.items()}
        for stage, share in passes.items():
            # A coarse search may take the second nearest vector for the nearest on another device, though it missed
            # none here; the distances to both differ by less than what the embedding may be off.
            embedding = stage.removesuffix(STAGE_DISTANCES) + STAGE_EMBEDDING
            floor = passes.get(embedding, 0.0) if stage.endswith(STAGE_DISTANCES) else 0.0
            tolerances[f"{name}/{stage}"] = max(share, floor)
    return tolerances


def _pixels(path: Path) -> int:
    height, width = read_picture(path).shape[:2]
    return height * width
