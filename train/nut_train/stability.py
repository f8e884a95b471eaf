"""How far a run's figures move when it is trained again with other seeds.

A seed chooses which good pictures are held out for the threshold and where the coreset starts. What moves with it is
chance, and a difference between two runs that is no larger means nothing.
"""

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from nut_dataset.layout import Dataset, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.errors import InputError
from nut_train.digests import digest
from nut_train.evaluate import Evaluation, evaluate
from nut_train.extension_record import steps_of
from nut_train.run import Run
from nut_train.train import fit_model, prepare, write_run

__all__ = ["stability"]

_FIGURES = ("threshold", "auroc", "recall", "false_reject_rate", "pixel_auroc", "pro")


def stability(
    run: Run,
    dataset: Dataset,
    evaluation: Evaluation,
    *,
    seeds: int,
    seen: Collection[str],
    device: str = "auto",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Train a run again with other seeds and judge the same test pictures.

    Args:
        run: A finished run whose training pictures are still where they were.
        dataset: Its `test` pictures are judged.
        evaluation: What the run itself says of them.
        seeds: How many in all, at least 2; the run's own and those after it.
        seen: As for `evaluate`.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each step of each training.

    Returns:
        Plain types for `evaluation.json`: the figures of each seed, how far they spread, and the pictures that not
        all seeds judge alike.

    Raises:
        InputError: If the training pictures or the backbone's weights are not those of the run any more.
    """
    pictures = _training_pictures(run)
    rows = [_row(run.config.seed, run.point.image.threshold, evaluation, evaluation)]
    unstable: set[Path] = set()
    for seed in range(run.config.seed + 1, run.config.seed + seeds):
        config = replace(run.config, seed=seed, device=device)

        def tell(what: str, done: int, total: int, seed: int = seed) -> None:
            progress(f"seed {seed}: {what}", done, total)

        prepared = prepare(pictures, config, progress=tell)
        if prepared.weights.sha256 != run.record["backbone"]["weights_sha256"]:
            raise InputError(
                f"the run was trained with {run.record['backbone']['weights']}, and {prepared.weights.source} was "
                "found now; other seeds would compare two backbones"
            )
        model, engine = fit_model(prepared, config, progress=tell)
        with tempfile.TemporaryDirectory(prefix="nut-seed-") as folder:
            record, _ = write_run(Path(folder), model, engine, prepared, config, progress=tell)
        again = evaluate(
            model, dataset, seen=seen, keep_leakage=evaluation.is_leakage_kept, device=device, progress=tell
        )
        if again is None:
            raise InputError(f"{dataset.root} has lost its test pictures meanwhile")
        unstable |= _changed(evaluation, again)
        rows.append(_row(seed, float(record["calibration"]["point"]["image"]["threshold"]), evaluation, again))
    return {
        "seeds": rows,
        "spread": {name: _spread([row[name] for row in rows]) for name in _FIGURES},
        "pictures": len(evaluation.judged),
        "unstable": sorted(path.relative_to(dataset.root).as_posix() for path in unstable),
    }


def _training_pictures(run: Run) -> Dataset:
    """Return the run's own data set without its test pictures."""
    if steps_of(run.record):
        raise InputError(f"{run.folder} was grown, and other seeds would train without what it was grown with")
    root = Path(run.record["dataset"]["path"])
    try:
        dataset = open_dataset(root)
    except InputError as error:
        raise InputError(f"other seeds need the pictures that the run was trained on: {error}") from error
    known = run.record.get("train_sha256")
    if known is not None and set(known) != {digest(path) for path in dataset.train_good}:
        raise InputError(f"{root / 'train'} has changed since the run was trained; train again to look at other seeds")
    return replace(dataset, test_good=(), defects={}, masks={})


def _changed(one: Evaluation, other: Evaluation) -> set[Path]:
    """Return the pictures that two evaluations judge differently."""
    verdicts = {item.prediction.path: item.prediction.pred_label for item in one.judged}
    return {
        item.prediction.path for item in other.judged if verdicts[item.prediction.path] != item.prediction.pred_label
    }


def _row(seed: int, threshold: float, first: Evaluation, evaluation: Evaluation) -> dict[str, Any]:
    """Return one line of the table."""
    image, pixel = evaluation.image, evaluation.pixel
    return {
        "seed": seed,
        "threshold": threshold,
        "auroc": image.auroc,
        "recall": image.recall,
        "false_reject_rate": image.false_reject_rate,
        "pixel_auroc": None if pixel is None else pixel.auroc,
        "pro": None if pixel is None else pixel.pro,
        "changed": len(_changed(first, evaluation)),
    }


def _spread(values: list[float | None]) -> float | None:
    """Return the largest less the smallest."""
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else None
