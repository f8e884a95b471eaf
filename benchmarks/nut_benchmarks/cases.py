"""Cases that the bench knows by name: our graph against the one anomalib exports, from the same checkpoint.

The memory bank of a case holds patch features of drawn nuts, or of a data set that is given, taken at random and not by
a coreset: the latency of an exact search does not depend on which rows there are, that of a fast one only by what its
plan has to do to hold the recall. Where a backbone's ImageNet weights cannot be had offline, random ones stand in.
Nothing of detection quality can be read off a case.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from nut_benchmarks.bench import BenchConfig, measure_in_process
from nut_benchmarks.measure import ANOMALIB_PREFIX, PYTORCH, Timing
from nut_dataset.layout import open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_dataset.synth import synthesise
from nut_export.export import ExportConfig, export_bundle
from nut_export.features import PatchEmbedding
from nut_runtime.bundle import Bundle
from nut_runtime.errors import InputError
from nut_runtime.machine import this_machine
from nut_runtime.pictures import encode_png, read_picture
from nut_train.backbone import describe_backbone
from nut_train.calibrate import calibrate
from nut_train.config import TrainConfig
from nut_train.patchcore import build_model
from nut_train.predict import picture_tensor
from nut_train.run import CHECKPOINT, RECORD, RUN_SCHEMA, open_run, package_versions
from nut_train.weights import find_weights

__all__ = ["CASES", "INT8_PREFIX", "Case", "CaseResult", "run_case", "square_frame", "write_run"]

_SIDE_PX = 256
_PICTURES = 24  # 24 x 1,024 patches are enough for the largest bank
_MOST_PICTURES = 240
INT8_PREFIX = "int8-"
"""Before an engine's name: our int8 profile in that engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model to measure.

    Attributes:
        backbone: Name of the timm model; its blocks of strides 8 and 16 are used, as PatchCore does.
        rows: Rows of a 10% bank of the data set the case stands for.
        has_weights: Whether real weights are used; random ones otherwise.
    """

    backbone: str
    rows: int
    has_weights: bool = False


CASES: Mapping[str, Case] = {
    # 220 pictures x 1,024 patches x 10%, the size of an MVTec AD category
    "wrn50": Case(backbone="wide_resnet50_2", rows=22_528),
    "resnet18": Case(backbone="resnet18", rows=22_528),
    # 192 magnetic-tile pictures (240 less the held-out) x 1,024 patches x 10%
    "lite0": Case(backbone="tf_efficientnet_lite0", rows=19_661, has_weights=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What one case came to.

    Attributes:
        name: Name of the case.
        rows: Rows of the bank.
        width: Length of a row.
        timings: By engine: `pytorch`, `anomalib-ENGINE`, `ENGINE` in float32 and `int8-ENGINE`.
        max_d_score: Largest |d pred_score| of our exports against anomalib's prediction, by engine.
        notes: What the int8 export chose, by engine.
        model_mb: Size of the model each of our engines loads, in MB of 10^6 bytes.
    """

    name: str
    rows: int
    width: int
    timings: Mapping[str, Timing]
    max_d_score: Mapping[str, float]
    notes: Mapping[str, str]
    model_mb: Mapping[str, float]

    def ratio(self, engine: str) -> float | None:
        """How many times faster our graph is than anomalib's own in the same engine, by median latency."""
        theirs = self.timings.get(f"{ANOMALIB_PREFIX}{engine.removeprefix(INT8_PREFIX)}")
        if theirs is None or engine.startswith(ANOMALIB_PREFIX):
            return None
        return theirs.p50_ms / self.timings[engine].p50_ms


