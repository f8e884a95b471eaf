"""How good a model is on a data set: every picture judged by anomalib, then metrics."""

from collections.abc import Collection
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
from nut_train.statistics.confidence import Confidence, confidence
from nut_train.statistics.pixel_counts import PixelCounts
from nut_train.statistics.scored import Scored

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Evaluation", "Judged", "evaluate", "mask_at"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A test picture with the truth and what the model said.

    Attributes:
        kind: `good` or the kind of defect.
        sha256: Digest of the picture's file, by which two evaluations find the pictures they share.
        prediction: What anomalib says.
        mask: Marked pixels at the map's size, bool `[h, w]`; empty for good parts, None where none is known.
    """

    kind: str
    sha256: str
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
        leaked: Test pictures that the training set has with the same bytes.
        is_leakage_kept: Whether those were measured all the same, which flatters every figure.
        image: Figures of the image score.
        pixel: Figures of the map; None without masks.
        pixels: What the map's figures can be computed from again; None without masks.
        confidence: How sure the figures are, and those of each kind of defect.
    """

    judged: tuple[Judged, ...]
    leaked: tuple[Path, ...]
    is_leakage_kept: bool
    image: ImageMetrics
    pixel: PixelMetrics | None
    pixels: PixelCounts | None
    confidence: Confidence

    def to_json(self, root: Path) -> dict[str, Any]:
        """Return plain types; paths are relative to the data set's `root`."""
        return {
            "image": self.image.to_json(),
            "pixel": None if self.pixel is None else self.pixel.to_json(),
            "confidence": self.confidence.to_json(),
            "leaked": [path.relative_to(root).as_posix() for path in self.leaked],
            "is_leakage_kept": self.is_leakage_kept,
            "pictures": [
                {
                    "path": item.prediction.path.relative_to(root).as_posix(),
                    "kind": item.kind,
                    "sha256": item.sha256,
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
    keep_leakage: bool = False,
    false_reject_rate: float | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Evaluation | None:
    """Judge every test picture of a data set with anomalib's own prediction.

    Args:
        model: Trained and calibrated.
        dataset: Its `test` pictures are judged.
        seen: SHA-256 of the pictures that trained or calibrated the model; a test picture with the same bytes as
            one is left out and reported, since it says nothing.
        keep_leakage: Measure those too; they are reported all the same.
        false_reject_rate: The rate that the threshold was calibrated for; None leaves out the recall at it.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each picture.

    Returns:
        The evaluation, or None where the data set has no test pictures left.

    Raises:
        PictureError: If a picture cannot be read.
    """
    kinds = dict.fromkeys(dataset.test_good, GOOD)
    kinds |= {path: kind for kind, paths in dataset.defects.items() for path in paths}
    digests = {path: digest(path) for path in kinds}
    leaked = tuple(path for path in kinds if digests[path] in seen)
    for path in () if keep_leakage else leaked:
        del kinds[path]
    judged: list[Judged] = []

    def keep(prediction: Prediction) -> None:
        path = prediction.path
        mask = _truth(dataset, prediction, kinds[path])
        judged.append(Judged(kind=kinds[path], sha256=digests[path], prediction=prediction, mask=mask))
        progress("judging test pictures", len(judged), len(kinds))

    predict(model, tuple(kinds), keep, device=device)
    if not judged:
        return None
    scores = np.array([item.prediction.raw_score for item in judged])
    rejected = np.array([item.prediction.pred_label for item in judged])
    known = [place for place, item in enumerate(judged) if item.mask is not None]
    maps = [judged[place].prediction.raw_map for place in known]
    masks = [mask for item in judged if (mask := item.mask) is not None]
    pixels = PixelCounts.of(maps, masks, known)
    return Evaluation(
        judged=tuple(judged),
        leaked=leaked,
        is_leakage_kept=keep_leakage and bool(leaked),
        image=image_metrics(scores, np.array([item.is_defective for item in judged]), rejected),
        pixel=pixel_metrics(maps, masks),
        pixels=pixels,
        confidence=confidence(
            Scored(
                kinds=tuple(item.kind for item in judged),
                scores=scores,
                rejected=rejected,
                pixels=pixels,
                false_reject_rate=false_reject_rate,
            )
        ),
    )


def _truth(dataset: Dataset, prediction: Prediction, kind: str) -> NDArray[np.bool_] | None:
    """Return the marked pixels at the map's size, where they are known."""
    shape = prediction.raw_map.shape
    if kind == GOOD:
        return np.zeros(shape, bool)
    mask = dataset.masks.get(prediction.path)
    return None if mask is None else mask_at(read_mask(mask), (shape[0], shape[1]))
