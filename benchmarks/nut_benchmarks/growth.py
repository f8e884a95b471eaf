"""How latency and memory grow with the memory bank, in float32 and in int8.

One EfficientNet-Lite0 at 256x256, banks of many sizes from the patches of one data set, taken at random. The neighbour
table that weighs the score is filled with any numbers: making it takes hours for 200,000 rows, and reading it the same
time whatever is in it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from nut_benchmarks.bench import BenchConfig, measure_in_process
from nut_benchmarks.cases import CASES, INT8_PREFIX, square_frame, write_run
from nut_benchmarks.measure import Timing
from nut_dataset.layout import open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_export.fast import pixels_of, plan_fast
from nut_export.graph import Parts, assemble, prepare
from nut_export.plan import group_bank
from nut_export.quantise import QuantisedFeatures, has_depthwise, quantise_features
from nut_export.search import SearchBank
from nut_export.writers import model_info, write_model
from nut_runtime.atomic import write_json
from nut_runtime.bundle import file_entry
from nut_runtime.errors import InputError
from nut_runtime.machine import this_machine
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.pictures import encode_png, read_picture
from nut_train.run import open_run

__all__ = ["ROWS", "GrowthStep", "run_growth"]

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 200_000)
_CASE = "lite0"
_NEIGHBOURS = 9
_CALIBRATED, _PLANNED = 24, 8  # pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthStep:
    """One size of bank.

    Attributes:
        rows: Rows of the bank.
        timings: By engine in float32, and after `int8-` in int8.
        notes: What the int8 export chose, by engine.
    """

    rows: int
    timings: dict[str, Timing]
    notes: dict[str, str]


def run_growth(
    dataset: Path,
    engines: Sequence[str],
    *,
    rows: Sequence[int] = ROWS,
    config: BenchConfig | None = None,
    progress: Progress = no_progress,
) -> list[GrowthStep]:
    """Measure banks of several sizes.

    Args:
        dataset: Its training pictures fill the banks; a data set of 240 pictures gives 237,568 rows.
        engines: Engines to measure.
        rows: Sizes of the banks, rising.
        config: Threads, warm-up and repeats.
        progress: Told of each step.

    Raises:
        InputError: If the data set has too few pictures.
    """
    config = config or BenchConfig()
    threads = config.threads or this_machine().cores
    pictures = open_dataset(dataset).train_good
    if len(pictures) <= _PLANNED:
        raise InputError(f"{dataset} has {len(pictures)} good pictures, more than {_PLANNED} are needed")
    steps = []
    with tempfile.TemporaryDirectory(prefix="nut-growth-") as place:
        folder = Path(place)
        write_run(folder / "run", CASES[_CASE], max(rows), dataset, leave_out=_PLANNED)
        run = open_run(folder / "run")
        model = run.load()
        bank = np.asarray(model.model.memory_bank.numpy(), np.float32)
        model.model.memory_bank = model.model.memory_bank[:_NEIGHBOURS]
        parts = prepare(model, run.backbone, size=run.config.image_size, point=run.point)
        training = [pixels_of(model, read_picture(path)) for path in pictures[:_CALIBRATED]]
        others = [pixels_of(model, read_picture(path)) for path in pictures[-_PLANNED:]]
        quantised = quantise_features(parts.features, training, error=0.08, progress=progress)
        frame = folder / "frame.png"
        frame.write_bytes(encode_png(square_frame(read_picture(pictures[-1]))))
        for done, count in enumerate(rows):
            progress("growing the bank", done, len(rows))
            sized = replace(parts, bank=_bank(bank[:count]))
            bundles, notes = _write_bundles(folder / str(count), sized, quantised, others, engines)
            timings = {
                label: measure_in_process(label.removeprefix(INT8_PREFIX), bundle, [frame], frame, threads, config)[0]
                for label, bundle in bundles.items()
            }
            steps.append(GrowthStep(rows=count, timings=timings, notes=notes))
        progress("growing the bank", len(rows), len(rows))
    return steps


def _bank(rows: np.ndarray) -> SearchBank:
    """Return a bank with a neighbour table of any numbers."""
    mean = rows.astype(np.float64).mean(axis=0)
    numbers = (np.arange(len(rows))[:, None] + np.arange(_NEIGHBOURS)) % len(rows)
    return SearchBank(
        mean=mean.astype(np.float32), rows=(rows - mean).astype(np.float32), neighbours=numbers, is_weighed=True
    )


def _write_bundles(
    folder: Path,
    parts: Parts,
    quantised: QuantisedFeatures,
    others: Sequence[np.ndarray],
    engines: Sequence[str],
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write a float32 and an int8 bundle; return the bundle of each label and what int8 chose."""
    bundles, notes = {}, {}
    exact, grouped = assemble(parts), group_bank(parts.bank)
    for engine in engines:
        features = None if engine == "onnxruntime" and has_depthwise(parts.features) else quantised
        fast = plan_fast(parts, grouped, features, others, engine=engine)
        notes[f"{INT8_PREFIX}{engine}"] = fast.describe()
        for label, graph, precision in ((engine, exact, "fp32"), (f"{INT8_PREFIX}{engine}", fast.model, "int8")):
            bundles[label] = folder / label
            bundles[label].mkdir(parents=True)
            file = write_model(engine, graph, bundles[label], model_info(parts.point, {}))
            manifest = Manifest(
                bundle_id=f"growth-{len(parts.bank.rows)}",
                name="growth",
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                precision=precision,
                input_height_px=parts.size[0],
                input_width_px=parts.size[1],
                point=parts.point,
                model_point=parts.point,
                files={path.name: file_entry(path) for path in bundles[label].iterdir()},
                models={engine: file},
                golden=(),
                tolerances={},
                parity={},
            )
            write_json(bundles[label] / MANIFEST, manifest.to_json())
    return bundles, notes
