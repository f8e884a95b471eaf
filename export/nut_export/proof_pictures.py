"""Which pictures an export uses, and what for."""

from dataclasses import dataclass
from pathlib import Path

from nut_dataset.evenly import evenly
from nut_dataset.layout import Dataset, open_dataset
from nut_runtime.errors import InputError
from nut_train.extension_record import extension_pictures
from nut_train.run import Run

__all__ = ["ProofPictures", "find_pictures"]

_ROLES = ("bank", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPictures:
    """The pictures of an export.

    Attributes:
        dataset: Where they are from.
        proof: Held-out and test pictures that every model is compared on with anomalib.
        training: Those the bank was made from; they calibrate int8.
        others: Good ones that are not in the bank, for the plan of the search and the guard band.
        good: All that the run was trained or grown with, held-out ones among them.
        held_out: Those of them that it held out.
    """

    dataset: Dataset
    proof: tuple[Path, ...]
    training: tuple[Path, ...]
    others: tuple[Path, ...]
    good: tuple[Path, ...]
    held_out: tuple[Path, ...]


def find_pictures(run: Run, root: Path | None, limit: int) -> ProofPictures:
    """Find the pictures.

    Args:
        run: Knows its data set, which pictures it held out, and those that it was grown with. A run without held-out
            ones, such as another tool's checkpoint, has good test pictures take their place.
        root: Another data set; None takes the run's own, and what the run was grown with.
        limit: Pictures of the proof at most, evenly over all.

    Raises:
        InputError: If none was given and the run's own is gone or not known, or a picture that it was grown with is.
    """
    dataset = _dataset(run, root)
    held_out = set(run.record.get("split", {}).get("held_out", ()))
    grown, unseen = ([], []) if root is not None else (extension_pictures(run.record, name) for name in _ROLES)
    joined = {path.resolve() for path in (*grown, *unseen)}  # which may lie beside the run's first ones
    first = [path for path in dataset.train_good if path.resolve() not in joined]
    own = [*(path for path in first if path.name in held_out), *unseen]
    proof = [*own, *dataset.test_good, *dataset.defective] or first
    training = [*(path for path in first if path.name not in held_out), *grown]
    return ProofPictures(
        dataset=dataset,
        proof=tuple(evenly(proof, limit)),
        training=tuple(training or proof),
        others=tuple(own or dataset.test_good or proof),
        good=(*first, *grown, *unseen),
        held_out=tuple(own),
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
