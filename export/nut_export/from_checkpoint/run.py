"""A checkpoint as something that `export_bundle` takes like a run of ours."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nut_export.from_checkpoint.clearance import keep_clear, rounding
from nut_export.from_checkpoint.decision import decide
from nut_export.from_checkpoint.model import read_arguments, restore_model
from nut_export.from_checkpoint.preparation import prepare
from nut_export.from_checkpoint.reading import BANK, read_checkpoint
from nut_train.predict import Prediction
from nut_train.run import Run

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["CheckpointRun", "open_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRun(Run):
    """A checkpoint of anomalib's own, with the attributes of a run.

    Its record has what the checkpoint says, and nothing of a data set, a split or a false-reject rate.

    Attributes:
        model: The restored model; its post-processor is the checkpoint's own.
    """

    model: "Patchcore" = field(repr=False, compare=False)

    def load(self) -> "Patchcore":
        """Return the restored model, the same one each time."""
        return self.model

    def settled(self, predictions: Sequence[Prediction]) -> Self:
        """Return the run with its image threshold off the scores of these pictures (see `clearance`)."""
        point = self.point
        distance = rounding(point.image.threshold, self.model.model.memory_bank.numpy())
        image = keep_clear(point.image, predictions, distance)
        moved = image.threshold - point.image.threshold
        record = {
            **self.record,
            "calibration": {"point": replace(point, image=image).to_json()},
            "checkpoint": {**self.record["checkpoint"], "threshold_moved_by": moved},
        }
        return replace(self, record=record)


def open_checkpoint(path: Path, *, image_size: tuple[int, int] | None = None) -> CheckpointRun:
    """Read a PatchCore checkpoint that anomalib's `Engine` wrote.

    Args:
        path: The `.ckpt` file.
        image_size: Height and width that pictures are resized to, for checkpoints of anomalib before 2.7, which
            do not say.

    Raises:
        InputError: If the file cannot be read safely, is of another model, has no threshold, or does something that
            the exported model would not do.
    """
    path = Path(path)
    contents = read_checkpoint(path)
    preparation = prepare(contents, image_size)
    config = read_arguments(contents, preparation)
    model = restore_model(contents, preparation, config)
    post = model.post_processor
    rows, width = contents.state[BANK].shape
    record: dict[str, Any] = {
        "arguments": config.to_json(),
        "backbone": {
            "name": config.backbone,
            "layers": list(config.layers),
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "weights": f"checkpoint {path.name}",
            "weights_sha256": contents.sha256,
        },
        "bank": {"rows": rows, "width": width},
        "calibration": {"point": decide(model, path).to_json()},
        "dataset": {"path": None, "fingerprint": None},
        "split": {},
        "checkpoint": {
            "file": path.name,
            "sha256": contents.sha256,
            # anomalib does not write its version; what it writes tells two layouts apart
            "anomalib": ">=2.7" if "anomalib_components_enabled" in contents.settings else "<2.7",
            "lightning": str(contents.settings.get("pytorch-lightning_version")),
            "is_image_size_stated": preparation.is_stated,
            "image_threshold": float(post.image_threshold),
            "image_sensitivity": float(post.image_sensitivity),
            "pixel_sensitivity": float(post.pixel_sensitivity),
            "threshold_moved_by": 0.0,
        },
    }
    return CheckpointRun(folder=path.parent, record=record, model=model)
