"""How good a model is on a data set: every picture judged by anomalib, then metrics."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nut_dataset.layout import GOOD, Dataset, read_mask
from nut_dataset.progress import Progress, no_progress
from nut_train.digests import digest
from nut_train.metrics import ImageMetrics, PixelMetrics, image_metrics, pixel_metrics
from nut_train.predict import Prediction, predict

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Evaluation", "Judged", "evaluate", "mask_at"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A test picture with the truth and what the model said.

    Attributes:
        kind: `good` or the kind of defect.
        prediction: What anomalib says.
        mask: Marked pixels at the map's size, bool `[h, w]`; empty for good parts, None where none is known.
    """

    kind: str
    prediction: Prediction
    mask: NDArray[np.bool_] | None

    @property
    def is_defective(self) -> bool:
        """The truth."""
        return self.kind != GOOD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """All test pictures judged, and the figures over them.

    Attributes:
        judged: Every test picture that was measured.
        leaked: Test pictures left out because the training set has the same bytes.
        image: Figures of the image score.
        pixel: Figures of the map; None without masks.
    """

    judged: tuple[Judged, ...]
    leaked: tuple[Path, ...]
    image: ImageMetrics
    pixel: PixelMetrics | None

    def to_json(self, root: Path) -> dict[str, Any]:
        """Return plain types; paths are relative to the data set's `root`."""
        return {
            "image": self.image.to_json(),
            "pixel": None if self.pixel is None else self.pixel.to_json(),
            "leaked": [path.relative_to(root).as_posix() for path in self.leaked],
            "pictures": [
                {
                    "path": item.prediction.path.relative_to(root).as_posix(),
                    "kind": item.kind,
                    "raw_score": item.prediction.raw_score,
                    "pred_score": item.prediction.pred_score,
                    "pred_label": item.prediction.pred_label,
                }
                for item in self.judged
            ],
        }


def mask_at(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask at another size, by the nearest pixel, as torchvision scales masks."""
    import cv2

    height, width = shape
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def evaluate(
    model: "Patchcore",
    dataset: Dataset,
    *,
    seen: Collection[str] = (),
    device: str = "auto",
    progress: Progress = no_progress,
) -> Evaluation | None:
    """Judge every test picture of a data set with anomalib's own prediction.

    Args:
        model: Trained and calibrated.
        dataset: Its `test` pictures are judged.
        seen: SHA-256 of the pictures that trained or calibrated the model; a test picture with the same bytes as
            one is left out and reported, since it says nothing.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each picture.

    Returns:
        The evaluation, or None where the data set has no test pictures left.

    Raises:
        PictureError: If a picture cannot be read.
    """
    kinds = dict.fromkeys(dataset.test_good, GOOD)
    kinds |= {path: kind for kind, paths in dataset.defects.items() for path in paths}
    leaked = tuple(path for path in kinds if seen and digest(path) in seen)
    for path in leaked:
        del kinds[path]
    judged: list[Judged] = []

    def keep(prediction: Prediction) -> None:
        kind = kinds[prediction.path]
        judged.append(Judged(kind=kind, prediction=prediction, mask=_truth(dataset, prediction, kind)))
        progress("judging test pictures", len(judged), len(kinds))

    predict(model, tuple(kinds), keep, device=device)
    if not judged:
        return None
    return Evaluation(
        judged=tuple(judged),
        leaked=leaked,
        image=image_metrics(
            np.array([item.prediction.raw_score for item in judged]),
            np.array([item.is_defective for item in judged]),
            np.array([item.prediction.pred_label for item in judged]),
        ),
        pixel=_pixel(judged),
    )


def _truth(dataset: Dataset, prediction: Prediction, kind: str) -> NDArray[np.bool_] | None:
    """Return the marked pixels at the map's size, where they are known."""
    shape = prediction.raw_map.shape
    if kind == GOOD:
        return np.zeros(shape, bool)
    mask = dataset.masks.get(prediction.path)
    return None if mask is None else mask_at(read_mask(mask), (shape[0], shape[1]))


def _pixel(judged: Sequence[Judged]) -> PixelMetrics | None:
    """Measure the maps of the pictures whose marked pixels are known."""
    known: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = [
        (item.prediction.raw_map, item.mask) for item in judged if item.mask is not None
    ]
    return pixel_metrics([values for values, _ in known], [mask for _, mask in known])
