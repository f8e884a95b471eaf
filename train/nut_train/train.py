"""A whole training run: check, split, fit, calibrate, evaluate, and the run folder at the end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_dataset.layout import Dataset, fingerprint, list_dataset, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.backbone import Backbone, describe_backbone
from nut_train.bank_origin import write_origin
from nut_train.calibrate import Calibration, Split, calibrate, split_good
from nut_train.config import TrainConfig
from nut_train.crossfit import GoodScore, cross_fit, score_good, split_folds
from nut_train.data_findings import data_findings
from nut_train.digests import digest
from nut_train.evaluate import Evaluation, evaluate
from nut_train.explain import try_explainer
from nut_train.fit import Fitted, fit, save_checkpoint
from nut_train.patchcore import build_model, set_operating_point
from nut_train.report import write_report
from nut_train.run import CHECKPOINT, RECORD, RUN_SCHEMA, Run, open_run, package_versions
from nut_train.statistics.pixel_counts import PIXELS
from nut_train.thresholds import Rule, best_f1_threshold
from nut_train.weights import Weights, find_weights
from nut_train.work_folder import unfinished, work_folder

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["EVALUATION", "Prepared", "dataset_facts", "evaluate_run", "fit_model", "prepare", "train", "write_run"]

EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a training starts from, and runs that differ only in their banks share.

    Attributes:
        dataset: The pictures.
        split: How its good ones were divided.
        backbone: The feature extractor.
        weights: Its weights.
    """

    dataset: Dataset
    split: Split
    backbone: Backbone
    weights: Weights


def train(
    root: Path,
    out: Path,
    config: TrainConfig,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Train PatchCore on a data set and write the run folder.

    The folder appears only when everything is done; until then nothing of it is seen. What was extracted by then of a
    training that is interrupted stays beside it (`unfinished`), and the next one with the same pictures and settings of
    the features goes on from there.

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
        prepared = prepare(open_dataset(root), config, progress=progress)
        with work_folder(unfinished(out)) as work:
            model, fitted = fit_model(prepared, config, progress=progress, work=work)
            fit_seconds = time.monotonic() - started
            record, evaluation = write_run(folder, model, fitted, prepared, config, progress=progress)
            record["findings"] = data_findings(root, progress=progress)
            record["seconds"] = {"fit": round(fit_seconds, 1), "total": round(time.monotonic() - started, 1)}
            write_json(folder / RECORD, record)
            write_report(folder, record, evaluation, try_explainer(open_run(folder), device=config.device))
    return open_run(out)


def prepare(dataset: Dataset, config: TrainConfig, *, progress: Progress = no_progress) -> Prepared:
    """Check and look up everything that a training needs, before the minutes of work.

    Args:
        dataset: The data set.
        config: What is asked for.
        progress: Told of each picture.

    Raises:
        InputError: If a picture, the backbone or its weights do not meet their contract, or the pictures are too few.
    """
    if config.calibration == "crossfit":
        split = split_folds(dataset.train_good, folds=config.folds, seed=config.seed)
    else:
        split = split_good(dataset.train_good, holdout=config.holdout, seed=config.seed)
    if config.point.rule is Rule.F1 and not (dataset.test_good and dataset.defective):
        raise InputError("--threshold f1 needs test/good and defects in test; choose another rule")
    backbone = describe_backbone(config.backbone, config.layers, image_size=config.image_size)
    weights = find_weights(config.backbone, config.backbone_weights)
    for done, path in enumerate(dataset.files, start=1):
        read_picture(path)
        progress("reading pictures", done, len(dataset.files))
    return Prepared(dataset=dataset, split=split, backbone=backbone, weights=weights)


def fit_model(
    prepared: Prepared, config: TrainConfig, *, progress: Progress = no_progress, work: Path | None = None
) -> "tuple[Patchcore, Fitted]":
    """Build a model and fill its bank.

    Args:
        prepared: From `prepare`.
        config: What is asked for.
        progress: Told of each batch and of the picks.
        work: Where the features of an interrupted training are taken up and kept, from `work_folder`.

    Returns:
        The model, not calibrated yet, and what filling its bank left.

    Raises:
        InputError: As `fit`.
    """
    model = build_model(
        prepared.backbone,
        image_size=config.image_size,
        coreset_ratio=config.coreset_ratio,
        neighbours=config.neighbours,
        is_whitened=config.whiten,
        weights=prepared.weights,
    )
    return model, fit(model, prepared.dataset, prepared.split.bank, config, progress=progress, work=work)


def write_run(
    folder: Path,
    model: "Patchcore",
    fitted: Fitted,
    prepared: Prepared,
    config: TrainConfig,
    *,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], Evaluation | None]:
    """Calibrate and evaluate a model whose bank is filled, and write its checkpoint and record.

    Args:
        folder: An existing folder, which becomes a run folder.
        model: From `fit_model`; its operating point is set.
        fitted: From `fit_model`.
        prepared: What it was trained with.
        config: What was asked for.
        progress: Told of each picture.

    Returns:
        The record as it was written, and the evaluation; None where there are no test pictures.

    Raises:
        InputError: If the features are not finite.
    """
    digests = {path: digest(path) for path in prepared.dataset.train_good}
    seen = sorted(set(digests.values()))
    scores = _score_good(model, prepared, config, progress)
    value = config.threshold_value
    if config.point.rule is Rule.F1:
        value = _best_f1(evaluate(model, prepared.dataset, seen=seen, device=config.device, progress=progress))
    calibration = _calibrate(scores, config, value)
    set_operating_point(model, calibration.point)
    save_checkpoint(fitted.engine, folder / CHECKPOINT)
    bank = model.model.memory_bank
    write_origin(folder, fitted.origin.first(len(bank)), bank)
    evaluation = evaluate(
        model,
        prepared.dataset,
        seen=seen,
        false_reject_rate=calibration.false_reject_rate,
        device=config.device,
        progress=progress,
    )
    if evaluation is not None and evaluation.pixels is not None:
        evaluation.pixels.save(folder / PIXELS)
    record = _record(prepared, config, calibration)
    chosen = [*prepared.split.bank, *prepared.split.held_out]
    record["split"]["sha256"] = {path.name: digests[path] for path in chosen}
    record["bank"] = {"rows": len(bank), "width": int(bank.shape[1]), "patches": fitted.patches}
    record["resumed_pictures"] = fitted.resumed
    record["held_out_scores"] = [score.to_json() for score in scores]
    record["train_sha256"] = seen
    record["evaluation"] = None if evaluation is None else evaluation.to_json(prepared.dataset.root)
    write_json(folder / RECORD, record)
    return record, evaluation


