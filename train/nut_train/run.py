"""The run folder that `nut train` writes and `nut evaluate` and `nut export` read.

RUN/model.ckpt     Lightning checkpoint of anomalib's Patchcore, readable with weights_only
RUN/run.json       arguments, versions, data set fingerprint, calibration, evaluation
RUN/pixels.npz     histograms of the test pictures' anomaly maps, where there are masks
RUN/report.html    the same for people, with figures/ beside it
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nut_runtime.errors import InputError
from nut_runtime.good_scores import GoodScores
from nut_runtime.scoring import OperatingPoint
from nut_train.backbone import Backbone
from nut_train.config import TrainConfig

if TYPE_CHECKING:
    from anomalib.models import Patchcore

    from nut_train.predict import Prediction

__all__ = ["CHECKPOINT", "RECORD", "RUN_SCHEMA", "Run", "open_run", "package_versions"]

CHECKPOINT = "model.ckpt"
RECORD = "run.json"
RUN_SCHEMA = 1

_PACKAGES = (
    "nut-toolchain",
    "anomalib",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "numpy",
    "opencv-python-headless",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        folder: The run folder.
        record: The content of `run.json`.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def config(self) -> TrainConfig:
        """What the run was asked for; the weights file need not be there any more."""
        return TrainConfig.from_json({**self.record["arguments"], "backbone_weights": None})

    @property
    def backbone(self) -> Backbone:
        """The feature extractor."""
        data = self.record["backbone"]
        return Backbone(
            name=data["name"],
            layers=tuple(data["layers"]),
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
        )

    @property
    def point(self) -> OperatingPoint:
        """The calibrated thresholds and ranges."""
        return OperatingPoint.from_json(self.record["calibration"]["point"])

    @property
    def good_scores(self) -> GoodScores | None:
        """The scores that calibrated the run; None where they were not kept, as of another tool's checkpoint.

        Raises:
            InputError: If one is missing or not a finite number.
        """
        named = self.record.get("held_out_scores")
        if not named:
            return None
        calibration = self.record["calibration"]
        try:
            return GoodScores.from_json(
                {
                    "method": calibration.get("method", "holdout"),
                    "folds": calibration.get("folds", 1),
                    "raw_score": [one["raw_score"] for one in named],
                    "map_peak": [one["map_peak"] for one in named],
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"{self.folder / RECORD} has no usable calibration scores ({reason}); train again"
            ) from error

    def load(self) -> "Patchcore":
        """Return the trained model with its operating point.

        Raises:
            InputError: If the checkpoint is missing, broken or of another model.
        """
        from nut_train.patchcore import load_model, set_operating_point

        config = self.config
        model = load_model(
            self.folder / CHECKPOINT,
            self.backbone,
            image_size=config.image_size,
            neighbours=config.neighbours,
            is_whitened=config.whiten,
        )
        set_operating_point(model, self.point)
        return model

    def settled(self, predictions: "Sequence[Prediction]") -> Self:
        """Return the run with an operating point that rounding cannot flip on these pictures; ours has one already.

        Args:
            predictions: The reference's, of the pictures that the export is proven on.
        """
        del predictions
        return self


def open_run(folder: Path) -> Run:
    """Read the record in a run folder; the model is loaded later.

    Raises:
        InputError: If the folder is no run, its record is broken, or newer than this version reads.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(f"{folder} is not a run folder ({RECORD} is missing); make one with nut train DATASET -o RUN")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = int(record["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a run record: {error}") from error
    if schema > RUN_SCHEMA:
        raise InputError(f"{path} has schema {schema}, this version reads up to {RUN_SCHEMA}; update nut-toolchain")
    missing = {"arguments", "backbone", "bank", "calibration", "dataset", "split"} - set(record)
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; train again")
    run = Run(folder=Path(folder), record=record)
    try:
        _ = run.config, run.backbone, run.point, record["dataset"]["path"], record["dataset"]["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not complete ({reason}); train again") from error
    return run


def package_versions(*more: str) -> dict[str, str]:
    """Return the installed versions of what a result depends on."""
    return {name: version(name) for name in (*_PACKAGES, *more)}
