"""The run folder of a locator, which `nut train-locator` writes and the export reads.

RUN/locator.safetensors  the network's tensors, nothing pickled
RUN/locator.json         arguments, versions, data set fingerprint, chosen settings, figures
RUN/report.html          the same for people
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nut_runtime.errors import InputError
from nut_runtime.locate.settings import FindSettings
from nut_train.backbone import Backbone
from nut_train.locator.config import LocatorConfig

if TYPE_CHECKING:
    from nut_train.locator.network import LocatorNetwork

__all__ = ["LOCATOR_SCHEMA", "RECORD", "WEIGHTS", "LocatorRun", "open_locator_run"]

WEIGHTS = "locator.safetensors"
RECORD = "locator.json"
LOCATOR_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorRun:
    """A finished training of a locator.

    Attributes:
        folder: The run folder.
        record: The content of `locator.json`.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def config(self) -> LocatorConfig:
        """What it was asked for; the weights file need not be there any more."""
        return LocatorConfig.from_json({**self.record["arguments"], "encoder_weights": None})

    @property
    def encoder(self) -> Backbone:
        """The network's encoder and its normalisation."""
        data = self.record["encoder"]
        return Backbone(
            name=data["name"], layers=tuple(data["layers"]), mean=tuple(data["mean"]), std=tuple(data["std"])
        )

    @property
    def settings(self) -> FindSettings:
        """How parts are found in its maps."""
        return FindSettings.from_json(self.record["find"])

    def load(self) -> "LocatorNetwork":
        """Return the trained network, in evaluation mode.

        Raises:
            InputError: If the weights are missing, broken or of another network.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from nut_train.locator.network import build_network

        path = self.folder / WEIGHTS
        network = build_network(self.encoder.name)
        try:
            tensors = load_file(path)
            with torch.no_grad():
                network.load_state_dict(tensors, strict=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path} is missing, broken or of another network ({reason}); train again") from error
        return network.eval()


def open_locator_run(folder: Path) -> LocatorRun:
    """Read the record in a run folder; the network is loaded later.

    Raises:
        InputError: If the folder is no such run, its record is broken, or newer than this version reads.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(
            f"{folder} is not a locator's run ({RECORD} is missing); make one with nut train-locator DATASET -o RUN"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = int(record["schema"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a run record: {error}") from error
    if schema > LOCATOR_SCHEMA:
        raise InputError(f"{path} has schema {schema}, this version reads up to {LOCATOR_SCHEMA}; update nut-toolchain")
    run = LocatorRun(folder=Path(folder), record=record)
    try:
        _ = run.config, run.encoder, run.settings, record["dataset"]["path"], record["dataset"]["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not complete ({reason}); train again") from error
    return run
