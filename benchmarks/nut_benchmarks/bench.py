"""One run, side by side, on the same files: anomalib in PyTorch, the bundle in ONNX Runtime and in OpenVINO."""

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nut_benchmarks.measure import PYTORCH, Job, Timing
from nut_benchmarks.own_process import run_in_process
from nut_dataset.evenly import evenly
from nut_dataset.layout import Dataset, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_export.frame_size import at_frame_size
from nut_export.parity import Parity, compare
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines.base import EngineResult
from nut_runtime.errors import InputError
from nut_runtime.machine import Machine, this_machine
from nut_runtime.pictures import read_picture
from nut_train.predict import Prediction, predict
from nut_train.run import Run, open_run, package_versions

RESULTS = "results.json"

__all__ = ["RESULTS", "Bench", "BenchConfig", "commit", "measure_in_process", "run_bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """The arguments of `nut bench`.

    Attributes:
        threads: Threads every engine computes with; 0 takes the cores of this process.
        warm_up: Frames before the clock starts.
        repeats: Timed frames of one size.
        pictures: Pictures compared and timed at mixed sizes, at most, evenly over the test set.
        cache: Folder for what OpenVINO compiled; None keeps nothing. The first run fills it, the second shows the gain.
    """

    threads: int = 0
    warm_up: int = 10
    repeats: int = 100
    pictures: int = 200
    cache: str | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range.
        """
        for name, value, least in (
            ("threads", self.threads, 0),
            ("warm-up", self.warm_up, 0),
            ("repeats", self.repeats, 1),
            ("pictures", self.pictures, 1),
        ):
            if value < least:
                raise InputError(f"{name} {value}, expected at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a bench found.

    Attributes:
        created: When, ISO 8601, UTC.
        machine: Where.
        threads: Threads every engine computed with.
        config: What was asked for.
        bundle_id: The model.
        model: Backbone, bank and input size, in words.
        dataset: Name of the data set and number of pictures.
        frame_size: Height and width of the frame of the steady timing.
        timings: By engine, PyTorch first.
        parity: By engine, against anomalib's prediction.
        versions: Of packages.
        commit: Of the working tree, or None.
        command: What repeats it.
    """

    created: str
    machine: Machine
    threads: int
    config: BenchConfig
    bundle_id: str
    model: str
    dataset: str
    frame_size: tuple[int, int]
    timings: Mapping[str, Timing]
    parity: Mapping[str, Parity]
    versions: Mapping[str, str]
    commit: str | None
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "created": self.created,
            "machine": self.machine.to_json(),
            "threads": self.threads,
            "config": asdict(self.config),
            "bundle_id": self.bundle_id,
            "model": self.model,
            "dataset": self.dataset,
            "frame_size": list(self.frame_size),
            "timings": {name: timing.to_json() for name, timing in self.timings.items()},
            "parity": {name: parity.to_json() for name, parity in self.parity.items()},
            "versions": dict(self.versions),
            "commit": self.commit,
            "command": self.command,
        }


def run_bench(
    bundle_folder: Path,
    dataset_root: Path,
    out: Path,
    *,
    run_folder: Path | None = None,
    config: BenchConfig | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Bench:
    """Measure all engines on a data set's test pictures and write `results.json`, `bench.md` and `bench.png`.

    Args:
        bundle_folder: The bundle.
        dataset_root: Its `test` pictures are judged; where there are none, `train/good`.
        out: The folder to write.
        run_folder: The run the bundle was exported from, for anomalib in PyTorch and the parity figures; None
            leaves both out.
        config: What is asked for; None takes the defaults.
        overwrite: Replace an older folder.
        progress: Told of each step.

    Raises:
        InputError: If the bundle is not the run's, or the data set is not usable.
        BundleError: If the bundle is not usable.
        OutputError: If `out` exists or cannot be written.
    """
    from nut_benchmarks.report import write_bench_report

    config = config or BenchConfig()
    machine = this_machine()
    threads = config.threads or machine.cores
    with (
        new_folder(out, marker=RESULTS, overwrite=overwrite, inputs=[bundle_folder, dataset_root]) as folder,
        ExitStack() as stack,
    ):
        bundle = open_bundle(bundle_folder)
        dataset = open_dataset(dataset_root)
        run = None if run_folder is None else _own_run(run_folder, bundle)
        chosen = _test_pictures(dataset, config.pictures)
        sources = stack.enter_context(at_frame_size(chosen, bundle.manifest.frame_px))
        paths = list(sources)
        frame = _middle_sized(paths)
        engines = ([PYTORCH] if run is not None else []) + list(bundle.manifest.models)
        timings: dict[str, Timing] = {}
        results: dict[str, list[EngineResult]] = {}
        for done, engine in enumerate(engines):
            progress("timing engines", done, len(engines))
            source = run_folder if engine == PYTORCH and run_folder is not None else bundle_folder
            timings[engine], results[engine] = measure_in_process(engine, source, paths, frame, threads, config)
        progress("timing engines", len(engines), len(engines))
        parity = {} if run is None else _parity(run, bundle, dataset, sources, timings, results, progress)
        height, width = read_picture(frame).shape[:2]
        bench = Bench(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine,
            threads=threads,
            config=config,
            bundle_id=bundle.manifest.bundle_id,
            model=_describe(bundle),
            dataset=f"{dataset.root.resolve().name}, {len(paths)} pictures",
            frame_size=(height, width),
            timings=timings,
            parity=parity,
            versions=package_versions("onnxruntime", "openvino"),
            commit=commit(),
            command=_command(bundle_folder, dataset_root, run_folder, out, config),
        )
        write_json(folder / RESULTS, bench.to_json())
        write_bench_report(folder, bench)
    return bench


def _own_run(folder: Path, bundle: Bundle) -> Run:
    """Open the run and make sure that the bundle came from it."""
    if checkpoint := bundle.manifest.provenance.get("checkpoint"):
        raise InputError(
            f"bundle {bundle.manifest.bundle_id} came from a checkpoint of anomalib's, "
            f"{checkpoint['file']}, not from a run; leave --run out"
        )
    run = open_run(folder)
    if run.record.get("created") != bundle.manifest.provenance.get("trained"):
        raise InputError(
            f"bundle {bundle.manifest.bundle_id} was not exported from {folder}; give the run it came from with --run"
        )
    return run


def _test_pictures(dataset: Dataset, limit: int) -> list[Path]:
    """Return the test pictures, thinned evenly to `limit`."""
    paths = [*dataset.test_good, *dataset.defective] or list(dataset.train_good)
    return evenly(paths, limit)


def _middle_sized(paths: Sequence[Path]) -> Path:
    """Return the picture with the median number of pixels."""
    sizes = sorted((read_picture(path).size, path) for path in paths)
    return sizes[len(sizes) // 2][1]


def measure_in_process(
    engine: str, model: Path, paths: Sequence[Path], frame: Path, threads: int, config: BenchConfig
) -> tuple[Timing, list[EngineResult]]:
    """Time one engine in a process of its own, and return its results.

    Args:
        engine: What to measure, as `Job.engine`.
        model: The run folder, bundle folder or ONNX file it loads.
        paths: Pictures that are judged once each.
        frame: The one that is judged again and again.
        threads: Threads to compute with.
        config: Warm-up and repeats.

    Raises:
        NutError: If that process ends with one.
        RuntimeError: If it fails in any other way; its last words are told.
    """
    with tempfile.TemporaryDirectory(prefix="nut-bench-") as name:
        folder = Path(name)
        job = Job(
            engine=engine,
            model=str(model.resolve()),
            pictures=tuple(str(path.resolve()) for path in paths),
            frame=str(frame.resolve()),
            threads=threads,
            warm_up=config.warm_up,
            repeats=config.repeats,
            out=name,
            started=time.time(),
            cache=config.cache,
        )
        run_in_process("nut_benchmarks.measure", asdict(job), folder, engine=engine, threads=threads)
        timing = Timing(**json.loads((folder / "timing.json").read_text(encoding="utf-8")))
        with np.load(folder / "results.npz", allow_pickle=False) as arrays:
            columns = {key: arrays[key] for key in arrays.files}
    results = [
        EngineResult(
            raw_score=float(columns["raw_score"][place]),
            pred_score=float(columns["pred_score"][place]),
            pred_label=bool(columns["pred_label"][place]),
            anomaly_map=columns["anomaly_map"][place],
            pred_mask=columns["pred_mask"][place],
            is_rejudged=bool(columns["is_rejudged"][place]),
        )
        for place in range(len(paths))
    ]
    return timing, results


def _parity(
    run: Run,
    bundle: Bundle,
    dataset: Dataset,
    sources: Mapping[Path, Path],
    timings: Mapping[str, Timing],
    results: Mapping[str, list[EngineResult]],
    progress: Progress,
) -> dict[str, Parity]:
    """Hold every engine's results against anomalib's `Engine.predict`."""
    predictions: list[Prediction] = []

    def keep(prediction: Prediction) -> None:
        predictions.append(replace(prediction, path=sources[prediction.path]))
        progress("judging with anomalib", len(predictions), len(sources))

    predict(run.load(), list(sources), keep, device="cpu")
    return {
        engine: compare(
            predictions,
            found,
            engine=engine,
            engine_version=timings[engine].version,
            precision="fp32" if engine == PYTORCH else bundle.manifest.precision,
            dataset=dataset,
            threshold=run.point.image.threshold,
            frame_px=bundle.manifest.frame_px,
        )
        for engine, found in results.items()
    }


def _describe(bundle: Bundle) -> str:
    facts, manifest = bundle.manifest.provenance, bundle.manifest
    bank = facts["bank"]
    return (
        f"{facts['backbone']['name']} at {manifest.input_width_px}x{manifest.input_height_px}, "
        f"bank {bank['rows']} x {bank['width']}, {manifest.precision}"
    )


def commit() -> str | None:
    """Return the commit of the checkout this file lies in, with `+` where it has changes."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _command(bundle: Path, dataset: Path, run: Path | None, out: Path, config: BenchConfig) -> str:
    """Return the shell command that repeats the bench."""
    parts: list[object] = ["nut", "bench", "--bundle", bundle, "--dataset", dataset, "-o", out]
    if run is not None:
        parts += ["--run", run]
    parts += ["--threads", config.threads, "--warm-up", config.warm_up]
    if config.cache is not None:
        parts += ["--cache", config.cache]
    parts += ["--repeats", config.repeats, "--pictures", config.pictures]
    return shlex.join(str(part) for part in parts)
