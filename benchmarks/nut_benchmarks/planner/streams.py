"""The parts of all cameras together: they come at the same time, and the last one judged counts.

Run as `python -m nut_benchmarks.planner.streams JOB.json`, in a process of its own like every timing of the bench.
"""

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nut_benchmarks.own_process import run_in_process
from nut_runtime.bundle import open_bundle
from nut_runtime.engines import load_engine
from nut_runtime.pictures import read_picture

__all__ = ["RoundsJob", "measure_rounds", "run_rounds"]

_ROUNDS = "rounds.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsJob:
    """What one process measures.

    Attributes:
        engine: Name of the engine.
        model: The bundle folder.
        frame: The picture that stands for every camera's.
        cameras: Parts of a round.
        streams: Parts judged at the same time, as by `nut-runtime --streams`; they share the threads.
        threads: Threads to compute with.
        warm_up: Rounds before the clock starts.
        rounds: Timed rounds.
    """

    engine: str
    model: str
    frame: str
    cameras: int
    streams: int
    threads: int
    warm_up: int
    rounds: int


def measure_rounds(job: RoundsJob) -> float:
    """Time rounds in a process of its own.

    Args:
        job: What to measure.

    Returns:
        The 95th percentile of the milliseconds from the parts' coming to the last verdict.

    Raises:
        NutError: If that process ends with one.
        RuntimeError: If it fails in any other way; its last words are told.
    """
    with tempfile.TemporaryDirectory(prefix="nut-rounds-") as name:
        folder = Path(name)
        run_in_process(__name__, asdict(job), folder, engine=job.engine, threads=job.threads)
        return float(np.percentile(json.loads((folder / _ROUNDS).read_text(encoding="utf-8")), 95))


def run_rounds(job: RoundsJob) -> list[float]:
    """Return the milliseconds of each round.

    Args:
        job: What to measure.
    """
    engine = load_engine(open_bundle(job.model), job.engine, threads=job.threads, streams=job.streams)
    parts = [read_picture(job.frame)] * job.cameras
    took = []
    with ThreadPoolExecutor(job.streams) as pool:
        for _ in range(job.warm_up + job.rounds):
            started = time.perf_counter()
            list(pool.map(engine.infer, parts))
            took.append((time.perf_counter() - started) * 1e3)
    return took[job.warm_up :]


def _main() -> None:
    path = Path(sys.argv[1])
    took = run_rounds(RoundsJob(**json.loads(path.read_text(encoding="utf-8"))))
    (path.parent / _ROUNDS).write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    _main()
