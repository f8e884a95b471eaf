"""Which pictures an export uses, and what for."""

from dataclasses import dataclass
from pathlib import Path

from nut_dataset.evenly import evenly
from nut_dataset.layout import Dataset, open_dataset
from nut_runtime.errors import InputError
from nut_train.run import Run

__all__ = ["ProofPictures", "find_pictures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPictures:
    """The pictures of an export.

    Attributes:
        dataset: Where they are from.
        proof: Held-out and test pictures that every model is compared on with anomalib.
        training: Those the bank was made from; they calibrate int8.
        others: Good ones that are not in the bank, for the plan of the search and the guard band.
    """

    dataset: Dataset
    proof: tuple[Path, ...]
    training: tuple[Path, ...]
    others: tuple[Path, ...]


def find_pictures(run: Run, root: Path | None, limit: int) -> ProofPictures:
    """Find the pictures.

    Args:
        run: Knows its data set, and which pictures it held out. A run without held-out ones, such as another tool's
            checkpoint, has good test pictures take their place.
        root: Another data set; None takes the run's own.
        limit: Pictures of the proof at most, evenly over all.

    Raises:
        InputError: If none was given and the run's own is gone or not known.
    """
    dataset = _dataset(run, root)
    held_out = set(run.record.get("split", {}).get("held_out", ()))
    own = [path for path in dataset.train_good if path.name in held_out]
    proof = [*own, *dataset.test_good, *dataset.defective] or list(dataset.train_good)
    training = [path for path in dataset.train_good if path.name not in held_out]
    return ProofPictures(
        dataset=dataset,
        proof=tuple(evenly(proof, limit)),
        training=tuple(training or proof),
        others=tuple(own or dataset.test_good or proof),
    )


def _dataset(run: Run, root: Path | None) -> Dataset:
    if root is not None:
        return open_dataset(root)
    trained = run.record["dataset"]["path"]
    if trained is None:
        raise InputError("a checkpoint does not say where its pictures lie; give a data set with --dataset")
    if not Path(trained).is_dir():
        raise InputError(f"{trained}, which the run was trained on, is not there; give a data set with --dataset")
    return open_dataset(Path(trained))
