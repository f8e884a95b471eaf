"""How many frames a second a bundle judges: one at a time, several streams, several frames at once; side by side.

Run as `python -m nut_benchmarks.throughput JOB.json`, as `nut_benchmarks.measure` is.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nut_benchmarks.own_process import run_in_process
from nut_dataset.progress import Progress, no_progress
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError
from nut_runtime.inspector import Inspector

__all__ = ["STREAMS", "Mode", "ModeRate", "Throughput", "run_throughput"]

STREAMS = (1, 2, 4)
"""Frames judged at the same time; one is latency mode."""
_FOUND = "found.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way to judge many frames.

    Attributes:
        streams: Frames judged at the same time, from threads of their own.
        batch: Frames judged together, by the bundle's models for that; 1 is none.
    """

    streams: int = 1
    batch: int = 1

    def describe(self) -> str:
        """Say it in words."""
        if self.batch > 1:
            return f"batch of {self.batch}"
        return "latency (1 stream)" if self.streams == 1 else f"{self.streams} streams"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRate:
    """One engine in one mode, with so many threads.

    Attributes:
        engine: The engine.
        threads: Threads it computed with, of all streams together.
        mode: How frames were judged.
        frames_per_s: Verdicts a second, by round.
        p50_ms: Median time from a decoded frame to its verdict, by round; in a batch that of the whole batch.
    """

    engine: str
    threads: int
    mode: Mode
    frames_per_s: tuple[float, ...]
    p50_ms: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The median of the rounds' rates."""
        return statistics.median(self.frames_per_s)

    @property
    def latency_ms(self) -> float:
        """The median of the rounds' times of a frame."""
        return statistics.median(self.p50_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What `run_throughput` found.

    Attributes:
        bundle_id: The model.
        frame_px: Height and width of the frame.
        frames: Timed frames a round, at least.
        rates: By engine, threads and mode.
    """

    bundle_id: str
    frame_px: tuple[int, int]
    frames: int
    rates: tuple[ModeRate, ...]

    def gain(self, rate: ModeRate) -> float:
        """Return how many times the frames of latency mode a mode judges, same engine and threads."""
        own = next(
            one
            for one in self.rates
            if (one.engine, one.threads, one.mode) == (rate.engine, rate.threads, Mode())  # always measured
        )
        return rate.rate / own.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    engine: str
    model: str
    threads: int
    streams: int
    batch: int
    warm_up: int
    frames: int


def run_throughput(
    bundle_folder: Path,
    *,
    threads: Sequence[int] = (1, 2),
    streams: Sequence[int] = STREAMS,
    engines: Sequence[str] | None = None,
    warm_up: int = 10,
    frames: int = 100,
    rounds: int = 3,
    progress: Progress = no_progress,
) -> Throughput:
    """Judge the bundle's first golden frame again and again, in every mode, each time in a process of its own.

    Modes take turns, forwards and backwards: what else the machine does meets them all.

    Args:
        bundle_folder: The bundle; one exported with `--batch` is measured in batches too.
        threads: Threads to compute with, one after the other.
        streams: Frames judged at the same time; one is always measured.
        engines: Names; None takes all that the bundle has a model for.
        warm_up: Frames before the clock starts.
        frames: Timed frames a round, at least: whole batches and as many for each stream are judged.
        rounds: How often each is measured.
        progress: Told of each measurement.

    Raises:
        InputError: If the bundle has no golden frame.
        BundleError: If the bundle is not usable.
    """
    bundle = open_bundle(bundle_folder)
    if not bundle.manifest.golden:
        raise InputError(f"{bundle_folder} has no golden frame to judge; export it again")
    modes = [Mode(streams=one) for one in sorted({1, *streams})]
    batch = bundle.manifest.batch
    ways = [
        (engine, count, mode)
        for engine in engines or list(bundle.manifest.models)
        for count in threads
        for mode in [*modes, *([Mode(batch=batch.size)] if batch is not None and engine in batch.models else [])]
    ]
    found: dict[tuple[str, int, Mode], list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for done, way in enumerate(ways if number % 2 == 0 else ways[::-1]):
            progress("timing modes", number * len(ways) + done, rounds * len(ways))
            engine, count, mode = way
            job = _Job(
                engine=engine,
                model=str(bundle_folder.resolve()),
                threads=count,
                streams=mode.streams,
                batch=mode.batch,
                warm_up=warm_up,
                frames=frames,
            )
            found[way].append(_in_process(job))
    progress("timing modes", rounds * len(ways), rounds * len(ways))
    height, width = bundle.golden_frame(bundle.manifest.golden[0]).shape[:2]
    return Throughput(
        bundle_id=bundle.manifest.bundle_id,
        frame_px=(height, width),
        frames=frames,
        rates=tuple(
            ModeRate(
                engine=engine,
                threads=count,
                mode=mode,
                frames_per_s=tuple(rate for rate, _ in pairs),
                p50_ms=tuple(latency for _, latency in pairs),
            )
            for (engine, count, mode), pairs in found.items()
        ),
    )


def _in_process(job: _Job) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="nut-throughput-") as name:
        folder = Path(name)
        run_in_process("nut_benchmarks.throughput", asdict(job), folder, engine=job.engine, threads=job.threads)
        rate, latency = json.loads((folder / _FOUND).read_text(encoding="utf-8"))
        return rate, latency


def _time_mode(job: _Job) -> tuple[float, float]:
    """Return the frames a second, and the median milliseconds of a frame."""
    bundle = open_bundle(job.model)
    inspector = Inspector(bundle, engine=job.engine, threads=job.threads, streams=job.streams)
    frame = bundle.golden_frame(bundle.manifest.golden[0])

    def judge(_number: int) -> float:
        started = time.perf_counter()
        if job.batch > 1:
            inspector.inspect_batch([frame] * job.batch)
        else:
            inspector.inspect(frame)
        return (time.perf_counter() - started) * 1e3

    calls = -(-job.frames // (job.batch * job.streams)) * job.streams
    with ThreadPoolExecutor(job.streams) as pool:
        list(pool.map(judge, range(max(-(-job.warm_up // job.batch), job.streams))))
        started = time.perf_counter()
        took = list(pool.map(judge, range(calls)))
        seconds = time.perf_counter() - started
    return calls * job.batch / seconds, float(np.median(took))


def _main() -> None:
    path = Path(sys.argv[1])
    found = _time_mode(_Job(**json.loads(path.read_text(encoding="utf-8"))))
    path.with_name(_FOUND).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    _main()
