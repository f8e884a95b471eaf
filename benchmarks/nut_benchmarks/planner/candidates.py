"""One bank at one precision: exported as `nut export` does, timed in an engine, judged by the results it gave."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nut_benchmarks.bench import BenchConfig, measure_in_process
from nut_benchmarks.measure import Timing
from nut_benchmarks.planner.banks import Bank
from nut_benchmarks.planner.choice import Accuracy, Speed
from nut_benchmarks.planner.config import PlanConfig
from nut_benchmarks.planner.streams import RoundsJob, measure_rounds
from nut_dataset.layout import GOOD
from nut_dataset.progress import Progress
from nut_export.export import ExportConfig, export_bundle
from nut_runtime.engines.base import EngineResult
from nut_runtime.picture_header import read_header
from nut_runtime.pictures import read_picture
from nut_train.metrics import image_metrics

__all__ = ["export_bank", "measure_candidate", "middle_sized"]

_RARE = 0.05
"""Share of good parts up to which being judged twice does not reach the 95th percentile of a cascade's time."""
_LEAST_ROUNDS, _MOST_S = 20, 10.0  # of the cameras' parts together: rounds at least, and seconds beyond those


def export_bank(bank: Bank, precision: str, config: PlanConfig, out: Path, *, progress: Progress) -> None:
    """Export a bank at a precision.

    Raises:
        NutError: As `nut export` would.
    """
    export_bundle(
        bank.run, out, ExportConfig(precision=precision, pictures=max(config.test_pictures, 1)), progress=progress
    )


def measure_candidate(
    bank: Bank, bundle: Path, precision: str, engine: str, config: PlanConfig, *, threads: int
) -> tuple[Speed, Accuracy]:
    """Time a bundle in an engine, and measure its accuracy by the results of that very engine.

    Args:
        bank: What the bundle was exported from.
        bundle: The bundle folder.
        precision: Its precision.
        engine: The engine.
        config: Cameras, warm-up and repeats.
        threads: Threads of this machine to use.

    Raises:
        NutError: If the engine fails.
        RuntimeError: If its process fails in any other way.
    """
    paths = [*bank.kinds, *bank.held_out]
    bench = BenchConfig(warm_up=config.warm_up, repeats=config.repeats)
    frame = middle_sized(bank.good)
    timing, results = measure_in_process(engine, bundle, paths, frame, threads, bench)
    judged = dict(zip(paths, results, strict=True))
    rejudged, twice_ms = None, None
    if precision == "cascade":
        rejudged = float(np.mean([judged[path].is_rejudged for path in bank.good]))
        timings = {judged[frame].is_rejudged: (timing, frame)}
        for is_twice in (False, True):
            alike = [path for path in bank.good if judged[path].is_rejudged == is_twice]
            if is_twice and not alike:  # a defective one takes as long
                alike = [path for path in paths if judged[path].is_rejudged]
            if is_twice not in timings and alike:
                other = middle_sized(alike)
                timings[is_twice] = measure_in_process(engine, bundle, [other], other, threads, bench)[0], other
        twice_ms = timings[True][0].p95_ms if True in timings else None
        timing, frame = timings[rejudged > _RARE or False not in timings]
    return (
        _speed(timing, engine, bundle, frame, config, threads=threads, rejudged=rejudged, twice_ms=twice_ms),
        _accuracy(bank, judged),
    )


def middle_sized(paths: Sequence[Path]) -> Path:
    """Return the picture with the median number of pixels."""
    sizes = sorted((_pixels(path), path) for path in paths)
    return sizes[len(sizes) // 2][1]


def _pixels(path: Path) -> int:
    header = read_header(path.read_bytes())
    if header is not None:
        return header.height_px * header.width_px
    height, width = read_picture(path).shape[:2]
    return height * width


def _speed(
    timing: Timing,
    engine: str,
    bundle: Path,
    frame: Path,
    config: PlanConfig,
    *,
    threads: int,
    rejudged: float | None,
    twice_ms: float | None,
) -> Speed:
    """Return what one part takes, and the parts of all cameras in the faster of two ways."""
    ways = {1: timing.p95_ms}
    if config.cameras > 1:
        most = max(_LEAST_ROUNDS, int(_MOST_S * 1e3 / (config.cameras * timing.p50_ms)))
        for streams in sorted({1, min(config.cameras, threads)}):
            ways[streams] = measure_rounds(
                RoundsJob(
                    engine=engine,
                    model=str(bundle.resolve()),
                    frame=str(frame.resolve()),
                    cameras=config.cameras,
                    streams=streams,
                    threads=threads,
                    warm_up=min(config.warm_up, _LEAST_ROUNDS),
                    rounds=min(config.repeats, most),
                )
            )
    streams = min(ways, key=lambda way: ways[way])
    return Speed(
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        streams=streams,
        all_ms=ways[streams],
        ways=ways,
        rejudged=rejudged,
        twice_ms=twice_ms,
        load_s=timing.load_s,
        peak_mb=timing.peak_mb,
    )


def _accuracy(bank: Bank, judged: Mapping[Path, EngineResult]) -> Accuracy:
    """Return the figures over the test pictures."""
    if not bank.kinds:
        return Accuracy(good=0, defective=0, image_auroc=None, pixel_auroc=None, recall=None, good_rejected=None)
    metrics = image_metrics(
        np.array([judged[path].raw_score for path in bank.kinds]),
        np.array([kind != GOOD for kind in bank.kinds.values()]),
        np.array([judged[path].pred_label for path in bank.kinds]),
    )
    return Accuracy(
        good=metrics.good,
        defective=metrics.defective,
        image_auroc=metrics.auroc,
        pixel_auroc=bank.pixel_auroc,
        recall=metrics.recall,
        good_rejected=metrics.false_reject_rate,
    )
