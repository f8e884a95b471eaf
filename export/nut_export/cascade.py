"""Which fast model a cascade gets: the one with which a good part takes the least time on average.

An int8 backbone is faster, but its scores differ more, so more parts fall into the guard band and are judged twice.
Both are written, timed and measured; where neither beats the exact model alone, an engine gets no fast model.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nut_dataset.progress import Progress, no_progress
from nut_export.fast import FastModel
from nut_export.guard import Guard, guard_band
from nut_export.writers import write_model
from nut_runtime.bundle import Bundle
from nut_runtime.engines import load_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.manifest import Cascade

__all__ = ["FAST_FOLDER", "ChosenCascade", "choose_cascade"]

FAST_FOLDER = "fast"
"""Where a cascade keeps its fast models, beside the exact ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCascade:
    """A cascade and what it was chosen from.

    Attributes:
        cascade: As the manifest says it.
        fast: The fast model of each engine that has one.
    """

    cascade: Cascade
    fast: Mapping[str, FastModel]


def choose_cascade(
    bundle: Bundle,
    options: Mapping[str, Sequence[FastModel]],
    info: Mapping[str, str],
    pictures: Sequence[Path],
    progress: Progress = no_progress,
) -> ChosenCascade | None:
    """Write the fast models of a bundle below `FAST_FOLDER`.

    Args:
        bundle: The bundle with its exact models.
        options: Fast models to choose from, by engine.
        info: From `writers.model_info`.
        pictures: Good pictures that are not in the bank.
        progress: Told of each picture.

    Returns:
        What was chosen; None, and no folder, where the exact model alone is fastest in every engine.
    """
    folder = bundle.folder / FAST_FOLDER
    folder.mkdir()
    models: dict[str, str] = {}
    guards: dict[str, Guard] = {}
    chosen: dict[str, FastModel] = {}
    for engine, candidates in options.items():
        for number, candidate in enumerate(one for one in candidates if not one.is_exact):
            place = folder / f"{engine}-{number}"
            place.mkdir()
            name = write_model(engine, candidate.model, place, info)
            guard = _measure(bundle, engine, f"{FAST_FOLDER}/{place.name}/{name}", pictures, progress)
            if guard.expected_ms >= (guards[engine].expected_ms if engine in guards else guard.exact_ms):
                shutil.rmtree(place)
                continue
            for file in place.iterdir():
                file.replace(folder / file.name)
            place.rmdir()
            models[engine], guards[engine], chosen[engine] = f"{FAST_FOLDER}/{name}", guard, candidate
    if not models:
        folder.rmdir()
        return None
    cascade = Cascade(
        models=models,
        guard={engine: guard.width for engine, guard in guards.items()},
        found={engine: guard.to_json() for engine, guard in guards.items()},
    )
    return ChosenCascade(cascade=cascade, fast=chosen)


def _measure(bundle: Bundle, engine: str, model: str, pictures: Sequence[Path], progress: Progress) -> Guard:
    """Measure the guard band of one fast model."""
    manifest = bundle.manifest
    trial = replace(manifest, precision="cascade", cascade=Cascade(models={engine: model}, guard={engine: 1.0}))
    pair = load_engine(replace(bundle, manifest=trial), engine)
    if not isinstance(pair, CascadeEngine):
        raise TypeError(f"{engine} has no fast model")
    return guard_band(pair.fast, pair.exact, pictures, threshold=manifest.point.image.threshold, progress=progress)
