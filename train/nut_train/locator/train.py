"""A whole training of a locator: data set in, run folder out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from nut_dataset.coco.trays import TrayPicture, read_trays, trays_fingerprint
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.errors import InputError
from nut_train.backbone import Backbone
from nut_train.locator.choose import choose_settings
from nut_train.locator.config import LocatorConfig
from nut_train.locator.evaluate import Located, figures_of, locate_trays, map_trays
from nut_train.locator.fit import fit_network, torch_device
from nut_train.locator.network import build_network, describe_encoder
from nut_train.locator.report import write_locator_report
from nut_train.locator.run import LOCATOR_SCHEMA, RECORD, WEIGHTS, LocatorRun, open_locator_run
from nut_train.run import package_versions
from nut_train.weights import find_weights

__all__ = ["TraySplits", "split_trays", "train_locator"]

_HELD_OUT = 5  # every fifth picture is held out where the data set has no split for it


@dataclass(frozen=True, slots=True, kw_only=True)
class TraySplits:
    """Which pictures serve for what.

    Attributes:
        train: To learn from.
        valid: To decide when to stop, and how parts are found.
        test: To measure on; empty where the data set has none.
    """

    train: tuple[TrayPicture, ...]
    valid: tuple[TrayPicture, ...]
    test: tuple[TrayPicture, ...]


def train_locator(
    root: Path,
    out: Path,
    config: LocatorConfig,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LocatorRun:
    """Train a locator on a tray data set and write the run folder.

    The folder appears only when everything is done; until then nothing of it is seen.

    Args:
        root: The data set, from `nut dataset from-coco` or `nut dataset synth --trays`.
        out: The run folder to write.
        config: What is asked for.
        overwrite: Replace an older run folder.
        progress: Told of each step.

    Returns:
        The run as `open_locator_run` reads it.

    Raises:
        InputError: If the data set, the encoder or its weights do not meet their contract.
        PictureError: If a picture or a map cannot be read.
        OutputError: If `out` exists or cannot be written.
    """
    from safetensors.torch import save_file

    started = time.monotonic()
    with new_folder(out, marker=RECORD, overwrite=overwrite, inputs=[root]) as folder:
        splits = split_trays(root)
        torch_device(config.device)  # before any work
        encoder = describe_encoder(config.encoder)
        weights = find_weights(config.encoder, config.encoder_weights)
        before = torch.random.get_rng_state()
        try:
            torch.manual_seed(config.seed)
            network = build_network(config.encoder, weights)
            epochs = fit_network(network, encoder, splits.train, splits.valid, config, progress=progress)
        finally:
            torch.random.set_rng_state(before)
        fitted = time.monotonic()
        trays = map_trays(
            network, encoder, splits.valid, long_side_px=config.long_side_px, what="validating", progress=progress
        )
        settings, tried = choose_settings(trays, progress=progress)
        located = {"valid": locate_trays(trays, settings)}
        if splits.test:
            held_out = map_trays(
                network, encoder, splits.test, long_side_px=config.long_side_px, what="testing", progress=progress
            )
            located["test"] = locate_trays(held_out, settings)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
        record: dict[str, Any] = {
            "schema": LOCATOR_SCHEMA,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": package_versions("segmentation-models-pytorch", "safetensors"),
            "arguments": config.to_json(),
            "dataset": _dataset_facts(root, splits),
            "encoder": _encoder_facts(encoder, weights.source, weights.sha256),
            "parameters": sum(value.numel() for value in network.parameters()),
            "epochs": [{"train_loss": one.train_loss, "valid_loss": one.valid_loss} for one in epochs],
            "find": settings.to_json(),
            "tried": list(tried),
            "figures": {split: figures_of(found).to_json() for split, found in located.items()},
            "seconds": {"fit": round(fitted - started, 1), "total": round(time.monotonic() - started, 1)},
        }
        write_json(folder / RECORD, record)
        write_locator_report(folder, record, _shown(located))
    return open_locator_run(out)


def split_trays(root: Path) -> TraySplits:
    """Return which pictures serve for what; without a `valid` split every fifth training picture is held out.

    Args:
        root: The data set.

    Raises:
        InputError: If there is nothing to learn from, or nothing to validate with.
    """
    train, valid, test = (read_trays(root, split) for split in ("train", "valid", "test"))
    if not valid:
        valid, train = train[::_HELD_OUT], tuple(one for place, one in enumerate(train) if place % _HELD_OUT)
    if not train or not valid:
        raise InputError(f"{root} has too few tray pictures: at least two in train, or one each in train and valid")
    return TraySplits(train=train, valid=valid, test=test)


def _dataset_facts(root: Path, splits: TraySplits) -> dict[str, Any]:
    """Return what names a data set and counts it."""
    return {
        "path": str(Path(root).resolve()),
        "fingerprint": trays_fingerprint(root),
        "train": len(splits.train),
        "valid": len(splits.valid),
        "test": len(splits.test),
    }


def _encoder_facts(encoder: Backbone, source: str, sha256: str) -> dict[str, Any]:
    """Return what names an encoder and says where its weights came from."""
    return {
        "name": encoder.name,
        "layers": list(encoder.layers),
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "weights": source,
        "weights_sha256": sha256,
    }


def _shown(located: dict[str, list[Located]]) -> Sequence[Located]:
    """Return the pictures that the report is about: the test split, else the validation's."""
    return located.get("test") or located["valid"]
