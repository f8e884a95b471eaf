"""The fast model of a bundle: int8 backbone, coarse search with exact re-ranking, each engine its own file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_export.coarse import CoarseBank, prepare_coarse
from nut_export.graph import Parts, assemble
from nut_export.plan import GroupedBank, SearchPlan, choose_plan, group_bank, measure_recall
from nut_export.quantise import QuantisedFeatures, embeddings, has_depthwise, quantise_features
from nut_export.search import SearchBank
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING
from nut_runtime.engines.base import Engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.pictures import read_picture
from nut_train.predict import picture_tensor

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = [
    "FEATURE_ERROR",
    "PLANNED_PICTURES",
    "FastConfig",
    "FastModel",
    "build_fast",
    "pixels_of",
    "plan_fast",
    "search_recall",
]

FEATURE_ERROR = 0.08
"""Error of int8 embeddings, as a share of their spread, up to which layers are quantised.

At 0.08 scores of both real sets moved by 0.015 at most and no verdict flipped farther than 0.02 from the threshold
(docs/performance.md); with every layer quantised the error was 0.2, and scores moved by 0.05 to 0.23.
"""

PLANNED_PICTURES = 8
"""Pictures that the search is planned on, at most."""
_RECALL_PICTURES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FastConfig:
    """What of the fast model is fixed instead of chosen.

    Attributes:
        components: Width of the coarse search's projection; None chooses it.
        candidates: Bank vectors measured again exactly; None chooses it.
        feature_error: Error of the embeddings up to which layers are quantised.
    """

    components: int | None = None
    candidates: int | None = None
    feature_error: float = FEATURE_ERROR


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FastModel:
    """The graph for one engine and what was chosen for it.

    Attributes:
        model: The ONNX model.
        plan: How its bank is searched; None is the exact search.
        features: Its quantised feature extractor; None is the float one.
        coarse: The bank as its search holds it; None with the exact search.
    """

    model: onnx.ModelProto
    plan: SearchPlan | None
    features: QuantisedFeatures | None
    coarse: CoarseBank | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest keeps."""
        return {
            "search": None if self.plan is None else self.plan.to_json(),
            "features": None if self.features is None else self.features.to_json(),
        }

    @property
    def is_exact(self) -> bool:
        """Whether nothing in it is fast: it is the exact graph."""
        return self.plan is None and self.features is None

    def describe(self) -> str:
        """Say in one line what was chosen."""
        if self.features is None:
            backbone = "backbone float32"
        else:
            count = len(self.features.float_layers)
            backbone = "backbone int8" + (f" ({count} of {self.features.layers} layers float32)" if count else "")
        if self.plan is None:
            return f"{backbone}, search exact"
        return (
            f"{backbone}, search {self.plan.arithmetic} in {self.plan.components} components, "
            f"{self.plan.candidates} candidates, recall {100 * self.plan.recall:.2f}%"
        )


def build_fast(
    parts: Parts,
    training: Sequence[NDArray[np.float32]],
    others: Sequence[NDArray[np.float32]],
    config: FastConfig | None = None,
    *,
    extremes: Sequence[NDArray[np.float32]] = (),
    engines: Sequence[str],
    progress: Progress = no_progress,
) -> Mapping[str, tuple[FastModel, ...]]:
    """Build fast models for each engine: one with an int8 backbone, and one with the float backbone.

    The former is faster, the latter only ranks candidates otherwise than the exact model, so that its scores hardly
    differ. Where an engine is slower with int8 convolutions, the float backbone's is the only one.

    Args:
        parts: From `graph.prepare`.
        training: Pixels of the pictures the bank was made from; they calibrate int8.
        others: Pixels of good pictures that are not in the bank, at least one; the search is planned on them.
        extremes: Pixels of spoiled pictures, which the range of the int8 search is to cover.
        config: What is fixed; None chooses everything.
        engines: The engines to build for.
        progress: Told of each step.

    Raises:
        InputError: If there are too few pictures, or what was fixed cannot hold the recall.
    """
    config = config or FastConfig()
    quantised = quantise_features(parts.features, training, error=config.feature_error, progress=progress)
    grouped = group_bank(parts.bank)
    chosen = evenly(others, PLANNED_PICTURES)
    built = {}
    for done, engine in enumerate(engines):
        progress("planning the search", done, len(engines))
        # Depthwise convolutions are slower in int8 than in float32 there.
        backbones = [None] if engine == "onnxruntime" and has_depthwise(parts.features) else [quantised, None]
        built[engine] = tuple(
            plan_fast(parts, grouped, features, chosen, extremes=extremes, engine=engine, config=config)
            for features in backbones
        )
    progress("planning the search", len(engines), len(engines))
    return built


def plan_fast(
    parts: Parts,
    grouped: GroupedBank,
    features: QuantisedFeatures | None,
    pixels: Sequence[NDArray[np.float32]],
    *,
    extremes: Sequence[NDArray[np.float32]] = (),
    engine: str,
    config: FastConfig | None = None,
) -> FastModel:
    """Plan the search on embeddings as a backbone gives them, and put the graph together.

    Args:
        parts: From `graph.prepare`.
        grouped: Its bank in groups.
        features: The quantised backbone; None is the float one.
        pixels: Pictures that are not in the bank, as the backbone takes them.
        extremes: Spoiled pictures likewise, which the range of the int8 search is to cover.
        engine: The engine to build for.
        config: What is fixed; None chooses everything.

    Raises:
        InputError: If what was fixed cannot hold the recall.
    """
    config = config or FastConfig()
    backbone = parts.features if features is None else features.model
    patches = np.concatenate(embeddings(backbone, pixels))
    spoiled = np.concatenate(embeddings(backbone, extremes)) if extremes else patches[:0]
    plan = choose_plan(
        grouped,
        patches,
        engine=engine,
        extremes=spoiled,
        components=config.components,
        candidates=config.candidates,
    )
    coarse = None if plan is None else prepare_coarse(grouped, plan, np.concatenate([patches, spoiled]))
    model = assemble(parts, engine=engine, features=backbone, coarse=coarse)
    return FastModel(model=model, plan=plan, features=features, coarse=coarse)


def pixels_of(model: "Patchcore", frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a frame as the backbone takes it, resized and normalised by anomalib: float32 `[1, 3, h, w]`."""
    with torch.no_grad():
        pixels = model.pre_processor.transform(picture_tensor(frame)[None].to(model.device))
    return np.asarray(pixels.cpu().numpy(), np.float32)


def search_recall(engine: Engine, bank: SearchBank, paths: Sequence[Path]) -> float:
    """Return the share of patches whose true nearest bank vector the fast search found, in the engine itself.

    Args:
        engine: An engine of an int8 or cascade bundle.
        bank: The bank.
        paths: Pictures; 20 are used at most, evenly.
    """
    judge = engine.fast if isinstance(engine, CascadeEngine) else engine
    found, patches = 0, 0
    for path in evenly(paths, _RECALL_PICTURES):
        stages = judge.stages(read_picture(path))
        found += measure_recall(bank, stages[STAGE_EMBEDDING], stages[STAGE_DISTANCES])
        patches += len(stages[STAGE_DISTANCES])
    return found / patches
