"""The locator's graph for each engine, exact or with the network in int8."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nut_dataset.coco.trays import TrayPicture
from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_export.locator.fold import fold_normalisation
from nut_export.locator.graph import DISTANCE_MAP, LOCATOR_PIXELS, assemble_locator
from nut_export.locator.network import export_network
from nut_export.quantise import LEAST_PICTURES, MOST_PICTURES, has_depthwise, quantise_features
from nut_runtime.errors import InputError
from nut_train.locator.network import LocatorNetwork
from nut_train.locator.pixels import pixels_of
from nut_train.locator.run import LocatorRun

__all__ = ["MAP_ERROR", "LocatorModels", "build_models", "calibration_pixels"]

MAP_ERROR = 0.1
"""Error of int8 maps up to which layers are quantised, as a share of the maps' spread (root mean square)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocatorModels:
    """The graphs of a locator.

    Attributes:
        models: By engine.
        precisions: `fp32` or `int8`, by engine.
        quantised: What `QuantisedFeatures.to_json` says of the int8 network; None where there is none.
    """

    models: Mapping[str, onnx.ModelProto]
    precisions: Mapping[str, str]
    quantised: Mapping[str, Any] | None = None


def build_models(
    run: LocatorRun,
    network: LocatorNetwork,
    *,
    engines: Sequence[str],
    calibration: Sequence[NDArray[np.float32]] = (),
    progress: Progress = no_progress,
) -> LocatorModels:
    """Return the deployment graph for each engine.

    ONNX Runtime keeps the float network where the encoder has depthwise convolutions: those take it longer in int8
    than in float32, as with the judge's backbone.

    Args:
        run: The locator's run.
        network: From `run.load()`.
        engines: Names of engines.
        calibration: From `calibration_pixels`; int8 is asked for where there are any.
        progress: Told of each step.
    """
    long_side_px = run.config.long_side_px
    exact = fold_normalisation(export_network(network, source=LOCATOR_PIXELS, target=DISTANCE_MAP))
    graphs = {engine: assemble_locator(exact, run.encoder, long_side_px=long_side_px) for engine in engines}
    precisions = dict.fromkeys(engines, "fp32")
    if not calibration:
        return LocatorModels(models=graphs, precisions=precisions)
    fast = quantise_features(exact, calibration, error=MAP_ERROR, progress=progress)
    for engine in engines:
        if engine == "onnxruntime" and has_depthwise(exact):
            continue
        graphs[engine] = assemble_locator(fast.model, run.encoder, long_side_px=long_side_px)
        precisions[engine] = "int8"
    return LocatorModels(models=graphs, precisions=precisions, quantised=fast.to_json())


def calibration_pixels(run: LocatorRun, pictures: Sequence[TrayPicture]) -> list[NDArray[np.float32]]:
    """Return what the network sees of training trays, all of one size: the most frequent one.

    Args:
        run: The locator's run.
        pictures: Training trays.

    Raises:
        InputError: If there are fewer than `LEAST_PICTURES` of one size.
        PictureError: If one cannot be read.
    """
    pixels = [
        np.asarray(pixels_of(one.read()[0], run.encoder, long_side_px=run.config.long_side_px).numpy(), np.float32)
        for one in evenly(pictures, 2 * MOST_PICTURES)
    ]
    sizes = Counter(one.shape for one in pixels).most_common(1)
    chosen = [one for one in pixels if one.shape == sizes[0][0]] if sizes else []
    if len(chosen) < LEAST_PICTURES:
        raise InputError(
            f"{len(chosen)} training trays of one size to calibrate int8 with, at least {LEAST_PICTURES} are needed; "
            "mark more trays or take --locator-precision fp32"
        )
    return list(evenly(chosen, MOST_PICTURES))
