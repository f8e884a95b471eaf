"""The memory bank: patch features of good pictures, extracted by anomalib and thinned to a coreset."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback, seed_everything
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from nut_dataset.layout import Dataset
from nut_dataset.progress import Progress
from nut_runtime.errors import InputError
from nut_train.bank_origin import BankOrigin
from nut_train.bank_size import bank_rows, check_rows
from nut_train.config import TrainConfig
from nut_train.coreset import select_coreset
from nut_train.digests import digest
from nut_train.embedding import patch_grid
from nut_train.feature_store import FeatureStore
from nut_train.interrupts import ctrl_c_passes
from nut_train.predict import PictureDataset, accelerator
from nut_train.projection import project
from nut_train.run import package_versions
from nut_train.work_folder import temporary_work_folder

if TYPE_CHECKING:
    from anomalib.data import ImageItem
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

    from nut_train.whitening import Whitening

__all__ = ["Fitted", "fit", "save_checkpoint"]

_ALIKE = 1e-3  # share of the largest feature by which batches of other sizes may round apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What a filled bank leaves behind, besides the model.

    Attributes:
        engine: anomalib's, which `save_checkpoint` needs.
        origin: Where each row of the bank came from.
        patches: Patches it was chosen from.
        resumed: Pictures whose features an interrupted training had left.
        radius: Largest distance of any patch to its nearest bank row, both projected as for the selection.
    """

    engine: "Engine"
    origin: BankOrigin
    patches: int
    resumed: int
    radius: float


class _Steps(Callback):
    """Reports each batch of feature extraction."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report = report

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report one more batch."""
        del pl_module, outputs, batch
        self.report(batch_idx + 1, trainer.num_training_batches)


class _Resized(PictureDataset):
    """Pictures, each resized by itself before it joins a batch.

    anomalib's collation would first bring all of a batch to the size of its largest, so that a picture's features would
    depend on its neighbours.
    """

    def __init__(self, paths: Sequence[Path], image_size: tuple[int, int]) -> None:
        from torchvision.transforms.v2 import Resize

        super().__init__(paths)
        self.resize = Resize(image_size, antialias=True)

    def __getitem__(self, index: int) -> "ImageItem":
        """Return the picture at the model's input size."""
        item = super().__getitem__(index)
        item.image = self.resize(item.image)
        return item


def fit(
    model: "Patchcore",
    dataset: Dataset,
    bank: Sequence[Path],
    config: TrainConfig,
    *,
    progress: Progress,
    work: Path | None = None,
) -> Fitted:
    """Fill the model's memory bank from the pictures in `bank`.

    anomalib's `Engine` extracts the features, in the order of `bank`; they go to a file, and memory holds one batch of
    them. The coreset is then the one that anomalib's `KCenterGreedy` selects from the same projection and start.

    Args:
        model: From `build_model`; changed in place.
        dataset: Where the pictures lie.
        bank: Those that the bank is made from, usually some of `dataset.train_good`.
        config: Size of the bank, batch size, workers, seed and device.
        progress: Told of each batch and of the coreset's picks.
        work: A folder from `work_folder`, where the features of an interrupted training are taken up and kept; None
            keeps them among the temporary files until this function returns.

    Raises:
        InputError: If the bank would have fewer than two rows or not fit in memory, a picture's features are not
            finite, all pictures are alike, or the features fit on no disk.
        OutputError: If the features cannot be written.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    grid = patch_grid(model.eval(), config.image_size)
    model.train()  # anomalib's way of asking for the features alone
    patches, width = grid[0] * grid[1], sum(model.model.feature_extractor.out_dims)
    rows = bank_rows(config, patches=patches * len(bank), width=width)
    with nullcontext(work) if work is not None else temporary_work_folder() as folder:
        key = _key(model, bank, config)
        with FeatureStore(folder, key=key, pictures=bank, patches=patches, width=width) as store:
            engine = _extract(model, store, config, progress)
            _check_different(store)
            whitening = _whiten(model, store)
            blocks = store.blocks() if whitening is None else map(whitening.apply, store.blocks())
            features, start = project(blocks, rows=store.rows, width=width, seed=config.seed, folder=folder)
            device = "cuda" if accelerator(config.device) == "gpu" else "cpu"
            coreset = select_coreset(features, rows, start=start, progress=progress, device=device)
            check_rows(len(coreset.picks), config)
            kept = torch.from_numpy(_read_rows(store, coreset.picks))
    if whitening is not None:
        kept = whitening.apply(kept)
    model.model.memory_bank = kept.to(model.device)
    model._is_fitted = torch.tensor([True], device=model.device)  # noqa: SLF001 - else anomalib would fit it again
    model.eval()
    names = tuple(path.relative_to(dataset.root).as_posix() for path in bank)
    return Fitted(
        engine=engine,
        origin=BankOrigin.of_picks(coreset.picks, names, grid),
        patches=store.rows,
        resumed=store.resumed,
        radius=coreset.radius,
    )


def _whiten(model: "Patchcore", store: FeatureStore) -> "Whitening | None":
    """Find the whitening of a model that has one, and give it to the model."""
    from nut_train.whitening import WhitenedPatchcoreModel, find_whitening

    if not isinstance(model.model, WhitenedPatchcoreModel):
        return None
    whitening = find_whitening(store.blocks(), width=store.width)
    model.model.whitening = whitening
    return whitening


def _read_rows(store: FeatureStore, picks: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read picked rows in the order of the file, which a disk likes, and return them in the order of the picks."""
    order = np.argsort(picks)
    kept = np.empty((len(picks), store.width), np.float32)
    kept[order] = store.features()[picks[order]]
    return kept


