"""What a larger frame costs: a bundle's engines on frames of given sizes, each engine in a process of its own.

Run as `python -m nut_benchmarks.frames JOB.json`, as `nut_benchmarks.measure` is.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nut_benchmarks.measure import load_judge, peak_bytes, timed_ms
from nut_benchmarks.own_process import run_in_process
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError

__all__ = ["FrameSizes", "FrameTiming", "run_frames"]

# Each size's frames are timed in so many goes, one size after the other, so that a busy while meets them all.
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTiming:
    """One engine on frames of one size.

    Attributes:
        height_px: Height of the frame.
        width_px: Its width.
        first_ms: The first frame of that size, for which the engine may prepare.
        min_ms: The fastest of the timed ones.
        p50_ms: Their median.
        p95_ms: Their 95th percentile.
        cpu_ms: The least processor time of one of them, of all threads together: where other programs run too, it says
            more than the clock.
        peak_mb: The most resident memory of the process up to then, in MB of 10^6 bytes; sizes come in order.
    """

    height_px: int
    width_px: int
    first_ms: float
    min_ms: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSizes:
    """What `run_frames` found.

    Attributes:
        bundle_id: The model.
        own_px: Height and width that the model brings frames to.
        threads: Threads every engine computed with.
        timings: By engine, in the order of the sizes.
    """

    bundle_id: str
    own_px: tuple[int, int]
    threads: int
    timings: Mapping[str, Sequence[FrameTiming]]

    def own(self, engine: str) -> FrameTiming | None:
        """Return an engine's timing of frames of the model's own size, against which the others are held."""
        return next((one for one in self.timings[engine] if (one.height_px, one.width_px) == self.own_px), None)


def run_frames(
    bundle_folder: Path, sizes: Sequence[tuple[int, int]], *, threads: int, warm_up: int, repeats: int
) -> FrameSizes:
    """Time every engine of a bundle on frames of random pixels.

    Args:
        bundle_folder: The bundle.
        sizes: Heights and widths in pixels; the model's own is put before them where it can be measured.
        threads: Threads to compute with.
        warm_up: Frames before the clock starts, anew whenever the size changes.
        repeats: Timed frames of each size.

    Raises:
        InputError: If the bundle takes frames of one size only and another is asked for.
        BundleError: If the bundle is not usable.
    """
    manifest = open_bundle(bundle_folder).manifest
    own = (manifest.input_height_px, manifest.input_width_px)
    fixed = manifest.frame_px
    for height, width in sizes:
        if fixed is not None and (height, width) != fixed:
            raise InputError(
                f"{bundle_folder} takes only frames of {fixed[1]}x{fixed[0]}, {width}x{height} was asked for; "
                "export it without --frame-size, or ask for that size"
            )
    wanted = list(dict.fromkeys([*([own] if fixed is None else []), *sizes]))
    timings = {}
    for engine in manifest.models:
        with tempfile.TemporaryDirectory(prefix="nut-frames-") as place:
            job = {
                "engine": engine,
                "model": str(bundle_folder.resolve()),
                "sizes": wanted,
                "threads": threads,
                "warm_up": warm_up,
                "repeats": repeats,
            }
            run_in_process("nut_benchmarks.frames", job, Path(place), engine=engine, threads=threads)
            found = json.loads((Path(place) / "timings.json").read_text(encoding="utf-8"))
        timings[engine] = [FrameTiming(**one) for one in found]
    return FrameSizes(bundle_id=manifest.bundle_id, own_px=own, threads=threads, timings=timings)


def _time_sizes(
    engine: str, model: Path, sizes: Sequence[tuple[int, int]], *, threads: int, warm_up: int, repeats: int
) -> list[FrameTiming]:
    """Time one engine in this process."""
    judge, _, _ = load_judge(engine, model, threads)
    pixels = np.random.default_rng(0)
    first, peak = [], []
    times: list[list[float]] = [[] for _ in sizes]
    processor = [float("inf")] * len(sizes)
    for round_number in range(min(_ROUNDS, repeats)):
        for place, (height, width) in enumerate(sizes):
            frame = pixels.integers(0, 256, (height, width, 3), np.uint8)
            opening = timed_ms(judge, frame)
            for _ in range(warm_up):
                judge(frame)
            share = repeats // _ROUNDS + (round_number < repeats % _ROUNDS)
            for _ in range(share):
                started = time.process_time()
                times[place].append(timed_ms(judge, frame))
                processor[place] = min(processor[place], (time.process_time() - started) * 1e3)
            if round_number == 0:
                first.append(opening)
                peak.append(peak_bytes() / 1e6)
    return [
        FrameTiming(
            height_px=height,
            width_px=width,
            first_ms=first[place],
            min_ms=min(times[place]),
            p50_ms=float(np.median(times[place])),
            p95_ms=float(np.percentile(times[place], 95)),
            cpu_ms=processor[place],
            peak_mb=peak[place],
        )
        for place, (height, width) in enumerate(sizes)
    ]


def _main() -> None:
    path = Path(sys.argv[1])
    job = json.loads(path.read_text(encoding="utf-8"))
    found = _time_sizes(
        job["engine"],
        Path(job["model"]),
        [(height, width) for height, width in job["sizes"]],
        threads=job["threads"],
        warm_up=job["warm_up"],
        repeats=job["repeats"],
    )
    text = json.dumps([asdict(one) for one in found])
    path.with_name("timings.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _main()
