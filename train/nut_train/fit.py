"""The memory bank: patch features of good pictures, thinned to a coreset by anomalib."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, seed_everything

from nut_dataset.layout import Dataset
from nut_dataset.progress import Progress
from nut_runtime.errors import InputError
from nut_train.config import TrainConfig
from nut_train.coreset import quick_coreset
from nut_train.interrupts import ctrl_c_passes
from nut_train.predict import accelerator

if TYPE_CHECKING:
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

__all__ = ["check_rows", "fit", "save_checkpoint"]

_LEAST_ROWS = 2  # a single vector is its own only neighbour, and anomalib's weight makes every score zero


class _Steps(Callback):
    """Reports each batch of feature extraction."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report one more batch."""
        del pl_module, outputs, batch
        self.progress("extracting features", batch_idx + 1, trainer.num_training_batches)


def fit(
    model: "Patchcore", dataset: Dataset, bank: Sequence[Path], config: TrainConfig, *, progress: Progress
) -> "Engine":
    """Fill the model's memory bank from the pictures in `bank`, with anomalib's `Folder` and `Engine`.

    Each picture is resized by itself before it joins a batch: anomalib's collation would first bring all of a
    batch to the size of its largest, so that a picture's features would depend on its neighbours.

    Args:
        model: From `build_model`; changed in place.
        dataset: Where the pictures lie.
        bank: Those of `dataset.train_good` that the bank is made from.
        config: Batch size, workers, seed and device.
        progress: Told of each batch and each coreset pick.

    Returns:
        The engine, which `save_checkpoint` needs.

    Raises:
        InputError: If the coreset ratio leaves fewer than two vectors.
    """
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from torchvision.transforms.v2 import Resize

    seed_everything(config.seed, workers=True, verbose=False)
    pictures = Folder(
        name="nut",
        root=dataset.root,
        normal_dir="train/good",
        test_split_mode="none",
        val_split_mode="none",
        augmentations=Resize(config.image_size, antialias=True),
        train_batch_size=config.batch_size,
        num_workers=config.workers,
        seed=config.seed,
    )
    pictures.setup()
    wanted = {path.resolve() for path in bank}
    places = [
        place for place, path in enumerate(pictures.train_data.samples.image_path) if Path(path).resolve() in wanted
    ]
    if len(places) != len(bank):
        raise InputError(f"anomalib finds {len(places)} of {len(bank)} pictures in {dataset.root}; check their endings")
    pictures.train_data.subsample(places, inplace=True)
    pictures._is_setup = True  # noqa: SLF001 - otherwise the engine would list the folder again
    with tempfile.TemporaryDirectory(prefix="nut-fit-") as folder, quick_coreset(progress), ctrl_c_passes():
        engine = Engine(
            accelerator=accelerator(config.device),
            devices=1,  # on several the bank would be split among them
            callbacks=[_Steps(progress)],
            default_root_dir=folder,
            limit_val_batches=0,  # calibration is ours
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
        )
        try:
            engine.fit(model=model, datamodule=pictures)
        except ValueError as error:
            if "coreset_size" not in str(error):
                raise
            raise _too_small(config, 0) from error
    check_rows(len(model.model.memory_bank), config)
    model.eval()
    return engine


def check_rows(rows: int, config: TrainConfig) -> None:
    """Refuse a bank that is too small to score with.

    Args:
        rows: How many vectors it has.
        config: Its coreset ratio is to blame.

    Raises:
        InputError: If there are fewer than two.
    """
    if rows < _LEAST_ROWS:
        raise _too_small(config, rows)


def _too_small(config: TrainConfig, rows: int) -> InputError:
    return InputError(
        f"coreset ratio {config.coreset_ratio} keeps {rows} of all patches, at least {_LEAST_ROWS} are needed; "
        "raise --coreset-ratio"
    )


def save_checkpoint(engine: "Engine", path: Path) -> None:
    """Write the model as a Lightning checkpoint that `torch.load(weights_only=True)` reads."""
    engine.trainer.save_checkpoint(path, weights_only=True)