def _score_good(model: Any, prepared: Prepared, config: TrainConfig, progress: Progress) -> list[GoodScore]:
    """Judge the good pictures that calibrate, each by a model without it."""
    split = prepared.split
    if not split.folds:
        return score_good(model, split.held_out, device=config.device, progress=progress)

    def fit_without(bank: tuple[Path, ...], told: Progress) -> "Patchcore":
        return fit_model(replace(prepared, split=replace(split, bank=bank)), config, progress=told)[0]

    return cross_fit(split, fit_without, device=config.device, progress=progress)


def _best_f1(evaluation: Evaluation | None) -> float:
    """Return the threshold that the test pictures would choose for themselves."""
    judged = () if evaluation is None else evaluation.judged
    return best_f1_threshold(
        np.array([item.prediction.raw_score for item in judged]),
        np.array([item.is_defective for item in judged], bool),
    )


def _calibrate(scores: Sequence[GoodScore], config: TrainConfig, value: float | None) -> Calibration:
    """Put the thresholds."""
    folds = {score.fold for score in scores}
    return calibrate(
        np.array([score.raw_score for score in scores]),
        np.array([score.map_peak for score in scores]),
        false_reject_rate=config.false_reject_rate,
        rule=config.point.rule,
        value=value,
        review_rate=config.review_rate,
        method=config.calibration,
        folds=len(folds),
        is_whitened=config.whiten,
    )


def _record(prepared: Prepared, config: TrainConfig, calibration: Calibration) -> dict[str, Any]:
    """Return what reproduces the run."""
    backbone, weights, split = prepared.backbone, prepared.weights, prepared.split
    return {
        "schema": RUN_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "arguments": config.to_json(),
        "dataset": dataset_facts(prepared.dataset),
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
            **({"folds": [[path.name for path in fold] for fold in split.folds]} if split.folds else {}),
        },
        "calibration": calibration.to_json(),
    }


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
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
    keep_leakage: bool = False,
    seeds: int = 1,
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
        keep_leakage: Measure the pictures that repeat training pictures too; the report says so.
        seeds: With how many seeds in all to look how stable the figures are; the run's own is the first.
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
        evaluation = evaluate(
            run.load(),
            dataset,
            seen=seen,
            keep_leakage=keep_leakage,
            false_reject_rate=run.record["calibration"].get("false_reject_rate"),
            device=device,
            progress=progress,
        )
        record = {
            **run.record,
            "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
            "dataset": dataset_facts(dataset),
            "trained_on": run.record["dataset"],
            "evaluation": None if evaluation is None else evaluation.to_json(dataset.root),
            "findings": data_findings(root, progress=progress),
        }
        if evaluation is not None and evaluation.pixels is not None:
            evaluation.pixels.save(folder / PIXELS)
        if evaluation is not None and seeds > 1:
            from nut_train.stability import stability  # which trains

            record["stability"] = stability(
                run, dataset, evaluation, seeds=seeds, seen=seen, device=device, progress=progress
            )
        write_json(folder / EVALUATION, record)
        write_report(folder, record, evaluation, try_explainer(run, device=device))
    return record
