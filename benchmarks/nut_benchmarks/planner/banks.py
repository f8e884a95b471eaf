"""One training for each backbone and image size, cut down to each bank size.

anomalib's coreset picks one vector after another, so with the same seed the coreset of a smaller ratio is the beginning
of that of a larger one: the features are extracted and the coreset selected once, at the largest ratio, and every bank
is to the last bit the one that `nut train` makes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nut_benchmarks.planner.config import BackboneChoice, PlanConfig
from nut_dataset.evenly import evenly
from nut_dataset.layout import GOOD, Dataset
from nut_dataset.progress import Progress
from nut_runtime.errors import NutError
from nut_train.backbone import describe_backbone
from nut_train.bank_size import check_rows
from nut_train.run import Run, open_run
from nut_train.train import Prepared, fit_model, prepare, write_run
from nut_train.weights import find_weights

__all__ = ["Bank", "Subject", "prepare_subjects", "train_banks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backbone and an image size, ready to be trained.

    Attributes:
        backbone: The backbone.
        size: Height and width of the model's input.
        prepared: Data set, split, description and weights.
    """

    backbone: BackboneChoice
    size: tuple[int, int]
    prepared: Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """A trained and calibrated model.

    Attributes:
        run: Its run folder.
        coreset_ratio: What gives `nut train` a bank of this size with all the pictures there are.
        rows: Vectors in it.
        width: Length of one.
        kinds: The test pictures that were judged, each with `good` or its kind of defect; repeats of training
            pictures are not among them.
        held_out: Good pictures that calibrated the threshold.
        pixel_auroc: Of the trained model; None without masks.
    """

    run: Run
    coreset_ratio: float
    rows: int
    width: int
    kinds: Mapping[Path, str]
    held_out: tuple[Path, ...]
    pixel_auroc: float | None

    @property
    def good(self) -> list[Path]:
        """Good pictures that are not in the bank: those of the test and those held out."""
        return [*(path for path, kind in self.kinds.items() if kind == GOOD), *self.held_out]


def prepare_subjects(
    dataset: Dataset, backbones: tuple[BackboneChoice, ...], config: PlanConfig, *, progress: Progress
) -> list[Subject]:
    """Look up every backbone at every size, and read every picture once, before the minutes of work.

    Args:
        dataset: The data set.
        backbones: The backbones.
        config: What is asked for.
        progress: Told of each picture.

    Raises:
        InputError: If a backbone is not known, has no weights or does not take a size, a picture cannot be read, or
            there are too few.
    """
    ratio = max(config.coreset_ratios)
    dataset = _fewer_test_pictures(dataset, config.test_pictures)
    subjects: list[Subject] = []
    first: Prepared | None = None
    for choice in backbones:
        weights = None
        for size in config.image_sizes:
            training = config.training(choice, size, ratio)
            described = describe_backbone(choice.name, image_size=size)
            weights = weights or find_weights(choice.name, choice.weights)
            first = first or prepare(dataset, training, progress=progress)
            prepared = replace(first, backbone=described, weights=weights)
            subjects.append(Subject(backbone=choice, size=size, prepared=prepared))
    return subjects


def train_banks(
    subject: Subject, config: PlanConfig, folder: Path, *, progress: Progress
) -> Iterator[tuple[float, Bank | NutError]]:
    """Train once and give a bank for each coreset ratio, the largest first, or the reason why there is none.

    Args:
        subject: What to train.
        config: Ratios, and how many pictures to take.
        folder: An existing folder for the run folders.
        progress: Told of each step.

    Raises:
        NutError: If the training itself fails.
    """
    ratios = sorted(config.coreset_ratios, reverse=True)
    split = subject.prepared.split
    used = tuple(evenly(split.bank, config.pictures))
    prepared = replace(subject.prepared, split=replace(split, bank=used))
    model, fitted = fit_model(prepared, config.training(subject.backbone, subject.size, ratios[0]), progress=progress)
    bank = model.model.memory_bank
    a_picture = fitted.patches // len(used)
    for ratio in ratios:
        training = config.training(subject.backbone, subject.size, ratio)
        rows = int(len(used) * a_picture * ratio)  # as anomalib rounds it
        try:
            check_rows(rows, training)
            model.model.memory_bank = bank[:rows].clone()
            place = folder / f"{ratio}"
            place.mkdir()
            _, evaluation = write_run(place, model, fitted, prepared, training, progress=progress)
        except NutError as error:
            yield ratio, error
            continue
        judged = () if evaluation is None else evaluation.judged
        pixel = None if evaluation is None else evaluation.pixel
        yield (
            ratio,
            Bank(
                run=open_run(place),
                coreset_ratio=ratio if len(used) == len(split.bank) else (rows + 0.5) / (len(split.bank) * a_picture),
                rows=rows,
                width=int(bank.shape[1]),
                kinds={item.prediction.path: item.kind for item in judged},
                held_out=split.held_out,
                pixel_auroc=None if pixel is None else pixel.auroc,
            ),
        )


def _fewer_test_pictures(dataset: Dataset, limit: int) -> Dataset:
    """Return the data set with at most so many test pictures, evenly over good ones and kinds of defect."""
    kept = set(evenly([*dataset.test_good, *dataset.defective], limit)) if dataset.test_good or dataset.defects else ()
    defects = {kind: tuple(path for path in paths if path in kept) for kind, paths in dataset.defects.items()}
    return replace(
        dataset,
        test_good=tuple(path for path in dataset.test_good if path in kept),
        defects={kind: paths for kind, paths in defects.items() if paths},
        masks={path: mask for path, mask in dataset.masks.items() if path in kept},
    )
