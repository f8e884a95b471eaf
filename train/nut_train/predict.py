"""anomalib's own prediction, one picture at a time: the reference that every exported model is held against.

`Engine.predict` applies the antialiased resize; `forward()` and anomalib's export do not, so neither is ever
used as a reference (docs/decisions/0003).
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.interrupts import ctrl_c_passes

if TYPE_CHECKING:
    from anomalib.data import ImageItem
    from anomalib.models import Patchcore

__all__ = ["PictureDataset", "Prediction", "accelerator", "picture_tensor", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What anomalib says of one picture.

    Attributes:
        path: The picture.
        raw_score: Distance of the image score, before normalisation.
        raw_map: Anomaly map before normalisation, float32 `[h, w]` of the model's input size.
        pred_score: Normalised score, 0..1, threshold at 0.5; NaN while the model is not calibrated.
        pred_label: Whether the part is defective; False while the model is not calibrated.
        anomaly_map: Normalised map, float32 `[h, w]`, 0..1.
        pred_mask: Defective pixels, bool `[h, w]`.
    """

    path: Path
    raw_score: float
    raw_map: NDArray[np.float32]
    pred_score: float
    pred_label: bool
    anomaly_map: NDArray[np.float32]
    pred_mask: NDArray[np.bool_]


def picture_tensor(frame: NDArray[np.uint8]) -> torch.Tensor:
    """Return a BGR uint8 `[H, W, 3]` frame as anomalib reads pictures: RGB float32 `[3, H, W]`, 0..1.

    Scaled by the function that anomalib calls: a division by 255 would differ in the last bit.
    """
    from torchvision.transforms.v2.functional import to_dtype

    rgb = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1)
    return to_dtype(rgb, torch.float32, scale=True)


class PictureDataset(Dataset):
    """Picture files for `Engine.predict`, in the order given and of their own sizes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> "ImageItem":
        """Return the picture at its own size."""
        from anomalib.data import ImageItem

        path = self.paths[index]
        return ImageItem(image=picture_tensor(read_picture(path)), image_path=str(path))

    @property
    def collate_fn(self) -> Callable[..., Any]:
        """Anomalib's collation; with one picture a batch it changes nothing."""
        from anomalib.data import ImageBatch

        return ImageBatch.collate


class _Capture(Callback):
    """Keeps the raw scores that the post-processor is about to normalise in place.

    Lightning runs the callbacks given to the trainer before those that the model brings, of which the
    post-processor is one.
    """

    def __init__(self) -> None:
        self.raw_scores = np.empty(0, np.float32)
        self.raw_maps = np.empty(0, np.float32)

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any, **kwargs: Any) -> None:
        """Copy the raw score and map of the batch."""
        del trainer, pl_module, args, kwargs
        self.raw_scores = outputs.pred_score.detach().cpu().numpy().astype(np.float32, copy=True)
        self.raw_maps = outputs.anomaly_map.detach().cpu().numpy().astype(np.float32, copy=True)


class _HandOut(Callback):
    """Turns each finished batch into a `Prediction`; attached by the model, behind its post-processor."""

    def __init__(self, capture: _Capture, consume: Callable[[Prediction], None]) -> None:
        self.capture = capture
        self.consume = consume

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any, **kwargs: Any) -> None:
        """Hand out the batch's only picture."""
        del trainer, pl_module, args, kwargs
        anomaly_map = outputs.anomaly_map[0].detach().cpu().numpy().squeeze()
        self.consume(
            Prediction(
                path=Path(outputs.image_path[0]),
                raw_score=float(self.capture.raw_scores[0]),
                raw_map=self.capture.raw_maps[0].squeeze(),
                pred_score=float(outputs.pred_score[0]),
                pred_label=bool(outputs.pred_label[0]),
                anomaly_map=np.array(anomaly_map, np.float32),
                pred_mask=np.array(outputs.pred_mask[0].detach().cpu().numpy().squeeze(), bool),
            )
        )


def accelerator(device: str) -> str:
    """Return Lightning's name of `auto`, `cpu` or `cuda`.

    Raises:
        InputError: If `cuda` is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for but torch sees no GPU; use --device cpu or auto")
    if device == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return {"cpu": "cpu", "cuda": "gpu"}[device]


def predict(
    model: "Patchcore",
    paths: Sequence[Path],
    consume: Callable[[Prediction], None],
    *,
    device: str = "auto",
) -> None:
    """Run anomalib's `Engine.predict` over pictures, one a batch, and hand out each result in order.

    Nothing holds more than one picture's result, so the caller decides what to keep.

    Args:
        model: A trained model; where its operating point is unset, normalised values equal the raw ones.
        paths: Picture files; each is resized by itself, from its own size.
        consume: Called once a picture.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        PictureError: If a picture cannot be read.
    """
    from anomalib.engine import Engine

    if not paths:
        return
    dataset = PictureDataset(paths)
    loader = DataLoader(dataset, batch_size=1, collate_fn=dataset.collate_fn)
    capture = _Capture()
    with (
        tempfile.TemporaryDirectory(prefix="nut-predict-") as folder,
        _behind(model, _HandOut(capture, consume)),
    ):
        engine = Engine(
            accelerator=accelerator(device),
            devices=1,
            callbacks=[capture],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
        )
        with ctrl_c_passes():
            engine.predict(model=model, dataloaders=loader, return_predictions=False)


@contextmanager
def _behind(model: "Patchcore", callback: Callback) -> Iterator[None]:
    """Add one callback behind those that the model brings, for the length of a `with` block."""
    brought = model.configure_callbacks
    model.configure_callbacks = lambda: [*brought(), callback]
    try:
        yield
    finally:
        del model.configure_callbacks  # the class's own method shows again
