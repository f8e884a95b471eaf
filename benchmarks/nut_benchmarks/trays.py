"""What a tray costs: finding its parts, and finding, cutting out and judging them, each engine in its own process.

Run as `python -m nut_benchmarks.trays JOB.json`, as `nut_benchmarks.measure` is.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_benchmarks.own_process import run_in_process
from nut_dataset.progress import Progress, no_progress
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError
from nut_runtime.locate.finding import find_instances
from nut_runtime.pictures import read_picture, write_picture

__all__ = ["PARTS", "STREAMED", "TARGETS_MS", "TrayStep", "TrayTimings", "draw_bench_tray", "run_trays"]

PARTS = 24
"""Parts on the drawn tray."""
TARGETS_MS = {"locate": 40.0, "tray": 250.0, "tray, streams": 250.0}
"""What may be taken on two cores, for a frame of 640x480: to find the parts in int8, and for all of the tray."""
STREAMED = "tray, streams"
"""The step in which parts are judged side by side, a thread each."""
_LONG_SIDE_PX = 640
_NUT_PX = (40.0, 46.0)  # so that they fit without lying on each other
_DRAWN = 16  # of which the one with most whole nuts is taken
_SEED = 11
# Steps take turns, so that a busy while meets them all.
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayStep:
    """How long one step takes.

    Attributes:
        name: `map` (the network), `locate` (network and finding), `judge` (one cut-out), `tray` (all of it), or
            `STREAMED` (the same with as many streams as threads).
        min_ms: The fastest of the timed ones.
        p50_ms: Their median.
        p95_ms: Their 95th percentile.
        cpu_ms: The least processor time of one, of all threads together: where other programs run too, it says more
            than the clock.
    """

    name: str
    min_ms: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayTimings:
    """One bundle in one engine.

    Attributes:
        engine: Name of the engine.
        precision: What the engine's locator is in.
        judge: What the judge is in.
        frame_px: Height and width of the frame.
        found: Parts found in it.
        judged: Parts that were judged.
        steps: How long what takes.
    """

    engine: str
    precision: str
    judge: str
    frame_px: tuple[int, int]
    found: int
    judged: int
    steps: tuple[TrayStep, ...]


def run_trays(
    bundles: Sequence[Path],
    *,
    picture: Path | None = None,
    threads: int,
    warm_up: int,
    repeats: int,
    progress: Progress = no_progress,
) -> list[TrayTimings]:
    """Time every engine of bundles that have a locator on one frame.

    Args:
        bundles: Bundle folders, such as one with its locator in float32 and one in int8.
        picture: A picture of a tray; None draws one of 24 nuts, 640x480.
        threads: Threads to compute with.
        warm_up: Frames before the clock starts.
        repeats: Timed frames of each step.
        progress: Told of each engine.

    Raises:
        InputError: If a bundle has no locator.
        BundleError: If a bundle is not usable.
    """
    jobs = []
    for folder in bundles:
        manifest = open_bundle(folder).manifest
        if manifest.locator is None:
            raise InputError(
                f"{folder} has no locator; add one with nut bundle add-locator, or give its run with --run"
            )
        jobs += [(folder, engine) for engine in sorted(manifest.locator.models)]
    found = []
    with tempfile.TemporaryDirectory(prefix="nut-trays-") as place:
        if picture is None:
            picture = Path(place) / "tray.png"
            write_picture(picture, draw_bench_tray())
        for done, (folder, engine) in enumerate(jobs, 1):
            job = {
                "engine": engine,
                "model": str(folder.resolve()),
                "picture": str(picture.resolve()),
                "threads": threads,
                "warm_up": warm_up,
                "repeats": repeats,
            }
            run_in_process("nut_benchmarks.trays", job, Path(place), engine=engine, threads=threads)
            data = json.loads((Path(place) / "timings.json").read_text(encoding="utf-8"))
            steps = tuple(TrayStep(**step) for step in data.pop("steps"))
            found.append(TrayTimings(**{**data, "frame_px": tuple(data["frame_px"])}, steps=steps))
            progress("timing trays", done, len(jobs))
    return found


def draw_bench_tray() -> NDArray[np.uint8]:
    """Return the drawn tray that is timed: 24 whole nuts, or nearly so, uint8 `[480, 640, 3]`, BGR, always the same."""
    from nut_dataset.coco.trays import read_trays
    from nut_dataset.synth_trays import SynthTraysSettings, synthesise_trays

    with tempfile.TemporaryDirectory(prefix="nut-tray-") as place:
        folder = Path(place) / "trays"
        settings = SynthTraysSettings(
            train=_DRAWN, valid=0, test=0, seed=_SEED, size_px=_LONG_SIDE_PX, parts=(PARTS, PARTS), nut_side=_NUT_PX
        )
        synthesise_trays(folder, settings)
        drawn = [picture.read() for picture in read_trays(folder, "train")]
    frame = max(drawn, key=lambda one: _whole(one[1]))[0]
    return frame if frame.shape[1] > frame.shape[0] else np.ascontiguousarray(np.rot90(frame))


def _whole(instances: NDArray[np.uint16]) -> int:
    """Return how many parts no edge cuts, and no other part covers by more than a tenth."""
    edges = (instances[0], instances[-1], instances[:, 0], instances[:, -1])
    areas = np.bincount(instances.ravel())
    areas[0] = 0
    areas[np.unique(np.concatenate(edges))] = 0
    return int((areas > 0.9 * np.median(areas[areas > 0])).sum()) if areas.any() else 0


def _time_tray(engine: str, model: Path, picture: Path, *, threads: int, warm_up: int, repeats: int) -> TrayTimings:
    """Time one engine in this process."""
    from nut_runtime.inspector import Inspector
    from nut_runtime.locate.tray import TrayInspector

    inspector = Inspector(model, engine=engine, threads=threads)
    trays, locator = TrayInspector(inspector), inspector.locator
    if locator is None:  # the caller has looked
        raise InputError(f"{model} has no locator")
    frame = read_picture(picture)
    frame_px = (frame.shape[0], frame.shape[1])
    side = locator.entry.cutout.size_px
    cutout = np.full((side, side, 3), 200, np.uint8)
    steps: dict[str, Callable[[], object]] = {
        "map": lambda: locator.locate(frame),
        "locate": lambda: find_instances(locator.locate(frame), frame_px=frame_px, settings=locator.entry.find),
        "judge": lambda: inspector.inspect(cutout),
        "tray": lambda: trays.inspect(frame),
    }
    if threads > 1:
        side_by_side = TrayInspector(Inspector(model, engine=engine, threads=threads, streams=threads))
        steps[STREAMED] = lambda: side_by_side.inspect(frame)
    for step in steps.values():
        for _ in range(warm_up):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    processor = dict.fromkeys(steps, float("inf"))
    for round_number in range(min(_ROUNDS, repeats)):
        for name, step in steps.items():
            for _ in range(repeats // _ROUNDS + (round_number < repeats % _ROUNDS)):
                cpu, started = time.process_time(), time.perf_counter()
                step()
                times[name].append((time.perf_counter() - started) * 1e3)
                processor[name] = min(processor[name], (time.process_time() - cpu) * 1e3)
    counts = trays.inspect(frame).counts
    entry = locator.entry
    return TrayTimings(
        engine=engine,
        precision=str(entry.parity.get(engine, {}).get("precision", entry.precision)),
        judge=inspector.bundle.manifest.precision,
        frame_px=frame_px,
        found=counts["found"],
        judged=counts["judged"],
        steps=tuple(
            TrayStep(
                name=name,
                min_ms=min(values),
                p50_ms=float(np.median(values)),
                p95_ms=float(np.percentile(values, 95)),
                cpu_ms=processor[name],
            )
            for name, values in times.items()
        ),
    )


def _main() -> None:
    path = Path(sys.argv[1])
    job = json.loads(path.read_text(encoding="utf-8"))
    found = _time_tray(
        job["engine"],
        Path(job["model"]),
        Path(job["picture"]),
        threads=job["threads"],
        warm_up=job["warm_up"],
        repeats=job["repeats"],
    )
    path.with_name("timings.json").write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    _main()
