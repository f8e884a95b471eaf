"""A whole training run: check, split, fit, calibrate, evaluate, and the run folder at the end."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nut_dataset.layout import Dataset, fingerprint, list_dataset, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.backbone import Backbone, describe_backbone
from nut_train.calibrate import Calibration, Split, calibrate, split_good
from nut_train.config import TrainConfig
from nut_train.digests import digest
from nut_train.evaluate import evaluate
from nut_train.fit import fit, save_checkpoint
from nut_train.patchcore import build_model, set_operating_point
from nut_train.predict import Prediction, predict
from nut_train.report import write_report
from nut_train.run import CHECKPOINT, RECORD, RUN_SCHEMA, Run, open_run, package_versions
from nut_train.weights import Weights, find_weights

__all__ = ["EVALUATION", "evaluate_run", "train"]

EVALUATION = "evaluation.json"


def train(
    root: Path,
    out: Path,
    config: TrainConfig,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Train PatchCore on a data set and write the run folder.

    The folder appears only when everything is done; until then nothing of it is seen.

    Args:
        root: The data set.
        out: The run folder to write.
        config: What is asked for.
        overwrite: Replace an older run folder.
        progress: Told of each step.

    Returns:
        The run as `open_run` reads it.

    Raises:
        InputError: If the data set, a picture, the backbone or its weights do not meet their contract.
        OutputError: If `out` exists or cannot be written.
    """
    started = time.monotonic()
    with new_folder(out, marker=RECORD, overwrite=overwrite, inputs=[root]) as folder:
        dataset = open_dataset(root)
        split = split_good(dataset.train_good, holdout=config.holdout, seed=config.seed)
        backbone = describe_backbone(config.backbone, config.layers, image_size=config.image_size)
        weights = find_weights(config.backbone, config.backbone_weights)
        _check_pictures(dataset, progress)
        model = build_model(
            backbone,
            image_size=config.image_size,
            coreset_ratio=config.coreset_ratio,
            neighbours=config.neighbours,
            weights=weights,
        )
        engine = fit(model, dataset, split.bank, config, progress=progress)
        fitted = time.monotonic()
        calibration, held_out = _calibrate(model, split, config, progress)
        set_operating_point(model, calibration.point)
        save_checkpoint(engine, folder / CHECKPOINT)
        seen = sorted({digest(path) for path in dataset.train_good})
        evaluation = evaluate(model, dataset, seen=seen, device=config.device, progress=progress)
        record = _record(dataset, config, backbone, weights, split, calibration)
        record["bank"] = dict(zip(("rows", "width"), model.model.memory_bank.shape, strict=True))
        record["held_out_scores"] = held_out
        record["train_sha256"] = seen
        record["evaluation"] = None if evaluation is None else evaluation.to_json(dataset.root)
        record["seconds"] = {"fit": round(fitted - started, 1), "total": round(time.monotonic() - started, 1)}
        write_json(folder / RECORD, record)
        write_report(folder, record, evaluation)
    return open_run(out)


def _check_pictures(dataset: Dataset, progress: Progress) -> None:
    """Read every picture and mask once, so that a broken one is named before minutes of work."""
    for done, path in enumerate(dataset.files, start=1):
        read_picture(path)
        progress("reading pictures", done, len(dataset.files))


def _calibrate(
    model: Any, split: Split, config: TrainConfig, progress: Progress
) -> tuple[Calibration, list[dict[str, Any]]]:
    """Judge the held-out good pictures and put the threshold."""
    scores: list[float] = []
    peaks: list[float] = []

    def keep(prediction: Prediction) -> None:
        scores.append(prediction.raw_score)
        peaks.append(float(prediction.raw_map.max()))
        progress("calibrating on held-out parts", len(scores), len(split.held_out))

    predict(model, split.held_out, keep, device=config.device)
    if not np.isfinite(scores).all():
        raise InputError("the features are not finite numbers; the backbone's weights are broken or do not fit it")
    calibration = calibrate(np.array(scores), np.array(peaks), false_reject_rate=config.false_reject_rate)
    named = [
        {"path": path.name, "raw_score": score, "map_peak": peak}
        for path, score, peak in zip(split.held_out, scores, peaks, strict=True)
    ]
    return calibration, named


def _record(
    dataset: Dataset,
    config: TrainConfig,
    backbone: Backbone,
    weights: Weights,
    split: Split,
    calibration: Calibration,
) -> dict[str, Any]:
    """Return what reproduces the run."""
    return {
        "schema": RUN_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "arguments": config.to_json(),
        "dataset": _dataset_facts(dataset),
        "backbone": {
            "name": backbone.name,
            "layers": list(backbone.layers),
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "weights": weights.source,
            "weights_sha256": weights.sha256,
        },
        "split": {
            "bank": [path.name for path in split.bank],
            "held_out": [path.name for path in split.held_out],
            "repeated": [path.name for path in split.repeated],
        },
        "calibration": calibration.to_json(),
    }


def _dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return what names a data set and counts it."""
    return {
        "path": str(dataset.root.resolve()),
        "fingerprint": fingerprint(dataset),
        "train_good": len(dataset.train_good),
        "test_good": len(dataset.test_good),
        "defects": {kind: len(paths) for kind, paths in dataset.defects.items()},
        "masks": len(dataset.masks),
    }


def evaluate_run(
    run: Run,
    root: Path,
    out: Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Evaluate a trained run on a data set's test pictures and write `evaluation.json` and `report.html`.

    Args:
        run: A finished run.
        root: The data set, of which only `test` is needed; test pictures that repeat its own training pictures,
            or those the run was trained on, are left out.
        out: The folder to write.
        device: `auto`, `cpu` or `cuda`.
        overwrite: Replace an older folder.
        progress: Told of each picture.

    Returns:
        The record: the run's, with the data set and the evaluation exchanged.

    Raises:
        InputError: If the run or the data set is not usable.
        OutputError: If `out` exists or cannot be written.
    """
    with new_folder(out, marker=EVALUATION, overwrite=overwrite, inputs=[root, run.folder]) as folder:
        dataset = list_dataset(root)
        if not dataset.test_good and not dataset.defective:
            raise InputError(f"{dataset.root / 'test'} holds no pictures; put them in test/good and test/<kind>")
        seen = {*run.record.get("train_sha256", ()), *(digest(path) for path in dataset.train_good)}
        evaluation = evaluate(run.load(), dataset, seen=seen, device=device, progress=progress)
        record = {
            **run.record,
            "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
            "dataset": _dataset_facts(dataset),
            "trained_on": run.record["dataset"],
            "evaluation": None if evaluation is None else evaluation.to_json(dataset.root),
        }
        write_json(folder / EVALUATION, record)
        write_report(folder, record, evaluation)
    return record
