"""The backbone and anomalib's patch embedding, exported by torch at the model's fixed input size."""

from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn

from nut_export.torch_module import export_module

if TYPE_CHECKING:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

__all__ = ["PatchEmbedding", "export_features"]


class PatchEmbedding(nn.Module):
    """The first half of anomalib's `PatchcoreModel.forward`: normalised pixels to patch embeddings.

    Args:
        model: anomalib's trained model; its own modules are used, none is written again.
    """

    def __init__(self, model: "PatchcoreModel") -> None:
        super().__init__()
        self.patchcore = model

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings `[P, D]` of pixels `[1, 3, h, w]`; patches run row by row."""
        features = self.patchcore.feature_extractor(pixels)
        features = {layer: self.patchcore.feature_pooler(values) for layer, values in features.items()}
        embedding = self.patchcore.generate_embedding(features)  # (1, D, h / 8, w / 8)
        return self.patchcore.reshape_embedding(embedding)


def export_features(
    model: "PatchcoreModel", *, size: tuple[int, int], source: str, target: str
) -> tuple[onnx.ModelProto, tuple[int, int]]:
    """Export the feature extractor as ONNX.

    Args:
        model: anomalib's trained model.
        size: Height and width of the input in pixels.
        source: Name of the input, float32 `[1, 3, height, width]`.
        target: Name of the output, float32 `[P, D]`.

    Returns:
        The model, its inner names prefixed with `features/`, and the grid of patches (rows, columns), P = rows x
        columns.
    """
    module = PatchEmbedding(model)
    example = torch.zeros(1, 3, *size)
    with torch.no_grad():
        finest = model.feature_extractor(example)[model.layers[0]]
    exported = export_module(module, example, source=source, target=target, prefix="features/")
    return exported, (int(finest.shape[-2]), int(finest.shape[-1]))
