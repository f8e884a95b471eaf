"""The device's self-test: the golden frames judged on this very machine, stage by stage."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle
from nut_runtime.contract import STAGES
from nut_runtime.engines.base import Engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import BundleError
from nut_runtime.locate.locator import Locator
from nut_runtime.manifest import GoldenFrame
from nut_runtime.scoring import is_defective, normalise

__all__ = [
    "CENTRES_TOLERANCE_PX",
    "FAST_PREFIX",
    "LOCATOR_CENTRES",
    "LOCATOR_MAP",
    "RAW_SCORE",
    "VERDICT",
    "SelfTest",
    "StageResult",
    "deviation",
    "farthest_centre",
    "run_selftest",
    "sample_stage",
    "stage_deviations",
]

FAST_PREFIX = "fast/"
"""Before a stage's name: that stage of a cascade's fast model."""
LOCATOR_MAP = "locator/distance_map"
LOCATOR_CENTRES = "locator/centres"
RAW_SCORE = "raw_score"
VERDICT = "verdict"
CENTRES_TOLERANCE_PX = 2.0
"""How far the centre of a part may be from where the reference found it."""
_REPEATS = 10  # per frame, for the latency that is printed
_SAMPLES = 4096  # values kept of a large tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """How far one stage is from the reference.

    Attributes:
        stage: `stage/pixels`, `stage/embedding`, `stage/distances`, `raw_score` or `verdict`; those of a cascade's
            fast model after `fast/`; `locator/distance_map` and `locator/centres`.
        deviation: Largest difference over all golden frames, as a share of the reference's largest value; for
            `verdict` the number of frames judged otherwise; for the locator's map the difference itself, and for its
            centres the distance in pixels of the frame, infinite where another number of parts is found.
        tolerance: What the bundle lets pass.
    """

    stage: str
    deviation: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the stage holds; a NaN does not."""
        return bool(self.deviation <= self.tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The outcome on one engine.

    Attributes:
        stages: In the order a frame passes through them.
        latency_ms: Median time of one golden frame after warm-up.
    """

    stages: tuple[StageResult, ...]
    latency_ms: float

    @property
    def passed(self) -> bool:
        """Whether every stage holds."""
        return all(stage.passed for stage in self.stages)

    @property
    def first_drift(self) -> StageResult | None:
        """The first stage that does not hold, which is where to look."""
        return next((stage for stage in self.stages if not stage.passed), None)


def sample_stage(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return at most 4,096 values of a tensor, evenly spread: what a bundle keeps of it.

    Both sides call this, so that what was kept and what is compared lie at the same places.
    """
    flat = np.asarray(values, np.float32).ravel()
    step = max(1, -(-flat.size // _SAMPLES))
    return flat[::step]


def deviation(found: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the largest absolute difference as a share of the reference's largest absolute value.

    Another shape, or a value that is not a number, counts as infinite.
    """
    if found.shape != reference.shape:
        return float("inf")
    largest = float(np.abs(found.astype(np.float64) - reference).max(initial=0.0))
    scale = float(np.abs(reference).max(initial=0.0))
    share = largest / scale if scale else largest
    return share if np.isfinite(share) else float("inf")


def run_selftest(bundle: Bundle, engine: Engine, locator: Locator | None = None) -> SelfTest:
    """Judge the golden frames and compare every stage with the reference's tensors.

    Args:
        bundle: The bundle.
        engine: Its judge, loaded.
        locator: Its locator, loaded; None where it has none, or that is not used.

    Raises:
        BundleError: If there are no golden frames, or a golden file cannot be read or lacks a stage.
        EngineError: If the engine fails.
    """
    manifest = bundle.manifest
    if not manifest.golden:
        raise BundleError(f"{bundle.folder} has no golden frames to test with; export the bundle again")
    worst: dict[str, float] = {}
    flips = 0
    times = []
    for golden in manifest.golden:
        frame = bundle.golden_frame(golden)
        reference = _reference(bundle, golden)
        for stage, share in stage_deviations(engine, frame, reference, golden.raw_score).items():
            worst[stage] = max(worst.get(stage, 0.0), share)
        # Both scores against the same operating point, which may have moved since the export.
        flips += _verdict(engine.infer(frame).raw_score, bundle) != _verdict(golden.raw_score, bundle)
        for _ in range(_REPEATS):
            started = time.perf_counter()
            engine.infer(frame)
            times.append((time.perf_counter() - started) * 1e3)
    stages = [
        StageResult(stage=stage, deviation=share, tolerance=_tolerance(manifest.tolerances, engine.name, stage))
        for stage, share in worst.items()
    ]
    stages.append(StageResult(stage=VERDICT, deviation=float(flips), tolerance=0.0))
    if locator is not None:
        stages += _locator_stages(bundle, locator)
    return SelfTest(stages=tuple(stages), latency_ms=statistics.median(times) if times else float("nan"))


def _locator_stages(bundle: Bundle, locator: Locator) -> list[StageResult]:
    """Search the golden trays and compare maps and centres with the reference's."""
    if not locator.entry.golden:
        raise BundleError(f"{bundle.folder} has no golden trays to test its locator with; export the bundle again")
    map_off = centres_off = 0.0
    for tray in locator.entry.golden:
        frame = bundle.golden_frame(tray)
        found, reference = locator.locate(frame), bundle.golden_map(tray)
        is_alike = found.shape == reference.shape and bool(np.isfinite(reference).all())
        map_off = max(map_off, float(np.abs(found - reference).max(initial=0.0)) if is_alike else float("inf"))
        centres = [one.centre for one in locator.find(frame)]
        centres_off = max(centres_off, farthest_centre(centres, tray.centres))
    return [
        StageResult(stage=LOCATOR_MAP, deviation=map_off, tolerance=locator.entry.tolerances.get(locator.name, 0.0)),
        StageResult(stage=LOCATOR_CENTRES, deviation=centres_off, tolerance=CENTRES_TOLERANCE_PX),
    ]


def farthest_centre(found: Sequence[tuple[float, float]], reference: Sequence[tuple[float, float]]) -> float:
    """Return how far the farthest of either is from the nearest of the other; infinite for another number of them."""
    if len(found) != len(reference):
        return float("inf")
    if not found:
        return 0.0
    distances = np.linalg.norm(np.array(found)[:, None] - np.array(reference)[None], axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def stage_deviations(
    engine: Engine, frame: NDArray[np.uint8], reference: Mapping[str, NDArray[np.float32]], raw_score: float
) -> dict[str, float]:
    """Return how far each stage of a frame, and its score, are from the reference; of a cascade, both models'.

    Args:
        engine: The engine.
        frame: uint8 BGR `[H, W, 3]`.
        reference: What `sample_stage` kept of the reference's tensors, by stage; one that is absent is not compared.
        raw_score: The reference's.
    """
    expected = np.array([raw_score], np.float32)
    models = {"": engine}
    if isinstance(engine, CascadeEngine):
        models = {"": engine.exact, FAST_PREFIX: engine.fast}
    shares = {}
    for prefix, model in models.items():
        found = model.stages(frame)
        for stage in STAGES:
            if stage in reference:
                shares[prefix + stage] = deviation(sample_stage(found[stage]), reference[stage])
        score = np.array([model.infer(frame).raw_score], np.float32)
        shares[prefix + RAW_SCORE] = deviation(score, expected)
    return shares


def _reference(bundle: Bundle, golden: GoldenFrame) -> dict[str, NDArray[np.float32]]:
    """Return the reference's tensors of one frame."""
    reference = bundle.golden_stages(golden)
    compared = {key[key.index("stage/") :] for key in bundle.manifest.tolerances if "stage/" in key}
    lost = [stage for stage in STAGES if stage in compared and stage not in reference]
    if lost:
        raise BundleError(f"{bundle.folder / golden.stages} lacks {', '.join(lost)}; export the bundle again")
    return {stage: np.asarray(tensor, np.float32) for stage, tensor in reference.items()}


def _tolerance(tolerances: Mapping[str, float], engine: str, stage: str) -> float:
    """Return what may pass at a stage: what the bundle says of this engine, else of all."""
    return tolerances.get(f"{engine}/{stage}", tolerances.get(stage, 0.0))


def _verdict(raw_score: float, bundle: Bundle) -> bool:
    return bool(is_defective(normalise(np.float32(raw_score), bundle.manifest.point.image)))