def run_case(
    name: str,
    *,
    bank_percent: float = 10.0,
    dataset: Path | None = None,
    config: BenchConfig | None = None,
    progress: Progress = no_progress,
) -> CaseResult:
    """Build a case, export it in float32, in int8 and by anomalib, and time every engine in a process of its own.

    anomalib's export is called with its batch fixed to one, since left alone it gives a graph that takes only two;
    its input is a float picture, which is made from the frame within the timed call. All get a frame of the model's
    own size, so that no resize is measured.

    Args:
        name: One of `CASES`.
        bank_percent: Share of the training patches in the bank; 10 takes the case's rows, 1 a tenth of them.
        dataset: Data set whose pictures the bank is made from; None draws nuts.
        config: Threads, warm-up and repeats.
        progress: Told of each engine.

    Raises:
        InputError: If there is no such case.
    """
    if name not in CASES:
        raise InputError(f"unknown case {name!r}, expected one of {', '.join(CASES)}")
    config = config or BenchConfig()
    case = CASES[name]
    rows = max(10, round(case.rows * bank_percent / 10))
    with tempfile.TemporaryDirectory(prefix="nut-case-") as place:
        folder = Path(place)
        if dataset is None:
            dataset = folder / "nuts"
            synthesise(dataset, train=_PICTURES, good=8, defects=1, seed=0)
        progress(f"exporting {name}", 0, 3)
        write_run(folder / "run", case, rows, dataset)
        run = open_run(folder / "run")
        exported = export_bundle(run, folder / "bundle", ExportConfig(pictures=4))
        progress(f"exporting {name}", 1, 3)
        # By force: nothing of the verdicts of a model with random weights is worth refusing it for.
        quick = export_bundle(run, folder / "int8", ExportConfig(pictures=4, precision="int8", is_forced=True))
        progress(f"exporting {name}", 2, 3)
        (folder / "anomalib").mkdir()
        graph = run.load().to_onnx(
            folder / "anomalib", input_size=(_SIDE_PX, _SIDE_PX), dynamic_axes=None, dynamic_shapes=None, verbose=False
        )
        progress(f"exporting {name}", 3, 3)
        frame = folder / "frame.png"
        frame.write_bytes(encode_png(square_frame(read_picture(open_dataset(dataset).test_good[0]))))
        jobs = {PYTORCH: folder / "run"}
        for engine in exported.bundle.manifest.models:
            jobs[f"{ANOMALIB_PREFIX}{engine}"] = Path(graph)
            jobs[engine] = folder / "bundle"
            jobs[f"{INT8_PREFIX}{engine}"] = folder / "int8"
        timings = {}
        for done, (label, model) in enumerate(jobs.items()):
            progress(f"timing {name}", done, len(jobs))
            threads = config.threads or this_machine().cores
            engine = label.removeprefix(INT8_PREFIX)
            timings[label], _ = measure_in_process(engine, model, [frame], frame, threads, config)
        progress(f"timing {name}", len(jobs), len(jobs))
        sizes = {
            f"{prefix}{engine}": _model_mb(bundle, engine)
            for prefix, bundle in (("", exported.bundle), (INT8_PREFIX, quick.bundle))
            for engine in bundle.manifest.models
        }
    return CaseResult(
        name=name,
        rows=rows,
        width=run.record["bank"]["width"],
        timings=timings,
        max_d_score={
            **{engine: parity.max_d_score for engine, parity in exported.parity.items()},
            **{f"{INT8_PREFIX}{engine}": parity.max_d_score for engine, parity in quick.parity.items()},
        },
        notes={f"{INT8_PREFIX}{engine}": chosen.describe() for engine, chosen in quick.fast.items()},
        model_mb=sizes,
    )


def _model_mb(bundle: Bundle, engine: str) -> float:
    """Return the size of the model files of an engine."""
    path = bundle.model_path(engine)
    return (
        sum(one.stat().st_size for one in (path, path.with_suffix(".bin")) if one == path or path.suffix == ".xml")
        / 1e6
    )


def square_frame(picture: np.ndarray) -> np.ndarray:
    """Bring a picture to the model's input size, with an area average."""
    import cv2

    return cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)


def write_run(folder: Path, case: Case, rows: int, nuts: Path, *, leave_out: int = 0) -> None:
    """Write a run folder whose bank was filled at random, without a coreset.

    Args:
        folder: The folder to make.
        case: Its backbone.
        rows: Rows of the bank.
        nuts: A data set; patches of its training pictures fill the bank.
        leave_out: Pictures at the end that are not used.

    Raises:
        InputError: If the pictures have fewer patches than that.
    """
    torch.manual_seed(0)
    backbone = describe_backbone(case.backbone)
    weights = find_weights(case.backbone) if case.has_weights else None
    size = (_SIDE_PX, _SIDE_PX)
    model = build_model(backbone, image_size=size, weights=weights).eval()
    with torch.inference_mode():
        embed = PatchEmbedding(model.model)
        good = open_dataset(nuts).train_good
        pictures = good[: len(good) - leave_out][:_MOST_PICTURES]
        features = torch.cat(
            [embed(model.pre_processor.transform(picture_tensor(read_picture(path))[None])) for path in pictures]
        )
    if rows > len(features):
        raise InputError(
            f"{nuts} gives {len(features)} patches, the bank is to have {rows} rows; give a larger data set"
        )
    places = torch.randperm(len(features))[:rows]
    model.model.memory_bank = features[places].clone()
    # The raw scale matters to nobody here; it only has to be of the scores' order.
    peak = float(features.norm(dim=1).median())
    calibration = calibrate(np.array([peak]), np.array([peak]), false_reject_rate=0.5)
    folder.mkdir()
    torch.save({"state_dict": model.state_dict()}, folder / CHECKPOINT)
    record = {
        "schema": RUN_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "arguments": TrainConfig(backbone=case.backbone).to_json(),
        "dataset": {"path": str(nuts), "fingerprint": "drawn"},
        "backbone": {
            "name": backbone.name,
            "layers": list(backbone.layers),
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "weights": weights.source if weights else "random",
            "weights_sha256": weights.sha256 if weights else "",
        },
        "split": {"bank": [], "held_out": [], "repeated": []},
        "calibration": calibration.to_json(),
        "bank": {"rows": rows, "width": int(features.shape[1])},
    }
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
