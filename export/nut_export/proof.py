"""Who is held against anomalib in an export, and to what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nut_dataset.layout import Dataset
from nut_dataset.progress import Progress
from nut_export.compat_engine import CompatEngine
from nut_export.fast import search_recall
from nut_export.parity import Parity, compare, measure
from nut_export.search import SearchBank
from nut_runtime.engines.base import Engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.manifest import Manifest
from nut_train.predict import Prediction, predict

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["EXACT_PREFIX", "all_judges", "judge_with_anomalib", "prove"]

EXACT_PREFIX = "exact/"
"""Before an engine's name in a cascade's proof: its exact model alone, which other tools load too."""


def judge_with_anomalib(model: "Patchcore", paths: Sequence[Path], progress: Progress) -> list[Prediction]:
    """Judge pictures with anomalib's own prediction, the reference.

    Args:
        model: The trained model.
        paths: The pictures.
        progress: Told of each.
    """
    predictions: list[Prediction] = []

    def keep(prediction: Prediction) -> None:
        predictions.append(prediction)
        progress("judging with anomalib", len(predictions), len(paths))

    predict(model, paths, keep, device="cpu")
    return predictions


def all_judges(engines: Mapping[str, Engine], variants: Mapping[str, Path]) -> dict[str, Engine]:
    """Return everything of a bundle that judges, by the name it has in the proof.

    Args:
        engines: The bundle in each engine; of a cascade the exact model by itself is added.
        variants: The bundle's variants for other tools, by name.
    """
    judges: dict[str, Engine] = dict(engines)
    for name, path in variants.items():
        variant = CompatEngine(path, name)
        judges[variant.name] = variant
    for name, engine in engines.items():
        if isinstance(engine, CascadeEngine):
            judges[f"{EXACT_PREFIX}{name}"] = engine.exact
    return judges


def prove(
    judges: Mapping[str, Engine],
    manifest: Manifest,
    predictions: Sequence[Prediction],
    sources: Mapping[Path, Path],
    bank: SearchBank,
    coarse: Collection[str],
    dataset: Dataset,
    progress: Progress,
) -> dict[str, Parity]:
    """Hold every judge against the reference; measure the recall of those whose search is coarse.

    Args:
        judges: From `all_judges`.
        manifest: The bundle's, as far as it is known.
        predictions: The reference.
        sources: The data set's picture of each one that was judged, which may have been brought to a frame size.
        bank: The memory bank.
        coarse: Names of the judges whose search is coarse.
        dataset: Tells which pictures are defective, and where.
        progress: Told of each picture.

    Raises:
        ParityError: If a judge gives something that is no number.
    """
    paths = [prediction.path for prediction in predictions]
    named = [replace(prediction, path=sources[prediction.path]) for prediction in predictions]
    return {
        name: compare(
            named,
            measure(judge, predictions, progress),
            engine=name,
            engine_version=judge.version,
            precision=_held_to(name, manifest),
            dataset=dataset,
            threshold=manifest.point.image.threshold,
            recall=search_recall(judge, bank, paths) if name in coarse else None,
            frame_px=manifest.frame_px,
        )
        for name, judge in judges.items()
    }


def _held_to(name: str, manifest: Manifest) -> str:
    """Return the precision whose bounds a judge is held to: in a cascade, one without a fast model is exact."""
    if manifest.cascade is None:
        return manifest.precision
    return "cascade" if name in manifest.cascade.models else "fp32"