def _key(model: "Patchcore", bank: Sequence[Path], config: TrainConfig) -> str:
    """Return a SHA-256 of everything that the features depend on: pictures, weights, settings and versions."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.model.feature_extractor.state_dict().items()):
        weights.update(name.encode() + b"\0" + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    facts = {
        "pictures": [[path.name, digest(path)] for path in bank],
        "backbone": model.model.backbone,
        "layers": list(model.model.layers),
        "weights": weights.hexdigest(),
        "transform": repr(model.pre_processor.transform),
        "image_size": config.image_size,
        "batch_size": config.batch_size,  # the last bits depend on it
        "device": accelerator(config.device),
        "versions": package_versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _extract(model: "Patchcore", store: FeatureStore, config: TrainConfig, progress: Progress) -> "Engine":
    """Let anomalib's engine run the pictures that are not done yet through the model in training mode."""
    from anomalib.engine import Engine

    # Whole batches, so that they are made up as they would have been without the interruption.
    left = store.pictures[store.done :]
    pictures = _Resized(left or store.pictures[:1], config.image_size)
    loader: DataLoader[Any] = DataLoader(
        pictures, batch_size=config.batch_size, num_workers=config.workers, collate_fn=pictures.collate_fn
    )
    before = -(-store.done // config.batch_size)
    patchcore = model.model
    patchcore.embedding_store = store
    patchcore.subsample_embedding = lambda *_: None  # the coreset is selected afterwards
    try:
        with tempfile.TemporaryDirectory(prefix="nut-fit-") as folder, ctrl_c_passes():
            engine = Engine(
                accelerator=accelerator(config.device),
                devices=1,  # on several the bank would be split among them
                callbacks=[_Steps(lambda done, total: progress("extracting features", before + done, before + total))],
                default_root_dir=folder,
                limit_train_batches=1.0 if left else 0,  # none: the engine is needed all the same, to save the model
                limit_val_batches=0,  # calibration is ours
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=False,
            )
            engine.fit(model=model, train_dataloaders=loader)
    finally:
        del patchcore.subsample_embedding  # the class's own shows again
        patchcore.embedding_store = []
        store.save()
    return engine


def _check_different(store: FeatureStore) -> None:
    """Refuse pictures that all show the same: they say nothing of how good parts differ.

    Raises:
        InputError: If they do.
    """
    if len(store.pictures) == 1:  # of a caller's who knows
        return
    features = store.features()
    first = np.asarray(features[: store.patches], np.float32)
    tolerance = _ALIKE * float(np.abs(first).max())
    for place in range(1, len(store.pictures)):
        other = features[place * store.patches : (place + 1) * store.patches]
        if np.abs(first - other).max() > tolerance:
            return
    raise InputError(
        f"all {len(store.pictures)} good pictures for the bank show the same, though their files differ; "
        "give pictures of different parts"
    )


def save_checkpoint(engine: "Engine", path: Path) -> None:
    """Write the model as a Lightning checkpoint that `torch.load(weights_only=True)` reads."""
    engine.trainer.save_checkpoint(path, weights_only=True)
