"""Timing one engine in a process of its own: cold start, steady latency, peak memory, and its results.

Run as `python -m nut_benchmarks.measure JOB.json`: libraries that share a process share thread pools and memory,
so each engine gets its own, and tells what it found in files that the job names.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.engines.base import EngineResult
from nut_runtime.engines.import_onnxruntime import import_onnxruntime
from nut_runtime.engines.import_openvino import import_openvino, new_core
from nut_runtime.pictures import read_picture

__all__ = ["PYTORCH", "Job", "Timing", "load_judge", "peak_bytes", "run_job", "timed_ms"]

PYTORCH = "pytorch"
"""anomalib itself, in PyTorch eager mode."""

ANOMALIB_PREFIX = "anomalib-"
"""Before an engine's name: the graph that anomalib itself exported, in that engine."""

Judge = Callable[[NDArray[np.uint8]], EngineResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process measures.

    Attributes:
        engine: `pytorch`, `onnxruntime` or `openvino`, or one of the latter two after `anomalib-`.
        model: The run folder for PyTorch, the bundle folder for the engines, anomalib's ONNX file for its own graph.
        pictures: Files that are judged once each for the comparison, and timed at their own sizes.
        frame: The one of them that is judged again and again, as a camera's frames would be.
        threads: Threads to compute with.
        warm_up: Frames judged before the clock starts.
        repeats: Timed frames of the one size.
        out: Folder for `timing.json` and `results.npz`.
        started: `time.time()` when the process was asked for.
        cache: Folder for what OpenVINO compiled, or None.
    """

    engine: str
    model: str
    pictures: tuple[str, ...]
    frame: str
    threads: int
    warm_up: int
    repeats: int
    out: str
    started: float
    cache: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What one process found.

    Attributes:
        engine: As in the job.
        version: Version of the engine's package.
        precision: What it computes in.
        load_s: From the start of the process to a loaded model: interpreter, imports and model.
        first_ms: The first frame.
        p50_ms: Median latency of one frame of one size, after warm-up.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        frames_per_s: Frames a second over the timed ones, one after the other.
        mixed_p50_ms: Median over pictures that all have other sizes, each judged once.
        peak_mb: Peak resident memory of the process, in MB of 10^6 bytes; 0 where the system does not tell.
        streams_per_s: Frames a second with as many streams as threads, one thread each; None where that is not
            measured: for one thread, PyTorch and anomalib's graphs.
    """

    engine: str
    version: str
    precision: str
    load_s: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    frames_per_s: float
    mixed_p50_ms: float
    peak_mb: float
    streams_per_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def load_judge(engine: str, model: Path, threads: int, cache: Path | None = None) -> tuple[Judge, str, str]:
    """Load a model; return what judges a frame, the engine's version and its precision.

    For PyTorch that is anomalib's prediction path without its Engine around it: the pre-processor's antialiased
    transform, the model, the post-processor.
    """
    if engine.startswith(ANOMALIB_PREFIX):
        return _load_anomalib_graph(engine.removeprefix(ANOMALIB_PREFIX), model, threads)
    if engine != PYTORCH:
        from nut_runtime.bundle import open_bundle
        from nut_runtime.engines import load_engine

        loaded = load_engine(open_bundle(model), engine, threads=threads, cache=cache)
        return loaded.infer, loaded.version, loaded.precision
    import torch

    from nut_train.predict import picture_tensor
    from nut_train.run import open_run

    torch.set_num_threads(threads)
    patchcore = open_run(model).load()

    def judge(frame: NDArray[np.uint8]) -> EngineResult:
        with torch.inference_mode():
            raw = patchcore.model(patchcore.pre_processor.transform(picture_tensor(frame)[None]))
            done = patchcore.post_processor(raw)
        return EngineResult(
            raw_score=float(raw.pred_score[0]),
            pred_score=float(done.pred_score[0]),
            pred_label=bool(done.pred_label[0]),
            anomaly_map=done.anomaly_map.numpy().squeeze(),
            pred_mask=done.pred_mask.numpy().squeeze(),
        )

    return judge, str(torch.__version__), "float32"


def _load_anomalib_graph(engine: str, model: Path, threads: int) -> tuple[Judge, str, str]:
    """Load the ONNX file that anomalib exported, in float32, with the float picture it takes made from the frame."""
    if engine == "onnxruntime":
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        version, precision = str(onnxruntime.__version__), "float32"

        def run(picture: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
            return dict(zip(names, session.run(names, {"input": picture}), strict=True))

    else:
        openvino = import_openvino()
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        request = new_core().compile_model(str(model), "CPU", config).create_infer_request()
        version, precision = str(openvino.__version__), "f32"

        def run(picture: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
            found = request.infer({"input": picture}, share_inputs=True, share_outputs=True)
            return {name: found[name] for name in ("pred_score", "pred_label", "anomaly_map", "pred_mask")}

    def judge(frame: NDArray[np.uint8]) -> EngineResult:
        picture = np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        found = run(picture)
        return EngineResult(
            raw_score=float("nan"),  # anomalib's graph does not give it
            pred_score=float(found["pred_score"].ravel()[0]),
            pred_label=bool(found["pred_label"].ravel()[0]),
            anomaly_map=np.array(found["anomaly_map"].squeeze(), np.float32),
            pred_mask=np.array(found["pred_mask"].squeeze(), bool),
        )

    return judge, version, precision


def run_job(job: Job) -> Timing:
    """Measure, and write the results of every picture to `job.out`/results.npz.

    Args:
        job: What to measure.
    """
    judge, version, precision = load_judge(
        job.engine, Path(job.model), job.threads, None if job.cache is None else Path(job.cache)
    )
    load_s = time.time() - job.started
    frame = read_picture(job.frame)
    first_ms = timed_ms(judge, frame)
    for _ in range(job.warm_up):
        judge(frame)
    steady = [timed_ms(judge, frame) for _ in range(job.repeats)]
    # one picture in memory at a time, or the peak would be that of the data set
    mixed = [timed_ms(judge, read_picture(path)) for path in job.pictures]
    peak = peak_bytes()
    results = [judge(read_picture(path)) for path in job.pictures]
    np.savez(
        Path(job.out) / "results.npz",
        allow_pickle=False,
        raw_score=np.array([result.raw_score for result in results]),
        pred_score=np.array([result.pred_score for result in results]),
        pred_label=np.array([result.pred_label for result in results]),
        anomaly_map=np.stack([result.anomaly_map for result in results]),
        pred_mask=np.stack([result.pred_mask for result in results]),
        is_rejudged=np.array([result.is_rejudged for result in results]),
    )
    p50, p95, p99 = (float(value) for value in np.percentile(steady, (50, 95, 99)))
    return Timing(
        engine=job.engine,
        version=version,
        precision=precision,
        load_s=load_s,
        first_ms=first_ms,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        frames_per_s=1e3 * len(steady) / sum(steady),
        mixed_p50_ms=float(np.median(mixed)),
        peak_mb=peak / 1e6,
        streams_per_s=_streams_per_s(job, frame),
    )


def _streams_per_s(job: Job, frame: NDArray[np.uint8]) -> float | None:
    """Return the frames a second of an engine of ours with as many streams as threads."""
    from nut_runtime.engines import ENGINES, load_engine

    if job.engine not in ENGINES or job.threads == 1:
        return None
    from nut_runtime.bundle import open_bundle

    streams = job.threads
    engine = load_engine(open_bundle(job.model), job.engine, threads=job.threads, streams=streams)
    frames = [frame] * max(job.repeats, streams)
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(engine.infer, frames[: max(job.warm_up, streams)]))
        started = time.perf_counter()
        list(pool.map(engine.infer, frames))
        return len(frames) / (time.perf_counter() - started)


def timed_ms(judge: Judge, frame: NDArray[np.uint8]) -> float:
    """Return the milliseconds one frame takes."""
    started = time.perf_counter()
    judge(frame)
    return (time.perf_counter() - started) * 1e3


def peak_bytes() -> float:
    """Return the most resident memory this process has had.

    Linux's `ru_maxrss` starts from what the parent process had, so the process's own high-water mark is read.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1]) * 1024  # "VmHWM:  123456 kB"
    if sys.platform == "win32":
        return 0.0
    import resource

    # in bytes on macOS, in kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _main() -> None:
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job(**{**data, "pictures": tuple(data["pictures"])})
    if job.engine == PYTORCH:
        from nut_train.quiet import hush_libraries

        hush_libraries()
    timing = run_job(job)
    (Path(job.out) / "timing.json").write_text(json.dumps(timing.to_json()), encoding="utf-8")


if __name__ == "__main__":
    _main()
