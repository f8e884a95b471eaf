"""Several parts at once: as many processes as streams, each with its own engine, all judging during the same seconds.

Run as `python -m nut_benchmarks.planner.streams JOB.json`, the module is one stream: it loads, warms up, says `ready`,
waits for the seconds in which to judge, and tells how long each frame took.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from nut_benchmarks.measure import load_judge
from nut_runtime.errors import NutError
from nut_runtime.pictures import read_picture

__all__ = ["StreamJob", "StreamTimes", "measure_streams", "run_stream"]

_HEAD_START_S = 0.2  # from the word to go to the first frame, so that every stream has read it


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamJob:
    """What one stream judges.

    Attributes:
        engine: Name of the engine.
        model: The bundle folder.
        frame: The picture that is judged again and again.
        threads: Threads to compute with.
        warm_up: Frames judged before it is ready.
    """

    engine: str
    model: str
    frame: str
    threads: int
    warm_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """What all streams took, together.

    Attributes:
        p50_ms: Median time of a part in its stream, while the others judge too.
        p95_ms: 95th percentile of it.
        frames: Parts judged.
        frames_per_s: Parts a second, all streams together.
    """

    p50_ms: float
    p95_ms: float
    frames: int
    frames_per_s: float


def measure_streams(
    engine: str, model: Path, frame: Path, *, streams: int, threads: int, warm_up: int, seconds: float
) -> StreamTimes:
    """Time several streams that judge at once.

    Args:
        engine: Name of the engine.
        model: The bundle folder.
        frame: The picture that every stream judges again and again.
        streams: How many, at least 1.
        threads: Threads of each.
        warm_up: Frames before the clock starts.
        seconds: How long all judge; each judges one frame at least.

    Raises:
        NutError: If a stream ends with one.
        RuntimeError: If one fails in any other way; its last words are told.
    """
    job = StreamJob(
        engine=engine, model=str(model.resolve()), frame=str(frame.resolve()), threads=threads, warm_up=warm_up
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    processes: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="nut-streams-") as name, (Path(name) / "errors").open("w+") as errors:
        path = Path(name) / "job.json"
        path.write_text(json.dumps(asdict(job)), encoding="utf-8")
        try:
            processes += [
                subprocess.Popen(
                    [sys.executable, "-m", "nut_benchmarks.planner.streams", str(path)],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
                for _ in range(streams)
            ]
            for process in processes:
                if _line(process) != "ready":
                    raise _failure(engine, process, errors)
            start = time.time() + _HEAD_START_S
            for process in processes:
                _tell(process, f"{start} {start + seconds}\n")
            told = []
            for process in processes:
                line = _line(process)
                if not line:
                    raise _failure(engine, process, errors)
                told.append(json.loads(line))
        finally:
            for process in processes:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        pipe.close()
    times = np.array([took for stream in told for took in stream["ms"]])
    p50, p95 = (float(value) for value in np.percentile(times, (50, 95)))
    last = max(stream["end"] for stream in told)
    return StreamTimes(p50_ms=p50, p95_ms=p95, frames=len(times), frames_per_s=len(times) / (last - start))


def run_stream(job: StreamJob, words: IO[str], answers: IO[str]) -> None:
    """Be one stream.

    Args:
        job: What to judge.
        words: A line with the start and end of the clock, in seconds since 1970.
        answers: Gets the line `ready`, and one with what every frame took.
    """
    judge, _, _ = load_judge(job.engine, Path(job.model), job.threads)
    frame = read_picture(job.frame)
    for _ in range(max(job.warm_up, 1)):
        judge(frame)
    print("ready", file=answers, flush=True)
    told = words.readline().split()
    if not told:
        return
    start, end = map(float, told)
    time.sleep(max(start - time.time(), 0))
    took: list[float] = []
    while not took or time.time() < end:
        began = time.perf_counter()
        judge(frame)
        took.append((time.perf_counter() - began) * 1e3)
    print(json.dumps({"ms": took, "end": time.time()}), file=answers, flush=True)


def _line(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a stream says, empty where it has ended."""
    return "" if process.stdout is None else process.stdout.readline().strip()


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line)
        process.stdin.flush()


def _failure(engine: str, process: "subprocess.Popen[str]", errors: IO[str]) -> Exception:
    """Return the error that ended a stream."""
    process.kill()
    code = process.wait()
    errors.seek(0)
    said = errors.read().strip()
    last = (said.splitlines() or ["no message"])[-1]
    if last.startswith("nut_runtime.errors."):
        return NutError(f"a stream of {engine} failed: {last.partition(': ')[2]}")
    return RuntimeError(f"a stream of {engine} failed with code {code}:\n{said}")


def _main() -> None:
    run_stream(StreamJob(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), sys.stdin, sys.stdout)


if __name__ == "__main__":
    _main()
